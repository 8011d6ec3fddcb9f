"""What a failing test leaves behind, in one folder: YAML of everything in its namespace, events, logs, the operator's logs."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from e2e.kube import Kube, Refused

KINDS = (
    "tradingbots,deployments,replicasets,jobs,pods,services,configmaps,persistentvolumeclaims,networkpolicies,"
    "poddisruptionbudgets,serviceaccounts,roles,rolebindings"
)


def keep(folder: Path, test: str, kube: Kube, system: Kube) -> Path:
    """Write what is known of a namespace, and of the operator; return the folder. What can't be had is left out."""
    kept = folder / re.sub(r"[^\w.-]+", "_", test)[-120:]
    kept.mkdir(parents=True, exist_ok=True)
    for where, prefix in ((kube, ""), (system, "operator-")):
        _write(kept / f"{prefix}objects.yaml", where, "get", KINDS, "--output=yaml")
        _write(kept / f"{prefix}events.txt", where, "get", "events", "--sort-by=.lastTimestamp", "--output=wide")
        _logs(kept, prefix, where)
    _write(kept / "nodes.yaml", kube, "get", "nodes,persistentvolumes", "--output=yaml")
    return kept


def _logs(kept: Path, prefix: str, where: Kube) -> None:
    with suppress(Refused):
        for pod in where.items("pods"):
            name, spec = pod["metadata"]["name"], pod["spec"]
            for container in (*spec.get("initContainers", ()), *spec["containers"]):
                path = kept / f"{prefix}{name}.{container['name']}"
                words = ("logs", name, f"--container={container['name']}", "--timestamps")
                _write(path.with_name(path.name + ".log"), where, *words)
                _write(path.with_name(path.name + ".previous.log"), where, *words, "--previous")


def _write(path: Path, where: Kube, *words: str) -> None:
    with suppress(Refused):
        if said := where.run(*words, within_s=60):
            path.write_text(said)
