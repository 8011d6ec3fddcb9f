"""A rate limit as a token bucket: bursts up to its size, then its rate."""

from __future__ import annotations


class TokenBucket:
    """
    Tokens that come back at `per_second`, at most `burst` of them at once; full in the beginning.

    Reads no clock: every method is told the time, monotonic seconds. A time that goes back adds nothing.
    """

    __slots__ = ("_at_s", "_burst", "_per_second", "_tokens")

    def __init__(self, *, per_second: float, burst: float, now_s: float = 0.0) -> None:
        if per_second <= 0:
            raise ValueError("per_second must be above 0")
        self._per_second = per_second
        self._burst = max(1.0, burst)
        self._tokens = self._burst
        self._at_s = now_s

    def wait_s(self, now_s: float, *, ahead: int = 0) -> float:
        """Return how long until a token is there for one who comes after `ahead` others; 0 if it is there now."""
        self._refill(now_s)
        missing = 1.0 + ahead - self._tokens
        return missing / self._per_second if missing > 0 else 0.0

    def take(self, now_s: float, count: float = 1.0) -> bool:
        """Take `count` tokens if they are all there."""
        self._refill(now_s)
        if self._tokens < count:
            return False
        self._tokens -= count
        return True

    def add(self, tokens: float) -> None:
        """Put tokens in beside those that come with time; what is above the burst is lost."""
        self._tokens = min(self._burst, self._tokens + tokens)

    def _refill(self, now_s: float) -> None:
        if now_s > self._at_s:
            if self._tokens < self._burst:
                # A wait computed from these tokens must be enough once it is over, whatever the sum's last bit says.
                tokens = self._tokens + (now_s - self._at_s) * self._per_second + 1e-9
                self._tokens = tokens if tokens < self._burst else self._burst
            self._at_s = now_s
