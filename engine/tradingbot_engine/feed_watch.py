"""Watches over the market feed as a whole: is there any token with a fresh price?"""

from __future__ import annotations

from collections.abc import Callable

from tradingbot_engine.clock import Clock
from tradingbot_engine.lifecycle import NO_ENDPOINT, STALE_MARKET_DATA, Lifecycle, Phase
from tradingbot_engine.market.port import FeedHealth

TELL_AFTER_S = 3.0
"""A shorter gap stops entries as well, token by token; it is over before a person could look."""


class FeedWatch:
    """
    Tells why nothing is bought while no token has a fresh price: `StaleMarketData`.

    Each token's own staleness stops its entries on the trade path, at once; this is for people. While no RPC node may be asked
    that is the reason, and this one follows from it.

    Args of the constructor:
        health: What the feed says of itself.
    """

    def __init__(self, *, health: Callable[[], FeedHealth], lifecycle: Lifecycle, clock: Clock) -> None:
        self._health, self._lifecycle, self._clock = health, lifecycle, clock
        self._since_s: float | None = None

    async def look(self) -> None:
        """Read what is known of the feed, and tell; half a second apart."""
        health, now_s = self._health(), self._clock.monotonic_s()
        expected = self._lifecycle.phase is Phase.READY and not self._lifecycle.has(NO_ENDPOINT)
        if not (health.tokens and health.stale and expected):
            self._since_s = None
            self._lifecycle.clear(STALE_MARKET_DATA)
            return
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s >= TELL_AFTER_S:
            kinds = sorted({token.problem.partition(":")[0] for token in health.tokens.values()})
            self._lifecycle.tell(STALE_MARKET_DATA, f"no token has a fresh price, none is bought ({', '.join(kinds)})")
