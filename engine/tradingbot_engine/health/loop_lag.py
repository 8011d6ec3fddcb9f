"""How late the event loop wakes, and whether the wall clock jumps: the plainest signs of a machine in trouble."""

from __future__ import annotations

from collections import deque

from tradingbot_engine.clock import Clock

BEAT_S = 0.1
REMEMBERED_BEATS = 100
"""Ten seconds of wake-ups."""
STEP_MS = 100.0
"""The wall clock is slewed all the time; a difference of this much between two beats is a jump."""
JUMP_REMEMBERED_S = 60.0


class LoopLag:
    """Sleeps in short beats, remembers how late each ended and how far the wall clock strayed from the monotonic one."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._late_ms: deque[float] = deque(maxlen=REMEMBERED_BEATS)
        self._jumps: deque[tuple[float, float]] = deque(maxlen=REMEMBERED_BEATS)
        self._offset_ms = self._wall_over_monotonic_ms()

    @property
    def worst_ms(self) -> float:
        """The latest wake-up of the last ten seconds, in milliseconds."""
        return max(self._late_ms, default=0.0)

    @property
    def clock_step_ms(self) -> float:
        """The largest jump of the wall clock in the last minute, in milliseconds: positive is forward; 0 without one."""
        since_s = self._clock.monotonic_s() - JUMP_REMEMBERED_S
        return max((step for at_s, step in self._jumps if at_s >= since_s), key=abs, default=0.0)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            began_s = self._clock.monotonic_s()
            await self._clock.sleep(BEAT_S)
            self.beat(late_s=self._clock.monotonic_s() - began_s - BEAT_S)

    def beat(self, *, late_s: float) -> None:
        """Take note of one wake-up."""
        self._late_ms.append(max(0.0, late_s * 1000))
        offset_ms = self._wall_over_monotonic_ms()
        step_ms, self._offset_ms = offset_ms - self._offset_ms, offset_ms
        if abs(step_ms) >= STEP_MS:
            self._jumps.append((self._clock.monotonic_s(), step_ms))

    def _wall_over_monotonic_ms(self) -> float:
        return self._clock.now_ms() - self._clock.monotonic_s() * 1000
