"""
How much of an engine's capacity is in use, as the autoscaler sees it; pure.

Each second's share is the worst of three: depth over size, oldest wait over deadline, busy workers over all workers. The
measure is the mean of these over 15 seconds. A mean, since workers are busy or not from one moment to the next, and the
maximum of a window would call an engine full for 15 s after one lively moment; the worst of the three within a second,
since a backlog that came and went in it was there. The busy share rises with the load itself, long before a queue does: at
60 % busy hardly anybody waits, which is what leaves time for another pod to start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

WINDOW_S = 15.0
BUCKETS = 15
_BUCKET_S = WINDOW_S / BUCKETS


class Utilization:
    """
    The smoothed measure, in [0, 1].

    Args:
        workers: How many there are, >= 1.
        backlog: The larger of depth / size and oldest wait / deadline now.
        now: Monotonic seconds.
    """

    def __init__(self, *, workers: int, backlog: Callable[[], float], now: Callable[[], float]) -> None:
        self._workers, self._backlog, self._now = workers, backlog, now
        self._busy = 0
        self._at_s = self._bucket_from_s = now()
        self._busy_s = 0.0
        """Worker seconds of the second under way."""
        self._peak = 0.0
        self._shares: deque[float] = deque(maxlen=BUCKETS)

    def busy(self, change: int) -> None:
        """So many more workers are busy (negative: fewer)."""
        now = self._now()
        if now < self._bucket_from_s + _BUCKET_S:
            # The backlog is looked at once a second and when asked: here it would cost more than the work.
            self._busy_s += self._busy * (now - self._at_s)
            self._at_s = now
        else:
            self._pass_time()
        self._busy += change

    def value(self) -> float:
        """Return the mean over the last 15 seconds, or since the start if that is less."""
        self._pass_time()
        self._peak = max(self._peak, self._backlog())
        elapsed_s = self._at_s - self._bucket_from_s
        total, seconds = sum(self._shares) * _BUCKET_S, len(self._shares) * _BUCKET_S
        if elapsed_s > 0:
            total += self._share(elapsed_s) * elapsed_s
            seconds += elapsed_s
        return total / seconds if seconds else self._share(0.0)

    def _pass_time(self) -> None:
        now = self._now()
        if now - self._at_s > 2 * WINDOW_S:  # nobody looked for long: what was then does not matter any more
            self._shares.clear()
            self._at_s = self._bucket_from_s = now - WINDOW_S
            self._busy_s = self._peak = 0.0
        while (end_s := self._bucket_from_s + _BUCKET_S) <= now:
            self._busy_s += self._busy * (end_s - self._at_s)
            self._peak = max(self._peak, self._backlog())
            self._shares.append(self._share(_BUCKET_S))
            self._at_s = self._bucket_from_s = end_s
            self._busy_s = self._peak = 0.0
        self._busy_s += self._busy * (now - self._at_s)
        self._at_s = now

    def _share(self, seconds: float) -> float:
        busy = self._busy_s / (self._workers * seconds) if seconds else self._busy / self._workers
        return min(1.0, max(self._peak, busy))
