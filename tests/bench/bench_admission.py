"""
admission: decisions a second under a 10× burst, and the share of critical signals that are kept.

Ten signals are offered for each that a worker takes, one call per decision, through `SignalQueue.put`; the queue runs full,
so that nearly every decision meets a threshold, a refusal or a displacement. A tenth of the signals are exits. The baseline
is seed 002's `canAcceptRequest`, rebuilt here as it stands there: one counter, one threshold for all that is not critical.
The goal is for the best of many short rounds, what a decision costs where nothing else takes the core; the medians tell what
else ran.

The share that is kept is measured where exits compete, with the entries and among themselves: in waves of 5,000 signals into
a queue of 1,000, nearly a fifth of them exits, all at once. Between two waves workers take about as many as those exits were;
so at the end of a wave the queue holds hardly anything else, and most exits have displaced an entry.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from support.queue_ramp import ramp, taken

from tradingbot_engine.bus.signals import SignalQueue
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.settings import QueueSettings

OFFERS, FLOOD, SIZE, ROUNDS = 20_000, 5_000, 1_000, 60
PER_TAKE = 10
WAVES, BETWEEN_WAVES, EXITS_IN_WAVES = 6, 900, 4
"""How many waves come, how many signals workers take from the end of one to the next, exits for 18 entries."""


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


def signals(count: int, *, exits: int = 2) -> list[Signal]:
    """So many exits for 18 entries; of these some HIGH, so that there is always somebody to be displaced."""
    chance = random.Random(5)
    kinds = [(Priority.CRITICAL, Purpose.EXIT)] * exits + [
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


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the critical signals of all waves, in percent, and how hard it was."""

    ours: float
    seeds: float
    displacing: float
    """Share of the critical signals that found the queue full and took another one's place."""
    crowded: float
    """Share of critical signals in the queue at the end of a wave, on average."""


def kept_in_waves() -> Kept:
    """Return the share of critical signals that are never refused or displaced."""
    queue = SignalQueue(settings=QueueSettings(max_size=SIZE, deadline_ms=600_000), workers=16, clock=SystemClock())
    rule = SeedsRule(max_queue_size=SIZE)
    offered = signals(FLOOD * WAVES, exits=EXITS_IN_WAVES)
    critical = [s for s in offered if s.purpose is Purpose.EXIT]
    lost = kept_by_seed = displacing = 0
    waiting, crowded = 0, []
    for first in range(0, len(offered), FLOOD):
        for signal in offered[first : first + FLOOD]:
            exits = signal.purpose is Purpose.EXIT
            gone = queue.put(signal)
            waiting += exits
            if gone is not None and gone[0].purpose is Purpose.EXIT:
                lost += 1
                waiting -= 1
            displacing += exits and gone is not None and gone[0] is not signal
            kept_by_seed += exits and rule.can_accept_request(signal.priority.name.lower())["accepted"] is True
            if not exits:
                rule.can_accept_request(signal.priority.name.lower())
        crowded.append(waiting / SIZE)
        for _ in range(BETWEEN_WAVES):
            waiting -= take_one(queue, rule)
    return Kept(
        ours=100 * (1 - lost / len(critical)),
        seeds=100 * kept_by_seed / len(critical),
        displacing=100 * displacing / len(critical),
        crowded=100 * statistics.mean(crowded),
    )


def take_one(queue: SignalQueue, rule: SeedsRule) -> bool:
    """Let a worker finish one signal of each queue; return whether ours was an exit."""
    rule.release_request()
    permit = taken(queue)
    with permit as signal:
        return signal.purpose is Purpose.EXIT


async def main(emit: Callable[..., None]) -> None:
    offered = signals(OFFERS)
    rounds = [decide_all(offered) for _ in range(ROUNDS)]
    ours, counts = [rate for rate, _ in rounds], rounds[0][1]
    seeds = [decide_all_as_the_seed(offered) for _ in range(ROUNDS)]
    assert counts["displaced"] > OFFERS // 100, f"hardly anything was displaced: {counts}"
    for what, of, goal in (("", max, 1_000_000), (", median round", statistics.median, None)):
        name = f"admission decisions, 10× burst{what} (baseline the seed's rule)"
        emit(name, of(ours), "decisions/s", "higher", of(seeds), goal)
    emit("admission displacements among them", 100 * counts["displaced"] / OFFERS, "%", "higher", None, None)
    kept = kept_in_waves()
    assert kept.displacing > 50, f"exits hardly had to displace anything: {kept}"
    emit(
        "admission critical kept in waves of 5,000 at once (baseline the seed's rule)",
        kept.ours,
        "%",
        "higher",
        kept.seeds,
        99,
    )
    emit("admission critical that displaced another one", kept.displacing, "%", "higher", None, None)
    emit("admission share of critical in the full queue", kept.crowded, "%", "higher", None, None)
    seen = ramp(seed=1)
    emit(
        "queue-utilization crosses 0.6 on a ramp (baseline: p99 doubles)",
        seen.crossed_load,
        "load",
        "lower",
        seen.doubled_load,
    )
