"""What a cluster's nodes, their services and the control plane wrote, as one folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tradingbot_cluster.cluster import Cluster
from tradingbot_cluster.errors import ClusterError

SERVICES = ("kubelet", "containerd", "pod-network")


def collect(cluster: Cluster, folder: Path) -> list[Path]:
    """
    Write the logs into a folder and return the files; what can't be had is left out.

    Pods' logs are among them as the nodes keep them, also while no API server answers.
    """
    engine = cluster.engine()
    written: list[Path] = []

    def write(name: str, *command: str) -> None:
        with contextlib.suppress(ClusterError):
            text = engine.docker(*command, timeout_s=60)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written.append(path)

    for node in engine.nodes(cluster.name):
        write(f"{node}/console.log", "logs", node)
        for service in SERVICES:
            write(f"{node}/{service}.log", "exec", node, "journalctl", "--no-pager", f"--unit={service}")
        with contextlib.suppress(ClusterError):
            for path in engine.docker("exec", node, "find", "/var/log/pods", "-name", "*.log", timeout_s=60).split():
                write(f"{node}/pods/{path.removeprefix('/var/log/pods/').replace('/', '_')}", "exec", node, "cat", path)
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("events", "pods", "nodes"):
        with contextlib.suppress(ClusterError):
            text = cluster.kubectl("get", kind, "--all-namespaces", "--output=wide", timeout_s=30)
            (folder / f"{kind}.txt").write_text(text)
            written.append(folder / f"{kind}.txt")
    return written
