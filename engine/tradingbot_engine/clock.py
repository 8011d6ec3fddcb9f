"""Time as a port: the system's in production, a manual one in tests."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time and sleeping; injected, never imported."""

    def now_ms(self) -> int:
        """Return wall time in milliseconds since the Unix epoch."""

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean something."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until a test advances it; sleepers wake in the order of their deadlines."""

    def __init__(self, *, now_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = now_ms
        self._elapsed_s = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return self._start_ms + round(self._elapsed_s * 1000)

    def monotonic_s(self) -> float:
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed_s + seconds, future))
        await future

    def step_wall(self, by_ms: int) -> None:
        """Set the wall clock forward or back, as a time service does; the monotonic one takes no notice."""
        self._start_ms += by_ms

    async def advance(self, seconds: float) -> None:
        """Move time forward, waking each sleeper at its own deadline and letting it run before the next."""
        end = self._elapsed_s + seconds
        while True:
            await asyncio.sleep(0)
            self._sleepers = [(due, f) for due, f in self._sleepers if not f.done()]
            ready = min((s for s in self._sleepers if s[0] <= end), key=lambda s: s[0], default=None)
            if ready is None:
                break
            self._elapsed_s = max(self._elapsed_s, ready[0])
            ready[1].set_result(None)
            for _ in range(5):
                await asyncio.sleep(0)
        self._elapsed_s = end
