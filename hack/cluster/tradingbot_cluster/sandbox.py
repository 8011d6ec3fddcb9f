"""
The first process in the namespaces of a private container engine: it arranges the mounts, starts the engine and the relay to the
API server, and reaps what is left to it. When it ends, the kernel ends all others in its namespaces.

`python -m tradingbot_cluster.sandbox` with a JSON document in SANDBOX; started by the keeper.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tradingbot_cluster.capabilities import CAP_SYS_RESOURCE, bounding_set
from tradingbot_cluster.relay import relay
from tradingbot_cluster.store_links import lend

VARIABLE = "SANDBOX"
DOCKERD = "dockerd"
CONFIG = "/run/docker.json"


@dataclass(frozen=True)
class Sandbox:
    """What one engine is started with."""

    data: str
    """Folder of the engine's images and containers."""
    store: str | None
    """Folder of images that are lent to it; its data is then in memory, and goes with the namespaces. None: its data is on disk."""
    docker_socket: str
    """Path of the engine's Unix socket: it is reached from every namespace that sees the path."""
    runtime: str
    """Program that stands in for runc where a capability is missing."""
    cgroup_parent: str
    """Cgroup below which all its containers run."""
    listening: int
    """File descriptor of the relay's socket, listening outside of the namespaces."""
    port: int
    """The API server's port on 127.0.0.1, outside and inside."""

    def dump(self) -> str:
        """Return it as one environment variable's value."""
        return json.dumps(asdict(self))


def engine_command(sandbox: Sandbox, capabilities: frozenset[int]) -> list[str]:
    """Return the command line of the container engine."""
    command = [
        DOCKERD,
        f"--data-root={sandbox.data}",
        "--exec-root=/run/docker",
        "--pidfile=/run/docker.pid",
        f"--host=unix://{sandbox.docker_socket}",
        f"--cgroup-parent={sandbox.cgroup_parent}",
        "--oom-score-adjust=0",  # a lower one needs CAP_SYS_RESOURCE
        f"--config-file={CONFIG}",  # not the one of the machine's own engine
    ]
    if CAP_SYS_RESOURCE not in capabilities:
        command += [f"--add-runtime=own={sandbox.runtime}", "--default-runtime=own"]
    return command


def _arrange_mounts(data: Path, store: Path | None) -> None:
    """Give this mount namespace a /run, a /sys (it shows the network namespace it is mounted in) and engine data of its own."""
    cgroups = "/run/cgroups"

    def mount(*words: str) -> None:
        subprocess.run(["mount", *words], check=True)

    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    Path(cgroups).mkdir()
    mount("--rbind", "/sys/fs/cgroup", cgroups)
    subprocess.run(["umount", "--lazy", "/sys"], check=True)
    mount("-t", "sysfs", "sysfs", "/sys")
    mount("--move", cgroups, "/sys/fs/cgroup")
    if store:
        # Not on disk: a node writes and removes ten thousands of files, which some file systems take minutes for.
        data.mkdir(exist_ok=True)
        mount("-t", "tmpfs", "-o", "mode=711", "tmpfs", str(data))
        lend(store, data)
    mount("--make-rshared", "/")  # nodes' mounts travel between their containers


def _start_relay(sandbox: Sandbox) -> int:
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    listening = socket.socket(fileno=sandbox.listening)
    asyncio.run(relay(listening, "127.0.0.1", sandbox.port))
    os._exit(0)


def _reap_until_ended(wanted: Sequence[int]) -> int:
    """Reap every child until one of the wanted ends; return its exit code."""
    while True:
        pid, status = os.wait()
        if pid in wanted:
            return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Do all that."""
    sandbox = Sandbox(**json.loads(os.environ.pop(VARIABLE)))
    _arrange_mounts(Path(sandbox.data), Path(sandbox.store) if sandbox.store else None)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
    Path(CONFIG).write_text("{}")
    engine = subprocess.Popen(engine_command(sandbox, bounding_set()), env={**os.environ, "PATH": path}, close_fds=True)
    code = _reap_until_ended([engine.pid, _start_relay(sandbox)])
    print(f"sandbox: the engine or the relay ended with {code}", file=sys.stderr, flush=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
