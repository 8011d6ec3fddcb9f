"""How fast an endpoint answers, how often it fails, and how long a method takes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WEIGHT = 0.2
"""Of the newest observation in the moving averages."""
FAILURE_COST = 10.0
"""An endpoint that always fails counts as this many times slower than it is."""
KEPT = 256
"""Latencies of one method that the percentile is taken from."""
WARM = 20
"""Fewer say nothing about a percentile."""
EVERY = 32
"""The percentiles are computed anew after this many observations."""
TWICE = 2.0
"""An answer is not late before twice the usual time: of equally fast answers one in twenty is still the slowest twentieth."""


@dataclass(slots=True)
class Score:
    """One endpoint's moving averages; lower `idle_cost` is better."""

    latency_ms: float = 0.0
    """0 until it has answered."""
    failing: float = 0.0
    """Share of requests that were its fault, 0 to 1."""
    idle_cost: float = 0.0
    """What asking it costs while nothing is under way: its latency, dearer if it fails."""

    def answered(self, latency_ms: float) -> None:
        """Note an answer."""
        self.latency_ms += (latency_ms - self.latency_ms) * (WEIGHT if self.latency_ms else 1.0)
        self.failing -= self.failing * WEIGHT
        self.idle_cost = self.latency_ms * (1.0 + FAILURE_COST * self.failing)

    def failed(self) -> None:
        """Note a fault."""
        self.failing += (1.0 - self.failing) * WEIGHT
        self.idle_cost = self.latency_ms * (1.0 + FAILURE_COST * self.failing)


class Latencies:
    """The latest latencies of one method, over all endpoints, in seconds."""

    __slots__ = ("_kept", "_seen", "late_s", "p95_s")

    def __init__(self) -> None:
        self._kept: deque[float] = deque(maxlen=KEPT)
        self._seen = 0
        self.p95_s: float | None = None
        """The 95th percentile; None while too few were seen."""
        self.late_s: float | None = None
        """After so long an answer is late: the 95th percentile, and at least `TWICE` the median."""

    def add(self, seconds: float) -> None:
        """Note one answer's latency."""
        self._kept.append(seconds)
        self._seen += 1
        if self._seen == WARM or self._seen % EVERY == 0:
            ordered = sorted(self._kept)
            self.p95_s = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
            self.late_s = max(self.p95_s, TWICE * ordered[len(ordered) // 2])
