"""A simulated ramp of load on the real signal queue: when does its measure warn, and when do people notice."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

from tradingbot_engine.bus.admission import Permit
from tradingbot_engine.bus.signals import SignalQueue
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.settings import QueueSettings

WINDOW_S = 15.0


class SimulatedClock:
    """Stands where the simulation puts it."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def monotonic_s(self) -> float:
        return self.at_s

    def now_ms(self) -> int:
        return round(self.at_s * 1000)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits in a simulation")


@dataclass(frozen=True)
class Ramp:
    """Loads are arrivals × service time / workers; times are seconds since the ramp began."""

    crossed_s: float
    """When the measure first reached the target."""
    crossed_load: float
    doubled_s: float
    """End of the first 15 s whose p99 of wait + work is twice that of the first minute."""
    doubled_load: float
    depth_crossed_s: float
    """When depth over size alone would have reached the target; the ramp's end if never."""


def ramp(
    *,
    seed: int,
    workers: int = 8,
    service_s: float = 0.05,
    from_load: float = 0.1,
    to_load: float = 1.3,
    lasts_s: float = 600.0,
    target: float = 0.6,
    max_size: int = 10_000,
) -> Ramp:
    """Play one ramp: Poisson arrivals whose rate rises evenly, exponential work, `workers` workers."""
    chance, clock = random.Random(seed), SimulatedClock()
    queue = SignalQueue(settings=QueueSettings(max_size=max_size), workers=workers, clock=clock)
    one = Signal("s", "t", 1, "Mint", Side.BUY, Purpose.ENTRY, "e", 0, 1.0, "why", Priority.NORMAL)
    busy: list[tuple[float, int, Permit[Signal], float]] = []
    came: list[float] = []
    finished: list[tuple[float, float]] = []
    crossed = depth_crossed = None
    arrival, second, n, head = 0.0, 1.0, 0, 0
    capacity = workers / service_s

    def load(at_s: float) -> float:
        return from_load + (to_load - from_load) * at_s / lasts_s

    while True:
        end = busy[0][0] if busy else float("inf")
        clock.at_s = min(arrival, end, second)
        if clock.at_s >= lasts_s:
            break
        if clock.at_s == second:
            second += 1.0
            if crossed is None and queue.utilization >= target:
                crossed = clock.at_s
            if depth_crossed is None and len(queue) / max_size >= target:
                depth_crossed = clock.at_s
        elif clock.at_s == end:
            _, _, permit, began = heapq.heappop(busy)
            permit.release()
            finished.append((clock.at_s, clock.at_s - began))
        else:
            assert queue.put(one) is None, "the ramp fills the queue: what is measured is something else"
            came.append(clock.at_s)
            arrival += chance.expovariate(capacity * load(clock.at_s))
        while len(busy) < workers and len(queue):
            n += 1
            heapq.heappush(busy, (clock.at_s + chance.expovariate(1 / service_s), n, taken(queue), came[head]))
            head += 1

    by_window: dict[int, list[float]] = {}
    for at_s, took_s in finished:
        by_window.setdefault(int(at_s // WINDOW_S), []).append(took_s)
    calm = p99([t for w in range(4) for t in by_window[w]])
    doubled = next((w + 1) * WINDOW_S for w in sorted(by_window) if w >= 4 and p99(by_window[w]) >= 2 * calm)
    assert crossed is not None
    return Ramp(crossed, load(crossed), doubled, load(doubled), lasts_s if depth_crossed is None else depth_crossed)


def taken(queue: SignalQueue) -> Permit[Signal]:
    """Take what waits without an event loop."""
    try:
        queue.get().send(None)
    except StopIteration as done:
        permit: Permit[Signal] = done.value
        return permit
    raise AssertionError("nothing waits")


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]
