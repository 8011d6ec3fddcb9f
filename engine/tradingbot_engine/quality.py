"""Recent fills and the pools' depth, as the risk desk looks at them: is execution still as good as strategies assume?"""

from __future__ import annotations

from tradingbot_engine.book import Book
from tradingbot_engine.core.risk.quality import TradeQuality, faults_of
from tradingbot_engine.domain.portfolio import PositionState
from tradingbot_engine.domain.signals import Side
from tradingbot_engine.domain.units import IntentId, QuoteUnits
from tradingbot_engine.ledger.port import FillRow, Ledger
from tradingbot_engine.market.port import Feed
from tradingbot_engine.tally import Tally

RECENT = 50
"""Fills looked at."""
FAILURE = TradeQuality(latency_ms=None, slippage_bps=None, failed=True)


class Quality:
    """
    Says what is wrong with execution, in words.

    Depth at entry is what the feed showed when this process first saw the position open: after a restart it is measured
    from then on.
    """

    def __init__(self, *, ledger: Ledger, book: Book, feed: Feed, tally: Tally) -> None:
        self._ledger, self._book, self._feed, self._tally = ledger, book, feed, tally
        self._depth_at_entry: dict[IntentId, QuoteUnits] = {}

    async def faults(self) -> tuple[str, ...]:
        """Return every fault of the recent trades and of the open positions' pools; empty if there is none."""
        rows = await self._ledger.fills(limit=RECENT)
        failures = [FAILURE] * sum(self._tally.landed)  # a failure has no fill, only a fee
        return faults_of([*failures, *(quality_of(row) for row in reversed(rows))], self._depths())

    def _depths(self) -> dict[str, tuple[QuoteUnits, QuoteUnits]]:
        tokens = self._feed.health().tokens
        open_now = {p.id: p for p in self._book.positions.values() if p.state is PositionState.OPEN}
        self._depth_at_entry = {i: depth for i, depth in self._depth_at_entry.items() if i in open_now}
        depths: dict[str, tuple[QuoteUnits, QuoteUnits]] = {}
        for position in open_now.values():
            view = tokens.get(position.mint)
            if view is not None and view.quote_reserve is not None:
                at_entry = self._depth_at_entry.setdefault(position.id, view.quote_reserve)
                depths[position.mint] = (max(at_entry, depths.get(position.mint, (0, 0))[0]), view.quote_reserve)
        return depths


def quality_of(row: FillRow) -> TradeQuality:
    """Return how one trade went, from its fill."""
    got = got_of(row)
    slippage_bps = (row.quoted_out - got) * 10_000 / row.quoted_out if got > 0 and row.quoted_out > 0 else None
    return TradeQuality(latency_ms=row.signed_at_ms - row.created_at_ms, slippage_bps=slippage_bps, failed=False)


def got_of(row: FillRow) -> int:
    """Return what the trade brought, in base units of the token it bought or of the quote currency."""
    return row.fill.base_delta if row.fill.side is Side.BUY else row.fill.quote_delta


def slippage_bps(row: FillRow) -> int | None:
    """Return what the fill was worse than the quote, in whole basis points; None if nothing was filled."""
    value = quality_of(row).slippage_bps
    return None if value is None else round(value)
