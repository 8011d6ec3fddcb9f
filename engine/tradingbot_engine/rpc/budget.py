"""Extra requests, bounded over all calls: repetitions after faults, and hedges."""

from __future__ import annotations

from tradingbot_engine.rpc.limiter import TokenBucket

FLOOR_S = 10.0
"""A retry budget holds this many seconds of its floor."""
_NO_REFILL = 1e-9


class Budget:
    """Each call pays `share` in, each extra request takes one out; `per_second` comes in addition."""

    __slots__ = ("_bucket", "_share", "enabled")

    def __init__(self, *, share: float, burst: float, per_second: float = _NO_REFILL, enabled: bool = True) -> None:
        self.enabled = enabled
        self._share = share
        self._bucket = TokenBucket(per_second=per_second, burst=burst)

    def call(self) -> None:
        """Note that a call begins."""
        self._bucket.add(self._share)

    def spend(self, now_s: float) -> bool:
        """Take one extra request out; False if none is left."""
        return not self.enabled or self._bucket.take(now_s)
