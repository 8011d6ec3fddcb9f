"""Extra requests, bounded over all calls: repetitions after faults, and hedges."""

from __future__ import annotations

from tradingbot_engine.rpc.limiter import TokenBucket

FLOOR_S = 10.0
"""A retry budget holds this many seconds of its floor."""
_NO_REFILL = 1e-9


class Budget:
    """Each call pays `share` in, each extra request takes one out; `per_second` comes in addition."""

    __slots__ = ("_bucket", "_share", "_unpaid", "enabled")

    def __init__(self, *, share: float, burst: float, per_second: float = _NO_REFILL, enabled: bool = True) -> None:
        self.enabled = enabled
        self._share = share
        self._bucket = TokenBucket(per_second=per_second, burst=burst)
        self._unpaid = 0
        """Calls whose share is not in yet: nothing is taken out in between, so that one sum is as good as many."""

    def call(self) -> None:
        """Note that a call begins."""
        self._unpaid += 1

    def spend(self, now_s: float) -> bool:
        """Take one extra request out; False if none is left."""
        self._bucket.add(self._share * self._unpaid)
        self._unpaid = 0
        return not self.enabled or self._bucket.take(now_s)
