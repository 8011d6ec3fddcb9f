"""
The audit from outside: a pod of its own walks the wallet's history on the chain, and compares it with the ledger.

It runs beside the bot or after it is gone, asks a node of the chain that faults leave alone, and reads the ledger's volume.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from e2e.bot import AUDIT_PORT
from e2e.kube import Json, Kube, wait_for

COUNTS = ("doubled", "lost", "phantom", "open", "filled")


@dataclass(frozen=True)
class Verdict:
    """What an audit counted."""

    counts: dict[str, int]
    report: str

    @property
    def sound(self) -> bool:
        """Whether no trade was doubled, lost or invented."""
        return not any(self.counts[name] for name in ("doubled", "lost", "phantom"))

    def __str__(self) -> str:
        return ", ".join(f"{name} {self.counts[name]}" for name in COUNTS)


def audit(kube: Kube, bot: str, *, image: str, ledger: str | None = None, localnet: str = "shared-localnet") -> Verdict:
    """
    Audit a bot of a namespace.

    Args:
        kube: Its namespace.
        bot: Its name.
        image: Of the engine.
        ledger: Address of a ledger in PostgreSQL; None: the SQLite file on the bot's claim.
        localnet: Service of the chain.
    """
    pod = _pod(f"{bot}-audit", bot, image, ledger, f"http://{localnet}:{AUDIT_PORT}")
    said = wait_for(f"a whole audit of {bot}", lambda: _run(kube, pod))
    try:
        found = json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise AssertionError(f"the audit of {bot} gave no report: {said[-3000:]}") from None
    return Verdict({key: int(found[key]) for key in COUNTS}, said)


def held(kube: Kube, bot: str, *, image: str) -> int:
    """Return how many positions the SQLite ledger of a bot that is gone holds as not closed."""
    count = (
        "import sqlite3; db = sqlite3.connect('file:/var/lib/tradingbot/ledger.db?mode=ro', uri=True); "
        "print(db.execute(\"SELECT count(*) FROM positions WHERE state != 'CLOSED'\").fetchone()[0])"
    )
    pod = _pod(f"{bot}-audit", bot, image, None, "")
    pod["spec"]["containers"][0]["command"] = ["python3", "-c", count]
    return int(wait_for(f"the positions of {bot}", lambda: _run(kube, pod)))


def _run(kube: Kube, pod: Json) -> str | None:
    """Run an audit to its end and return what it said; None if the chain could not be read as a whole, which proves nothing."""
    name = pod["metadata"]["name"]
    kube.run("delete", "pod", name, "--ignore-not-found", "--grace-period=1")
    kube.apply(pod)

    def ended() -> str | None:
        phase = kube.get("pod", name)["status"].get("phase")
        return str(phase) if phase in ("Succeeded", "Failed") else None

    wait_for(f"the end of {name}", ended)
    said = kube.run("logs", f"pod/{name}")
    kube.run("delete", "pod", name, "--wait=false", "--grace-period=1")
    return None if "audit: incomplete" in said else said


def _pod(name: str, bot: str, image: str, ledger: str | None, rpc: str) -> Json:
    where = ledger or "/var/lib/tradingbot/ledger.db"
    container: dict[str, Any] = {
        "name": "audit",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["tradingbot-engine", "audit", "--rpc", rpc, "--ledger", where, "--output", "json"],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if ledger is None:
        container["volumeMounts"].append({"name": "ledger", "mountPath": "/var/lib/tradingbot"})
        volumes.append({"name": "ledger", "persistentVolumeClaim": {"claimName": f"{bot}-ledger"}})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "audit"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "fsGroupChangePolicy": "OnRootMismatch",
            },
            "containers": [container],
            "volumes": volumes,
        },
    }
