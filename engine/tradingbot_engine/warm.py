"""
Bars that the core lacks: from the ledger first, the rest from the feed's history API; again after the feed was away.

History only fills the past of bars; a strategy decides on what closes live.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from tradingbot_engine.domain.events import BAR_MS, HistoryLoaded
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import Mint
from tradingbot_engine.errors import TemporaryError
from tradingbot_engine.ledger.port import Ledger
from tradingbot_engine.market.port import Feed
from tradingbot_engine.upkeep import BarKeeper

_log = structlog.get_logger(__name__)

HISTORY_MS = 25 * 3600 * 1000
"""How far back strategies look at most, in event time."""

JOIN_MS = 2 * BAR_MS


async def kept_bars(ledger: Ledger, tokens: Sequence[Token]) -> list[HistoryLoaded]:
    """Return what the ledger kept of each token; the ledger itself drops what is older than 25 h."""
    return [HistoryLoaded(t.mint, tuple(await ledger.bars(t.mint, since_ms=0))) for t in tokens]


class HistoryFiller:
    """
    Asks the feed's history for each token at the start, and again whenever the feed comes back after being stale.

    Each time it asks once more two minutes (of event time) later: the minute in which the feed joined was whole in neither
    the live bars nor the history of that moment, and a hole would keep strategies from deciding for an hour.
    """

    def __init__(
        self, *, feed: Feed, tokens: Sequence[Token], bars: BarKeeper, emit: Callable[[HistoryLoaded], None]
    ) -> None:
        self._feed, self._bars, self._emit = feed, bars, emit
        self._missing: set[Mint] = {t.mint for t in tokens}
        self._all: frozenset[Mint] = frozenset(self._missing)
        self._stale_at_ms: int | None = None
        self._again_at_ms: int | None = None

    @property
    def missing(self) -> frozenset[Mint]:
        """Tokens whose history has not been filled yet."""
        return frozenset(self._missing)

    async def fill(self) -> None:
        """Fill what is missing now; a token whose history cannot be had yet is tried again at the next call."""
        health = self._feed.health()
        if health.stale:
            self._stale_at_ms = self._stale_at_ms or health.event_time_ms
            return
        if self._stale_at_ms is not None and health.event_time_ms - self._stale_at_ms > BAR_MS:
            self._missing |= self._all
        self._stale_at_ms = None
        if self._again_at_ms is not None and health.event_time_ms >= self._again_at_ms:
            self._again_at_ms = None
            self._missing |= self._all
        elif self._missing:
            self._again_at_ms = health.event_time_ms + JOIN_MS
        problem: TemporaryError | None = None
        for mint in sorted(self._missing):
            try:
                bars = await self._feed.history(mint, since_ms=health.event_time_ms - HISTORY_MS)
            except TemporaryError as error:
                problem = error
                continue
            closed = tuple(b for b in bars if b.start_ms + BAR_MS <= health.event_time_ms)
            self._emit(HistoryLoaded(mint, closed))
            for bar in closed:
                self._bars.keep(mint, bar)
            self._missing.discard(mint)
            _log.info("history loaded", mint=mint, bars=len(closed))
        if problem is not None:
            raise problem
