"""The container engine that a cluster's nodes run in: the machine's own, or a private one that `hack/cluster` supplies."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tradingbot_cluster.commands import last_lines, run
from tradingbot_cluster.errors import Failed, Missing
from tradingbot_cluster.keeper import KEEP, Keeping, socket_path, start_keeper
from tradingbot_cluster.places import Places
from tradingbot_cluster.processes import Process

STARTS_WITHIN_S = 60.0
LONGEST_SOCKET_PATH = 107
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = ("dockerd", "containerd", "runc", "docker", "iptables", "ip", "unshare")
"""What a private engine needs on this machine."""


@dataclass(frozen=True)
class Engine:
    """How to speak to an engine."""

    private: bool
    environment: dict[str, str]
    """Added to the environment of `docker` and `kind`."""

    def docker(
        self,
        *arguments: str | Path,
        log: Path | None = None,
        text_in: str | None = None,
        timeout_s: float | None = None,
    ) -> str:
        """Run `docker` and return what it printed."""
        return run("docker", *arguments, env=self.environment, log=log, text_in=text_in, timeout_s=timeout_s)

    def nodes(self, cluster: str) -> list[str]:
        """Return the names of a cluster's node containers, running or not, the control plane first."""
        format_ = "--format={{.Names}}"
        return sorted(self.docker("ps", "--all", f"--filter=label=io.x-k8s.kind.cluster={cluster}", format_).split())


def machine_engine() -> Engine | None:
    """Return the engine that `docker` reaches as this user, None if there is none."""
    if shutil.which("docker") is None:
        return None
    try:
        done = subprocess.run(
            ["docker", "info", "--format={{.ServerVersion}}"], capture_output=True, timeout=20, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return Engine(private=False, environment={}) if done.returncode == 0 and done.stdout.strip() else None


def private_engine(folder: Path) -> Engine:
    """Return how to speak to the private engine of the cluster with this folder."""
    path = os.environ.get("PATH", "")
    environment = {
        "DOCKER_HOST": f"unix://{socket_path(folder)}",
        "DOCKER_CONFIG": str(folder / "docker-config"),  # the user's own may name another engine
        "PATH": f"{SYSTEM_PATH}:{path}",  # Debian's client before others: it fits Debian's engine
    }
    return Engine(private=True, environment=environment)


def missing_programs() -> list[str]:
    """Return the programs that a private engine needs and this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}") is None]


@dataclass
class Starting:
    """A private engine that lives only as long as this process, until `keep` is called."""

    engine: Engine
    lifeline: int
    keeper: Process

    def keep(self) -> None:
        """Let the engine live on after this process."""
        os.write(self.lifeline, KEEP)
        os.close(self.lifeline)

    def give_up(self) -> None:
        """Let the keeper take everything away, and wait until it has."""
        os.close(self.lifeline)
        self.keeper.wait(120)


def start_private_engine(
    places: Places, name: str, *, lock: int, listening: socket.socket, owner: int | None, store: Path | None
) -> Starting:
    """
    Start an engine in namespaces of its own.

    Args:
        places: Where clusters are kept.
        name: The cluster's; its folder exists.
        lock: File descriptor that holds the cluster's lock; the keeper inherits it.
        listening: Where the API server will be reached from outside.
        owner: Id of the process that it is to end with, None for none.
        store: Images that it has from its start, None for none.

    Raises:
        Missing: This machine lacks a program.
        Failed: The engine did not start.
    """
    if lacking := missing_programs():
        raise Missing(f"a container engine needs {', '.join(lacking)} (Debian: hack/system-packages cluster, as root)")
    folder = places.cluster(name)
    if len(str(socket_path(folder)).encode()) > LONGEST_SOCKET_PATH:
        raise Missing(f"{socket_path(folder)} is too long a path for a socket: set XDG_CACHE_HOME to a shorter one")
    reading, lifeline = os.pipe()
    port = listening.getsockname()[1]
    keeping = Keeping(str(places.root), name, port, listening.fileno(), reading, owner, str(store) if store else None)
    keeper = start_keeper(keeping, lock)
    os.close(reading)
    starting = Starting(private_engine(folder), lifeline, keeper)
    try:
        _wait_until_it_answers(starting, folder)
    except BaseException:
        starting.give_up()
        raise
    return starting


def _wait_until_it_answers(starting: Starting, folder: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    logs = [folder / "engine.log", folder / "keeper.log"]
    said = ""
    while True:
        # Read while they are there: when the engine ends, the keeper removes them.
        said = "\n".join(log.read_text(errors="replace") for log in logs if log.exists()) or said
        try:
            starting.engine.docker("version", timeout_s=10)
            return
        except Failed:
            if not starting.keeper.alive() or time.monotonic() > deadline:
                raise Failed(f"the private container engine did not start\n{last_lines(said)}") from None
        time.sleep(0.1)
