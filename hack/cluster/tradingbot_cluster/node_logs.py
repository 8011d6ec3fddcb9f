"""What a cluster's nodes, their services and their pods wrote, as one folder; no API server is asked."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tradingbot_cluster.engine import Engine
from tradingbot_cluster.errors import ClusterError

SERVICES = ("kubelet", "containerd", "pod-network", "pod-volumes")
PODS = "/var/log/pods"


def collect_nodes(engine: Engine, cluster: str, folder: Path) -> list[Path]:
    """
    Write the logs into a folder and return the files; what can't be had is left out.

    Args:
        engine: That the nodes run in.
        cluster: Its name.
        folder: Gets a folder of each node.
    """
    written: list[Path] = []

    def write(name: str, *command: str) -> None:
        with contextlib.suppress(ClusterError):
            text = engine.docker(*command, timeout_s=60)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written.append(path)

    for node in engine.nodes(cluster):
        write(f"{node}/console.log", "logs", node)
        for service in SERVICES:
            write(f"{node}/{service}.log", "exec", node, "journalctl", "--no-pager", f"--unit={service}")
        with contextlib.suppress(ClusterError):
            for path in engine.docker("exec", node, "find", PODS, "-name", "*.log", timeout_s=60).split():
                write(f"{node}/pods/{path.removeprefix(f'{PODS}/').replace('/', '_')}", "exec", node, "cat", path)
    return written
