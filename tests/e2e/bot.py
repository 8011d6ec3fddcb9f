"""A TradingBot on the cluster, and what a test asks of it: its status, its engine, its localnet, its end."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from e2e.kube import HANGS_AFTER_S, Json, Kube, Refused, wait_for

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "crds/samples/first-bot.yaml"
AUDIT_PORT = 8905
"""Of the node that faults leave alone, of a localnet with three others."""

ADMIN = """\
import json, sys, time, urllib.request
token = open("/etc/tradingbot-admin/token").read().strip()
def ask(path, method="GET"):
    request = urllib.request.Request("http://127.0.0.1:8080" + path, method=method, headers={"Authorization": "Bearer " + token})
    return json.loads(urllib.request.urlopen(request, timeout=10).read())
"""
STATUS = ADMIN + 'print(json.dumps(ask("/v1/status")))'
IN_FLIGHT = (
    ADMIN
    + """
until = time.time() + float(sys.argv[1])
while time.time() < until:
    found = ask("/v1/status")
    if found["inFlight"]:
        print(found["inFlight"])
        break
    time.sleep(0.05)
"""
)
FAULT = """\
import sys, urllib.request
method, path, body = sys.argv[1:4]
request = urllib.request.Request("http://127.0.0.1:8907/localnet/faults" + path, method=method,
    data=body.encode() or None, headers={"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""


COUNT = """\
import sqlite3, sys
db = sqlite3.connect("file:/var/lib/tradingbot/ledger.db?mode=ro", uri=True)
print(db.execute("SELECT count(*) FROM " + sys.argv[1]).fetchone()[0])
"""
ENTRIES, HELD = "intents WHERE purpose = 'ENTRY'", "positions WHERE state != 'CLOSED'"
"""Rows of the ledger to count."""


def manifest(name: str = "first-bot", **spec: Any) -> Json:
    """Return the sample bot, with parts of its spec replaced; None leaves a part out."""
    found: Json = copy.deepcopy(yaml.safe_load(SAMPLE.read_text()))
    found["metadata"]["name"] = name
    found["spec"] = {key: value for key, value in {**found["spec"], **spec}.items() if value is not None}
    return found


@dataclass(frozen=True)
class Bot:
    """One bot of one namespace."""

    kube: Kube
    name: str = "first-bot"
    began_s: float = field(default_factory=time.monotonic)
    """When it was applied."""

    @property
    def engine_name(self) -> str:
        return f"{self.name}-engine"

    # --- the resource
    def body(self) -> Json:
        return self.kube.get("tradingbot", self.name)

    def condition(self, kind: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition, of the newest generation only; else ("", "", "")."""
        return condition_of(self.body(), kind)

    def wait_condition(
        self, kind: str, status: str, reason: str | None = None, *, within_s: float = HANGS_AFTER_S
    ) -> str:
        """Wait until a condition has a status (and reason); return its message."""

        def look() -> str | None:
            found = self.condition(kind)
            right = found[0] == status and reason in (None, found[1])
            if not right:
                raise Refused(f"{kind} is {found}")
            return found[2]

        return wait_for(f"{self.name}: {kind} is {status} {reason or ''}", look, within_s=within_s)

    def wait_trading(self, *, within_s: float = HANGS_AFTER_S) -> None:
        """Wait until it is rolled out and trades."""
        for kind, status in (("Ready", "True"), ("Progressing", "False"), ("Degraded", "False"), ("Trading", "True")):
            self.wait_condition(kind, status, within_s=within_s)

    def patch(self, **spec: Any) -> None:
        """Change its spec."""
        self.kube.patch("tradingbot", self.name, spec=spec)

    # --- its pods
    def pods(self) -> list[Json]:
        """Return its engine's pods that are not over."""
        label = f"tradingbot.dev/bot={self.name},app.kubernetes.io/component=engine"
        found = self.kube.items("pods", f"--selector={label}")
        return [pod for pod in found if pod["status"].get("phase") not in ("Succeeded", "Failed")]

    def pod(self) -> Json:
        """Return its one engine pod; wait for it."""
        return wait_for(f"one pod of {self.name}", lambda: found[0] if len(found := self.pods()) == 1 else None)

    def engine(self) -> Json:
        """Return what its engine says of itself."""
        found: Json = json.loads(self.kube.python(f"deploy/{self.engine_name}", STATUS, container="engine"))
        return found

    def fills(self) -> int:
        """Return how many trades its ledger holds as done."""
        return int(self.engine()["intents"].get("DONE", 0))

    def wait_fills(self, more_than: int = 0, *, within_s: float = HANGS_AFTER_S) -> int:
        """Wait until more trades than this are done; return how many are."""
        return wait_for(
            f"more than {more_than} trades of {self.name}",
            lambda: found if (found := self.fills()) > more_than else None,
            within_s=within_s,
        )

    def counted(self, rows: str) -> int:
        """Count rows of the SQLite ledger, beside the engine that writes it."""
        return int(self.kube.python(f"deploy/{self.engine_name}", COUNT, rows, container="engine"))

    def buys_nothing(self, *, for_s: float) -> None:
        """Look for a while, in which it would buy several times, whether an entry is claimed."""
        before = self.counted(ENTRIES)
        time.sleep(for_s)
        assert self.counted(ENTRIES) == before, "it bought"

    def wait_in_flight(self, *, within_s: float = HANGS_AFTER_S) -> int:
        """Return, as soon as an attempt is in flight, how many are: the middle of a trade."""
        said = self.kube.python(f"deploy/{self.engine_name}", IN_FLIGHT, f"{within_s - 60:g}", container="engine")
        assert said.strip(), f"no trade of {self.name} within {within_s - 60:g} s"
        return int(said)

    # --- its chain
    def fault(self, kind: str, **options: Any) -> None:
        """Break the three nodes that engines ask, not the one that the audit asks."""
        nodes = {} if kind in ("halt", "fork") else {"nodes": [0, 1, 2]}
        body = json.dumps({"kind": kind, **nodes, **options})
        self.kube.python("deploy/shared-localnet", FAULT, "POST", "", body)

    def heal(self) -> None:
        """Remove all faults of the chain."""
        self.kube.python("deploy/shared-localnet", FAULT, "DELETE", "", "")


def restarts(pod: Json) -> int:
    """Return how often a pod's containers were started again."""
    return sum(int(status["restartCount"]) for status in pod["status"]["containerStatuses"])


def condition_of(body: Json, kind: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition about the newest generation; else ("", "", "")."""
    generation = body["metadata"]["generation"]
    for found in body.get("status", {}).get("conditions", ()):
        if found["type"] == kind and found.get("observedGeneration") == generation:
            return (found["status"], found["reason"], found.get("message", ""))
    return ("", "", "")
