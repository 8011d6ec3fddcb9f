"""
admission: decisions a second under a 10× burst, and the share of critical signals that are kept.

Ten signals are offered for each that a worker takes, one call per decision, through `SignalQueue.put`; the queue runs full,
so that nearly every decision meets a threshold, a refusal or a displacement. A tenth of the signals are exits. The baseline
is seed 002's `canAcceptRequest`, rebuilt here as it stands there: one counter, one threshold for all that is not critical.
"""

from __future__ import annotations

import gc
import random
import time
from collections import Counter
from collections.abc import Callable

from support.queue_ramp import ramp, taken

from tradingbot_engine.bus.signals import SignalQueue
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.settings import QueueSettings

OFFERS, FLOOD, SIZE, ROUNDS = 20_000, 5_000, 1_000, 60
PER_TAKE = 10


class SeedsRule:
    """`BackpressureManager` of seed 002, line by line."""

    def __init__(self, *, max_queue_size: int, warning: float = 0.8, critical: float = 0.95) -> None:
        self.max_queue_size, self.warning, self.critical = max_queue_size, warning, critical
        self.current_load = self.rejected = self.total = self.peak = 0

    def can_accept_request(self, priority: str) -> dict[str, object]:
        utilization = self.current_load / self.max_queue_size
        if utilization > self.critical and priority != "critical":
            self.rejected += 1
            return {"accepted": False, "reason": "CRITICAL_OVERLOAD", "utilization": round(utilization * 100)}
        if utilization > self.warning and priority == "low":
            self.rejected += 1
            return {"accepted": False, "reason": "WARNING_THRESHOLD_EXCEEDED", "utilization": round(utilization * 100)}
        if self.current_load >= self.max_queue_size:
            self.rejected += 1
            return {"accepted": False, "reason": "QUEUE_FULL"}
        self.total += 1
        self.current_load += 1
        self.peak = max(self.peak, self.current_load)
        return {"accepted": True, "utilization": round(utilization * 100)}

    def release_request(self) -> None:
        if self.current_load > 0:
            self.current_load -= 1


def signals(count: int) -> list[Signal]:
    """A tenth exits; of the entries some HIGH, so that there is always somebody to be displaced."""
    chance = random.Random(5)
    kinds = [(Priority.CRITICAL, Purpose.EXIT)] * 2 + [
        (p, Purpose.ENTRY) for p, n in ((Priority.HIGH, 4), (Priority.NORMAL, 9), (Priority.LOW, 5)) for _ in range(n)
    ]
    made = []
    for n in range(count):
        priority, purpose = chance.choice(kinds)
        made.append(Signal("s", "t", 1, "Mint", Side.BUY, purpose, str(n), 0, 1.0, "why", priority))
    return made


def decide_all(offered: list[Signal]) -> tuple[float, Counter[str]]:
    """Return decisions a second, and what became of them."""
    queue = SignalQueue(settings=QueueSettings(max_size=SIZE, deadline_ms=600_000), workers=16, clock=SystemClock())
    put, seen = queue.put, []
    gc.collect()
    began = time.perf_counter()
    for start in range(0, len(offered), PER_TAKE):
        for signal in offered[start : start + PER_TAKE]:
            seen.append(put(signal))  # noqa: PERF401  one call per decision is what is measured
        taken(queue).release()
    took_s = time.perf_counter() - began
    counts: Counter[str] = Counter()
    for signal, gone in zip(offered, seen, strict=True):
        if gone is None:
            counts["admitted"] += 1
        else:
            counts["displaced" if gone[0] is not signal else str(gone[1])] += 1
    return len(offered) / took_s, counts


def decide_all_as_the_seed(offered: list[Signal]) -> float:
    rule = SeedsRule(max_queue_size=SIZE)
    names = [s.priority.name.lower() for s in offered]
    seen = []
    gc.collect()
    began = time.perf_counter()
    for start in range(0, len(names), PER_TAKE):
        for name in names[start : start + PER_TAKE]:
            seen.append(rule.can_accept_request(name))  # noqa: PERF401
        rule.release_request()
    return len(offered) / (time.perf_counter() - began)


def kept_of_a_flood() -> tuple[float, float]:
    """Return the share of critical signals that survive 5,000 at once: ours, the seed's."""
    offered = signals(FLOOD)
    critical = sum(s.purpose is Purpose.EXIT for s in offered)
    queue = SignalQueue(settings=QueueSettings(max_size=SIZE), workers=16, clock=SystemClock())
    for signal in offered:
        queue.put(signal)
    ours = sum(s.purpose is Purpose.EXIT for s in queue.clear())
    rule = SeedsRule(max_queue_size=SIZE)
    accepted = [rule.can_accept_request(s.priority.name.lower())["accepted"] for s in offered]
    seeds = sum(1 for s, ok in zip(offered, accepted, strict=True) if ok and s.purpose is Purpose.EXIT)
    return 100 * ours / critical, 100 * seeds / critical


async def main(emit: Callable[..., None]) -> None:
    offered = signals(OFFERS)
    ours, counts = max((decide_all(offered) for _ in range(ROUNDS)), key=lambda result: result[0])
    seeds = max(decide_all_as_the_seed(offered) for _ in range(ROUNDS))
    assert counts["displaced"] > OFFERS // 100, f"hardly anything was displaced: {counts}"
    emit("admission decisions, 10× burst (baseline the seed's rule)", ours, "decisions/s", "higher", seeds, 1_000_000)
    emit("admission displacements among them", 100 * counts["displaced"] / OFFERS, "%", "higher", None, None)
    kept, kept_by_seed = kept_of_a_flood()
    emit("admission critical kept of 5,000 at once (baseline the seed's rule)", kept, "%", "higher", kept_by_seed, 99)
    seen = ramp(seed=1)
    emit(
        "queue-utilization crosses 0.6 on a ramp (baseline: p99 doubles)",
        seen.crossed_load,
        "load",
        "lower",
        seen.doubled_load,
    )
