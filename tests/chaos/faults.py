"""
The seeded plan of what goes wrong, and when.

A plan is a sequence that depends on the seed, and on whether the storm is short or long: the same seed breaks the same
things in the same order. What the processes are doing at that moment is up to the machine; what a long storm leaves out or
brings forward (`pace.py`) follows from what it has counted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tradingbot_engine import crashpoint

NODE_FAULTS = (
    "lag", "dead_fork", "hang", "down", "status_blind", "drop_send", "double_send", "delay_send", "lose_answer",
    "rate_limited", "http_error", "html", "latency", "snapshot", "unhealthy",
)  # fmt: skip
"""What one node may suffer; every plan has each of them before it repeats one."""
PROCESS_ACTS = ("kill", "kill", "zombie", "zombie", "zombie", "freeze", "runner", "localnet")
"""What may happen to processes beside the crash points; `freeze` is a SIGSTOP inside a database transaction."""

LATEST_VISIT = 90
"""Engines of long storms live for half as many trades on average, so that they trade more than they start."""


@dataclass(frozen=True)
class Act:
    """
    One thing that goes wrong.

    `kind` is "node" (a node's fault, off again after `lasts_s`), "fork" (within `lasts_s`), "halt", "blackout" (no send reaches a leader), or
    one of `PROCESS_ACTS`.
    """

    kind: str
    lasts_s: float = 0.0
    body: dict[str, Any] = field(default_factory=dict)


class Plan:
    """
    The acts and crash points of one seed.

    `dense` is for short storms: more goes wrong per second, fewer trades come through.
    """

    def __init__(self, seed: int, *, nodes: int, slot_ms: float, dense: bool = False) -> None:
        self._dense = dense
        self._random = random.Random(f"chaos-{seed}")
        self._nodes, self._slot_ms = nodes, slot_ms
        self._latest_visit = 6 if dense else LATEST_VISIT
        self._acts = self._make_acts()
        self._points = self._make_points()

    def next_act(self) -> Act:
        """Return the next thing that goes wrong."""
        return next(self._acts)

    def next_point(self) -> str:
        """Return the next crash point, as the switch of the engine names it: `name#visit`; "" for an engine that is spared."""
        return next(self._points) if self._random.random() < 0.85 else ""

    @staticmethod
    def is_rare(point: str) -> bool:
        """Tell whether a crash point is reached only after something else went wrong."""
        return point.partition(":")[0] in ("expired", "abandoned", "forked", "failed", "release")

    def provocation(self, point: str) -> Act | None:
        """Return what brings a rare crash point about: expiries, forks and failures do not happen by themselves."""
        nodes = list(range(self._nodes))
        match point.partition(":")[0]:
            case "expired" | "abandoned":
                return self.blackout()
            case "forked":
                return self.deep_fork()
            case "failed":
                slots = self._random.randint(10, 60)
                return Act("node", 3.0, {"kind": "delay_send", "nodes": nodes, "delay_slots": slots})
        return None

    def deep_fork(self) -> Act:
        """Abandon so many blocks that every trade that is merely confirmed goes with them; wait a while for one."""
        return Act("fork", 3.0, {"kind": "fork", "slots": 15, "requeue": False, "stay": []})

    def process_act(self, kind: str) -> Act:
        """Return one of `PROCESS_ACTS`."""
        return Act(kind, self._random.uniform(0.2, 2.5))

    def blackout(self) -> Act:
        """Drop every send for so long that blockhashes run out."""
        body = {"kind": "drop_send", "nodes": list(range(self._nodes)), "probability": 1.0}
        return Act("blackout", self._random.uniform(190, 240) * self._slot_ms / 1000, body)

    def visit(self, point: str) -> str:
        """Return the point with the number of the visit that kills."""
        common = point.split(":")[0] in ("claim", "signed", "send", "submitted", "confirmed", "done")
        return f"{point}#{self._random.randint(1, self._latest_visit) if common else 1}"

    def pause_s(self) -> float:
        """Return how long to wait until the next act."""
        return self._random.uniform(0.2, 1.0) if self._dense else self._random.uniform(0.3, 1.6)

    def between(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def _make_points(self) -> Iterator[str]:
        while True:
            points = list(crashpoint.POINTS)
            self._random.shuffle(points)
            yield from map(self.visit, points)

    def _make_acts(self) -> Iterator[Act]:
        """Deal node faults, chain faults and process acts as shuffled packs, interleaved by chance."""
        packs = [
            self._pack(list(NODE_FAULTS)),
            self._pack(["fork"] * 9 + ["halt", "blackout"]),
            self._pack(list(PROCESS_ACTS)),
        ]
        while True:
            kind = next(self._random.choices(packs, weights=(6, 3, 2) if self._dense else (5, 3, 3))[0])
            if kind in NODE_FAULTS:
                yield Act("node", self._random.uniform(0.5, 4.0), self._node_fault(kind))
            elif kind == "fork":
                yield Act("fork", 0.0, self._fork())
            elif kind == "blackout":
                yield self.blackout()
            elif kind == "halt":
                yield Act("halt", self._random.uniform(0.2, 2.0), {"kind": "halt"})
            else:
                yield self.process_act(kind)

    def _pack(self, kinds: list[str]) -> Iterator[str]:
        while True:
            self._random.shuffle(kinds)
            yield from list(kinds)

    def _fork(self) -> dict[str, Any]:
        stay = [self._random.randrange(self._nodes)] if self._random.random() < 0.3 else []
        slots = self._random.choice([1, 2, 2, 3, 3, 5, 8, 13, 20])
        return {"kind": "fork", "slots": slots, "requeue": self._random.random() < 0.4, "stay": stay}

    def _node_fault(self, kind: str) -> dict[str, Any]:
        r = self._random
        nodes = sorted(r.sample(range(self._nodes), r.choice([1, 1, 1, 2, self._nodes])))
        some = {"nodes": nodes, "probability": r.choice([0.3, 0.6, 1.0])}
        bodies: dict[str, dict[str, Any]] = {
            "lag": {"nodes": nodes, "slots": r.choice([1, 3, 10, 40, 140, 400])},
            "dead_fork": {"nodes": nodes[:2]},
            "hang": some,
            "down": some,
            "status_blind": {"nodes": nodes},
            "drop_send": some,
            "double_send": some | {"delay_slots": r.randint(1, 20)},
            "delay_send": some | {"delay_slots": r.randint(1, 120)},
            "lose_answer": some | {"how": r.choice(["reset", "hang"])},
            "rate_limited": some | {"retry_after_s": r.choice([None, 0, 1])},
            "http_error": some | {"status": r.choice([500, 502, 503])},
            "html": some | {"status": r.choice([200, 502])},
            "latency": some | {"latency_ms": r.choice([20, 200, 700]), "jitter_ms": 100},
            "snapshot": {"nodes": nodes[:1]},  # its range of slots is set when it is switched on
            "unhealthy": {"nodes": nodes},
        }
        return {"kind": kind, **bodies[kind]}
