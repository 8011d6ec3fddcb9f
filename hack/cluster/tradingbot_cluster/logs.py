"""What a cluster's nodes, their services and the control plane wrote, as one folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tradingbot_cluster.cluster import Cluster
from tradingbot_cluster.errors import ClusterError
from tradingbot_cluster.node_logs import collect_nodes


def collect(cluster: Cluster, folder: Path) -> list[Path]:
    """
    Write the logs into a folder and return the files; what can't be had is left out.

    Pods' logs are among them as the nodes keep them, also while no API server answers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = collect_nodes(cluster.engine(), cluster.name, folder)
    for kind in ("events", "pods", "nodes"):
        with contextlib.suppress(ClusterError):
            text = cluster.kubectl("get", kind, "--all-namespaces", "--output=wide", timeout_s=30)
            (folder / f"{kind}.txt").write_text(text)
            written.append(folder / f"{kind}.txt")
    return written
