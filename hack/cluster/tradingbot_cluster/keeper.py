"""
The background process that keeps a private container engine: it starts the engine's namespaces, and takes everything away again when
told to, when the engine ends, or when the one that it keeps it for is gone.

Whose death ends what, without anybody's help but the kernel's:

    starter killed   the pipe from it closes before the word "keep" came: the keeper takes everything away
    owner ended      (`up --owner PID`) likewise, at any time
    keeper killed    its child gets SIGKILL (parent-death signal), with it the first process of the namespaces (unshare
                     --kill-child), with it every process and every mount and interface in them. Cgroups and files stay until the
                     next command of `hack/cluster` finds the keeper's lock free.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tradingbot_cluster import cgroups, sysctls
from tradingbot_cluster.built import locked
from tradingbot_cluster.commands import run
from tradingbot_cluster.errors import Failed
from tradingbot_cluster.places import RECIPES, Places
from tradingbot_cluster.processes import Process, die_with_parent
from tradingbot_cluster.sandbox import VARIABLE, Sandbox

KEEP = b"k"
"""What the starter writes when the cluster is ready: from then on its end changes nothing."""
ENGINE_DATA = "engine"
NAMESPACES = ("--mount", "--net", "--pid", "--ipc")


@dataclass(frozen=True)
class Keeping:
    """What a keeper is started with."""

    root: str
    """Of the places."""
    name: str
    """The cluster's."""
    port: int
    listening: int
    """File descriptor that listens on 127.0.0.1:port."""
    lifeline: int
    """File descriptor of the pipe from the starter."""
    owner: int | None
    """Process id; the cluster ends with it. None: it lives until `down`."""
    store: str | None
    """Folder of images that the engine has from its start, its own data being in memory; None: it starts empty, on disk."""

    @property
    def places(self) -> Places:
        return Places(Path(self.root))


def lock_path(places: Places, name: str) -> Path:
    """Return the file whose lock is held for as long as a cluster is being started, kept or taken away."""
    return places.cluster(name).with_name(f".{name}.lock")


def try_lock(places: Places, name: str) -> int | None:
    """Return a file descriptor that holds the cluster's lock, None if another process holds it."""
    path = lock_path(places, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def socket_path(folder: Path) -> Path:
    """Return the path of the engine's socket."""
    return folder / "docker.sock"


def start_keeper(keeping: Keeping, lock: int) -> Process:
    """
    Start the keeper in the background and return it.

    It inherits the lock, is nobody's child, and all its outputs are redirected, or a caller's pipe would never close.
    """
    with (keeping.places.cluster(keeping.name) / "keeper.log").open("ab") as log:
        started = subprocess.run(
            [sys.executable, "-m", "tradingbot_cluster.keeper", json.dumps(asdict(keeping))],
            env={**os.environ, "PYTHONPATH": str(RECIPES), "PYTHONDONTWRITEBYTECODE": "1"},
            pass_fds=(keeping.listening, keeping.lifeline, lock),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            start_new_session=True,
            check=True,
        )
    return Process(**json.loads(started.stdout))


def main() -> None:
    """Leave the keeper behind, say which process it is, and end."""
    if pid := os.fork():
        process = Process.of(pid)
        assert process
        print(json.dumps(asdict(process)))
        return
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    keep(Keeping(**json.loads(sys.argv[1])))


def keep(keeping: Keeping) -> None:
    """Keep the engine until it is to end, then take everything away."""
    folder = keeping.places.cluster(keeping.name)
    wake, woken = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(woken, b"s"))
    me = Process.of(os.getpid())
    assert me
    (folder / "keeper.json").write_text(json.dumps(asdict(me)))
    with locked(keeping.places.root / "sysctls.lock"):
        sysctls.note(keeping.places.root / "sysctls.json")
        sysctls.allow()
    holder = _start_sandbox(keeping, folder)
    os.close(keeping.listening)
    reason = _wait_for_end(keeping, holder, wake)
    print(f"keeper: {reason}: taking everything away", flush=True)
    end_sandbox(holder)
    take_away(keeping.places, keeping.name)


def _start_sandbox(keeping: Keeping, folder: Path) -> subprocess.Popen[bytes]:
    runtime = folder / "runc"
    # Isolated and without site packages, it starts in a tenth of the time.
    runtime.write_text(f"#!{sys.executable} -ISB\n{(RECIPES / 'tradingbot_cluster' / 'runtime.py').read_text()}")
    runtime.chmod(0o755)
    sandbox = Sandbox(
        data=str(folder / ENGINE_DATA),
        store=keeping.store,
        docker_socket=str(socket_path(folder)),
        runtime=str(runtime),
        cgroup_parent=cgroups.parent(keeping.name),
        listening=keeping.listening,
        port=keeping.port,
    )
    command = [
        "unshare",
        *NAMESPACES,
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
        "--propagation",
        "private",
        "--",
    ]
    with (folder / "engine.log").open("ab") as log:
        return subprocess.Popen(
            [*command, sys.executable, "-m", "tradingbot_cluster.sandbox"],
            env={**os.environ, VARIABLE: sandbox.dump()},
            pass_fds=(keeping.listening,),
            preexec_fn=die_with_parent(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _wait_for_end(keeping: Keeping, holder: subprocess.Popen[bytes], wake: int) -> str:
    """Wait until the cluster is to end; return why."""
    poll = select.poll()
    engine = os.pidfd_open(holder.pid)
    watched = {wake: "told to end", engine: "the engine ended", keeping.lifeline: "the starter is gone"}
    if keeping.owner is not None:
        try:
            watched[os.pidfd_open(keeping.owner)] = "the owner is gone"
        except ProcessLookupError:
            return "the owner is gone"
    for handle in watched:
        poll.register(handle, select.POLLIN)
    while True:
        for handle, _ in poll.poll():
            if handle == keeping.lifeline and os.read(handle, 1) == KEEP:
                poll.unregister(handle)
                os.close(handle)
                continue
            return watched[handle]


def end_sandbox(holder: subprocess.Popen[bytes]) -> None:
    """
    End every process in the namespaces, and wait until the last is gone.

    The kernel lets the first process of a process namespace be reaped only after all others in it.
    """
    for first in (
        Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split() if holder.poll() is None else ()
    ):
        if process := Process.of(int(first)):
            process.signal(signal.SIGKILL)
    try:
        holder.wait(30)
    except subprocess.TimeoutExpired:
        holder.kill()
        holder.wait(30)


def take_away(places: Places, name: str) -> None:
    """
    Remove what a cluster whose processes have ended left outside of its namespaces: cgroups, changed settings, its folder.

    The caller holds the cluster's lock.

    Raises:
        Failed: Something can't be removed.
    """
    if not cgroups.remove(name):
        raise Failed(
            f"cgroups of {name} stay busy below {cgroups.ROOT}/*{cgroups.parent(name)}: a process is still in one of them"
        )
    with locked(places.root / "sysctls.lock"):
        if set(places.clusters()) <= {name}:
            changed = sysctls.restore(places.root / "sysctls.json")
            if changed:
                print(f"put back: {', '.join(changed)}", file=sys.stderr, flush=True)
        folder = places.cluster(name)
        gone = folder.with_name(f".{name}.gone")
        if folder.exists():
            # Renamed first: a cluster's folder is there whole or not at all.
            run("rm", "-rf", "--one-file-system", gone)
            folder.rename(gone)
    run("rm", "-rf", "--one-file-system", gone)  # far quicker than Python with the ten thousands of files of a node


if __name__ == "__main__":
    main()
