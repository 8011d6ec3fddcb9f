"""A kind cluster from nothing to ready, and back to nothing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from tradingbot_cluster.commands import run
from tradingbot_cluster.engine import Engine, Starting, machine_engine, private_engine, start_private_engine
from tradingbot_cluster.engine_store import engine_store
from tradingbot_cluster.errors import ClusterError, Failed, NotRunning
from tradingbot_cluster.keeper import take_away, try_lock
from tradingbot_cluster.kind_config import kind_config
from tradingbot_cluster.node_image import node_image
from tradingbot_cluster.node_logs import collect_nodes
from tradingbot_cluster.places import Places
from tradingbot_cluster.processes import Process
from tradingbot_cluster.programs import KIND, KUBEBOX, Say

READY_WITHIN_S = 300
DOWN_WITHIN_S = 120.0
ENGINES = ("auto", "machine", "private")


@dataclass(frozen=True)
class State:
    """What a cluster's folder says of it."""

    name: str
    private: bool
    image: str
    workers: int
    port: int | None
    """Of the API server on 127.0.0.1, where it is known."""
    ready: bool

    @property
    def engine_words(self) -> str:
        return "private engine" if self.private else "this machine's engine"


@dataclass(frozen=True)
class Cluster:
    """A cluster by its name; it may or may not run."""

    name: str
    places: Places

    @property
    def folder(self) -> Path:
        return self.places.cluster(self.name)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def state(self) -> State | None:
        """Return what is known of it, None if it does not run, or runs in a private engine and is not ready."""
        try:
            return State(**json.loads((self.folder / "state.json").read_text()))
        except FileNotFoundError:
            return None

    def running(self) -> State:
        """
        Return what is known of it.

        Raises:
            NotRunning: It does not run.
        """
        self.clean()
        state = self.state()
        if state is None or not state.ready:
            raise NotRunning(
                f"no cluster {self.name!r} runs here (make cluster-up, or python hack/cluster up --name {self.name})"
            )
        return state

    def engine(self) -> Engine:
        """Return how to speak to the engine of the running cluster."""
        return self._engine(self.running())

    def _engine(self, state: State) -> Engine:
        if state.private:
            return private_engine(self.folder)
        engine = machine_engine()
        if engine is None:
            raise NotRunning(
                f"cluster {self.name!r} runs in this machine's container engine, which does not answer (docker info)"
            )
        return engine

    def kubectl(self, *arguments: str | Path, text_in: str | None = None, timeout_s: float | None = None) -> str:
        """Run kubectl against it and return what it printed."""
        return run(
            *kubectl_program(self.places),
            "--kubeconfig",
            self.kubeconfig,
            *arguments,
            text_in=text_in,
            timeout_s=timeout_s,
        )

    def clean(self) -> bool:
        """Take away what a private engine left whose keeper was killed; return whether there was something."""
        if not self.folder.exists():
            return False
        state = self.state()
        if state is not None and not state.private:
            return False
        lock = try_lock(self.places, self.name)
        if lock is None:
            return False  # it runs, or is being started or stopped
        try:
            if not self.folder.exists():
                return False
            take_away(self.places, self.name)
            return True
        finally:
            os.close(lock)

    def up(self, *, workers: int, engine: str, owner: int | None, say: Say) -> None:
        """
        Bring it up, ready to run pods; if it runs already, do nothing.

        Args:
            workers: How many nodes beside the control plane.
            engine: One of ENGINES.
            owner: Id of a process that a private engine is to end with; None lets it live until `down`.
            say: Is told each step.

        Raises:
            ClusterError: It could not be brought up; then nothing is left of it.
        """
        self.clean()
        if (state := self.state()) and not state.ready:
            self.down(say)  # its starter was killed on the way
        elif state:
            if state.workers != workers:
                raise ClusterError(
                    f"cluster {self.name!r} runs with {state.workers} workers, not {workers}: take it down first, or choose another --name"
                )
            say(f"cluster {self.name} is up already")
            return
        found = machine_engine() if engine in {"auto", "machine"} else None
        if found is None and engine == "machine":
            raise ClusterError("--engine machine: no container engine answers here (docker info)")
        kind = kind_program(self.places, say)
        image = node_image(self.places, say) if found is None else None
        store = engine_store(self.places, image[0], say) if image else None
        lock = try_lock(self.places, self.name)
        if lock is None:
            raise ClusterError(
                f"cluster {self.name!r} is being started or stopped by another command: wait for it, or choose another --name"
            )
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, lock)
            self.folder.mkdir(parents=True)
            if found is None:
                assert image
                assert store
                self._up_private(kind, image[1], store, workers, lock, owner, say)
            else:
                self._up_on_machine(kind, found, workers, say)

    def _up_private(
        self, kind: Path, tag: str, store: Path, workers: int, lock: int, owner: int | None, say: Say
    ) -> None:
        with self._private(lock, owner, store) as (starting, port):
            say("private container engine: started")
            self._create(kind, starting.engine, workers, port, tag, say)
            self._wait_for_pods(say)
            self._write(State(self.name, True, tag, workers, port, ready=True))
            starting.keep()

    @contextmanager
    def _private(self, lock: int, owner: int | None, store: Path) -> Iterator[tuple[Starting, int]]:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(128)
            try:
                starting = start_private_engine(
                    self.places, self.name, lock=lock, listening=listening, owner=owner, store=store
                )
            except ClusterError:
                if self.folder.exists():
                    take_away(self.places, self.name)
                raise
            try:
                yield starting, listening.getsockname()[1]
            except BaseException as error:
                self._keep_logs(starting.engine, error)
                starting.give_up()
                raise

    def _up_on_machine(self, kind: Path, engine: Engine, workers: int, say: Say) -> None:
        self._write(State(self.name, False, "", workers, None, ready=False))
        try:
            try:
                self._create(kind, engine, workers, None, None, say)
                image = "kind's own"
            except Failed as error:
                if "failed to pull image" not in str(error) and "failed to get nodes" not in str(error):
                    raise
                say("kind's node image can't be had here: ours is built from its parts")
                archive, image = node_image(self.places, say)
                engine.docker("load", "--input", archive)
                self._create(kind, engine, workers, None, image, say)
            self._wait_for_pods(say)
            self._write(State(self.name, False, image, workers, None, ready=True))
        except BaseException as error:
            self._keep_logs(engine, error)
            with contextlib.suppress(ClusterError):
                run(
                    kind,
                    "delete",
                    "cluster",
                    "--name",
                    self.name,
                    "--kubeconfig",
                    self.kubeconfig,
                    env=engine.environment,
                )
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _create(self, kind: Path, engine: Engine, workers: int, port: int | None, image: str | None, say: Say) -> None:
        config = yaml.safe_dump(kind_config(workers=workers, port=port))
        choice = ["--image", image] if image else []
        words: list[str | Path] = [
            "create",
            "cluster",
            "--name",
            self.name,
            "--kubeconfig",
            self.kubeconfig,
            "--config",
            "-",
            "--retain",  # a node that did not start is looked at before it goes: the caller takes it away
            *choice,
        ]
        run(kind, *words, env=engine.environment, text_in=config, timeout_s=READY_WITHIN_S)
        say("nodes: created")

    def _wait_for_pods(self, say: Say) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        self._wait(deadline, "nodes", "--all", "--for=condition=Ready")
        self._wait(deadline, "pods", "--all", "--for=condition=Ready", "--namespace=kube-system")
        # Pods can be made in a namespace once it has its service account.
        self._wait(deadline, "serviceaccount/default", "--for=create")
        say("nodes and system pods: ready")

    def _wait(self, deadline: float, *words: str) -> None:
        """Run `kubectl wait`, again where an API server that has only just begun is too busy to answer ("TLS handshake timeout")."""
        while True:
            left_s = max(1, round(deadline - time.monotonic()))
            try:
                self.kubectl("wait", *words, f"--timeout={left_s}s")
                return
            except Failed:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.5)

    def _write(self, state: State) -> None:
        draft = self.folder / "state.new"
        draft.write_text(json.dumps(asdict(state)))
        draft.rename(self.folder / "state.json")

    def _keep_logs(self, engine: Engine, error: BaseException) -> None:
        """Copy the logs of what failed to where they outlive the cluster, and let the error say where."""
        kept = self.places.root / "logs" / self.name
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for name in ("engine.log", "keeper.log"):
            with contextlib.suppress(OSError):
                shutil.copy2(self.folder / name, kept / name)
        with contextlib.suppress(ClusterError):
            collect_nodes(engine, self.name, kept)
        if isinstance(error, ClusterError):
            error.args = (f"{error}\n(logs: {kept})",)

    def down(self, say: Say) -> None:
        """
        Take it away; if there is none, do nothing.

        Raises:
            Failed: Something of it stays.
        """
        if self.clean() or not self.folder.exists():
            say(f"cluster {self.name}: nothing is left")
            return
        state = self.state()
        if state is not None and not state.private:
            kind = kind_program(self.places, say)
            run(
                kind,
                "delete",
                "cluster",
                "--name",
                self.name,
                "--kubeconfig",
                self.kubeconfig,
                env=self._engine(state).environment,
            )
            shutil.rmtree(self.folder)
        else:
            self._end_keeper()
        say(f"cluster {self.name}: gone")

    def _end_keeper(self) -> None:
        deadline = time.monotonic() + DOWN_WITHIN_S
        keeper: Process | None = None
        with contextlib.suppress(FileNotFoundError):  # it is going already
            keeper = Process(**json.loads((self.folder / "keeper.json").read_text()))
            keeper.signal(signal.SIGTERM)
        while (lock := try_lock(self.places, self.name)) is None:
            if time.monotonic() > deadline:
                raise Failed(
                    f"cluster {self.name}: its keeper still works after {DOWN_WITHIN_S:g} s (see {self.folder / 'keeper.log'})"
                )
            time.sleep(0.05)
        try:
            if self.folder.exists():  # the keeper was killed meanwhile
                take_away(self.places, self.name)
        finally:
            os.close(lock)
        # It lets its lock go with its last files, a moment before it is gone.
        if keeper is not None and not keeper.wait(max(1.0, deadline - time.monotonic())):
            raise Failed(f"cluster {self.name}: its keeper (pid {keeper.pid}) does not end")


def kind_program(places: Places, say: Say) -> Path:
    """Return kind: as built here, so that every machine has the same."""
    return KIND.build(places, say)


def kubectl_program(places: Places) -> tuple[str | Path, ...]:
    """Return the words that start kubectl: ours if it is built, else the machine's."""
    kubebox = KUBEBOX.find(places)
    return (kubebox, "kubectl") if kubebox else ("kubectl",)
