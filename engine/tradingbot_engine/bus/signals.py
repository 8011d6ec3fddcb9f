"""
Signals on their way to a worker: urgent first, bounded, and never older than their deadline.

What happens under load, in this order: from `queue.warning_threshold` on entries of priority LOW are refused, from
`queue.critical_threshold` on NORMAL ones too; when full, the youngest of the least urgent is displaced, never a more urgent
one. Entries past the deadline are shed, exits wait. Exits are critical whatever their own priority, which orders them among
themselves: no entry takes the place of an exit, and none is served before one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import ceil

from tradingbot_engine.bus.admission import Admission, Gone, Permit
from tradingbot_engine.bus.utilization import Utilization
from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.signals import Priority, Purpose, Signal
from tradingbot_engine.settings.queue import QueueSettings

__all__ = ["Gone", "Permit", "SignalQueue"]

_EXIT = Purpose.EXIT
_ENTRIES = len(Priority)
"""Rank of the most urgent entries; the ranks before are exits, by their priority."""

MESSAGES = {
    Gone.QUEUE_FULL: "more urgent signals filled the queue",
    Gone.OVERLOADED: "the queue is so full that only more urgent signals are let in",
    Gone.LATE: "the signal waited longer than queue.deadline_ms",
}
"""For people."""


class SignalQueue:
    """The engine's only queue of signals: many workers take, the core puts."""

    def __init__(self, *, settings: QueueSettings, workers: int, clock: Clock) -> None:
        size, on = settings.max_size, settings.backpressure
        self._clock = clock
        self._deadline_s = settings.deadline_ms / 1000
        self._reject_s = settings.reject_fast_ms / 1000
        low, normal = ceil(settings.warning_threshold * size), ceil(settings.critical_threshold * size)
        entries = {Priority.NORMAL: normal, Priority.LOW: low} if on else {}
        self._utilization = Utilization(workers=workers, backlog=lambda: self.pressure, now=clock.monotonic_s)
        self._admission: Admission[Signal] = Admission(
            max_size=size,
            limits=[size] * _ENTRIES + [entries.get(p, size) for p in Priority],
            perishable=[False] * _ENTRIES + [True] * _ENTRIES,
            deadline_s=self._deadline_s if on else None,
            displace=on,
            now=clock.monotonic_s,
            on_work=self._utilization.busy,
        )
        self._offer = self._admission.offer
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._admission)

    @property
    def working(self) -> int:
        """Signals that workers hold now."""
        return self._admission.working

    @property
    def pressure(self) -> float:
        """In [0, 1], now: the larger of depth / size and oldest wait / deadline."""
        admission = self._admission
        return min(1.0, max(len(admission) / admission.max_size, admission.oldest_wait_s / self._deadline_s))

    @property
    def utilization(self) -> float:
        """In [0, 1], over 15 s: depth, oldest wait or busy workers, whichever is worst (see `bus.utilization`)."""
        return self._utilization.value()

    def put(self, signal: Signal) -> tuple[Signal, Gone] | None:
        """Queue a signal; return the one that had to go for it (perhaps this one) and why, or None."""
        gone = self._offer(signal, signal.priority if signal.purpose is _EXIT else _ENTRIES + signal.priority)
        if self._waiters:
            self._wake()
        return gone

    async def get(self) -> Permit[Signal]:
        """Wait for the most urgent signal; the permit is released when the work on it is over."""
        while (permit := self._admission.take()) is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                elif len(self._admission):
                    self._wake()  # it was woken for a signal that another must take now
                raise
        return permit

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def late(self) -> list[Signal]:
        """Wait until entries are past their deadline, and take them out; at the latest `queue.reject_fast_ms` after it."""
        while True:
            if dead := self._admission.shed():
                return dead
            now = self._clock.monotonic_s()
            due_s = self._admission.next_deadline_s or now + self._deadline_s
            await self._clock.sleep(max(self._reject_s, due_s - now))

    def clear(self) -> list[Signal]:
        """Empty the queue and return what was in it, most urgent first."""
        return self._admission.clear()
