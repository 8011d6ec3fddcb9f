"""
Signals on their way to a worker: urgent first, bounded, and never older than their deadline.

When full, a signal of lower priority is displaced, never a higher one; entries past the deadline are shed, exits wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.signals import Priority, Purpose, Signal


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued signal and when it came (monotonic seconds)."""

    signal: Signal
    queued_at_s: float


class SignalQueue:
    """Bounded priority queue; every operation is O(number of priorities)."""

    def __init__(self, *, max_size: int, deadline_ms: int, clock: Clock) -> None:
        self._max_size = max_size
        self._deadline_s = deadline_ms / 1000
        self._clock = clock
        self._lanes: dict[Priority, deque[Waiting]] = {p: deque() for p in Priority}
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    @property
    def utilization(self) -> float:
        """In [0, 1]: the larger of depth / size and oldest wait / deadline."""
        now = self._clock.monotonic_s()
        waits = [now - lane[0].queued_at_s for lane in self._lanes.values() if lane]
        return min(1.0, max(len(self) / self._max_size, max(waits, default=0.0) / self._deadline_s))

    def put(self, signal: Signal) -> Signal | None:
        """Queue a signal; return the one that had to go instead (perhaps this one), or None."""
        displaced: Signal | None = None
        if len(self) >= self._max_size:
            worst = max(p for p, lane in self._lanes.items() if lane)
            if signal.priority >= worst:
                return signal
            displaced = self._lanes[worst].pop().signal  # the youngest of the least urgent has waited for least
        self._lanes[signal.priority].append(Waiting(signal, self._clock.monotonic_s()))
        self._filled.set()
        return displaced

    async def get(self) -> tuple[Signal, bool]:
        """Wait for the most urgent signal; the flag tells that it is past its deadline and is to be refused."""
        while True:
            for lane in self._lanes.values():
                if lane:
                    item = lane.popleft()
                    late = self._clock.monotonic_s() - item.queued_at_s > self._deadline_s
                    return item.signal, late and item.signal.purpose is Purpose.ENTRY
            self._filled.clear()
            await self._filled.wait()

    def clear(self) -> list[Signal]:
        """Empty the queue and return what was in it, most urgent first."""
        rest = [item.signal for lane in self._lanes.values() for item in lane]
        for lane in self._lanes.values():
            lane.clear()
        return rest
