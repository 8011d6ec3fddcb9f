"""
Closed one-minute bars from an OHLCV API in GeckoTerminal's shape.

Prices are asked with `currency=token`, so that they are in the quote currency; the volume is then in whole units of the
quote currency as well, and becomes quote base units by its decimals. Minutes without a trade are left out by the provider
(its documentation says so): they become flat bars without volume. The provider does not tell what the pool held, so
`quote_reserve` is estimated: while nobody adds or withdraws liquidity x·y=k holds, and the quote reserve moves with the
square root of the price. Liquidity that came or went before the bot was born cannot be seen in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import aiohttp

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.events import BAR_MS, Bar
from tradingbot_engine.domain.units import Address, QuoteUnits, UnixMs
from tradingbot_engine.errors import TemporaryError
from tradingbot_engine.market.normalise import Candle, Malformed, candles
from tradingbot_engine.market.provider import ProviderUnavailable, get_json

PAGE_ROWS = 1000
MAX_PAGES = 8
"""25 h are 1,500 minutes, two pages; more would mean that the provider does not page."""
PAGE_TRIES = 4
PAGE_PAUSE_S = 0.5


class HistoryUnavailable(TemporaryError):
    """The provider has no usable answer now: try again."""


@dataclass(frozen=True, slots=True)
class PoolNow:
    """What turns candles into bars: the pool, its quote currency's decimals, and its present price and depth."""

    pool: Address
    quote_decimals: int
    price: float
    quote_reserve: QuoteUnits


class HistoryClient:
    """One provider; pages backwards until the wanted time is covered."""

    def __init__(self, base_url: str, *, clock: Clock, timeout_s: float = 5.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._timeout_s = timeout_s
        self.dirty_rows = 0
        """Rows that were left out because they were not open, high, low, close and volume of a minute."""

    async def bars(
        self, session: aiohttp.ClientSession, pool: PoolNow, *, since_ms: UnixMs, until_ms: UnixMs
    ) -> tuple[Bar, ...]:
        """
        Return the bars that begin at or after `since_ms` and end at or before `until_ms`, oldest first, without holes.

        Shorter than asked for where the provider's own history begins later.

        Raises:
            HistoryUnavailable: The provider failed several times, or does not page.
        """
        rows: dict[int, Candle] = {}
        before_s: int | None = None
        for _ in range(MAX_PAGES):
            page = await self._page(session, pool.pool, before_s)
            fresh = [row for row in page if row.start_s not in rows]
            rows.update((row.start_s, row) for row in fresh)
            if not fresh or page[0].start_s * 1000 <= since_ms:
                break
            before_s = page[0].start_s
        else:
            raise HistoryUnavailable(f"history: {MAX_PAGES} pages do not reach back far enough")
        return to_bars([rows[start] for start in sorted(rows)], pool, since_ms=since_ms, until_ms=until_ms)

    async def _page(self, session: aiohttp.ClientSession, pool: Address, before_s: int | None) -> list[Candle]:
        params = {"aggregate": "1", "limit": str(PAGE_ROWS), "currency": "token", "token": "base"}
        if before_s is not None:
            params["before_timestamp"] = str(before_s)
        url = f"{self._base_url}/api/v2/networks/solana/pools/{pool}/ohlcv/minute"
        for attempt in range(1, PAGE_TRIES + 1):
            try:
                document: Any = await get_json(session, url, what="history", params=params, timeout_s=self._timeout_s)
                page, dirty = candles(document)
            except (ProviderUnavailable, Malformed) as error:
                if attempt == PAGE_TRIES:
                    raise HistoryUnavailable(str(error)) from error
                await self._clock.sleep(PAGE_PAUSE_S * 2 ** (attempt - 1))
                continue
            self.dirty_rows += dirty
            return page
        raise AssertionError("unreachable")


def to_bars(rows: Sequence[Candle], pool: PoolNow, *, since_ms: UnixMs, until_ms: UnixMs) -> tuple[Bar, ...]:
    """
    Turn candles, oldest first, into bars; pure.

    A minute that is missing between two candles, or after the last one until `until_ms`, had no trade.
    """
    unit = 10**pool.quote_decimals
    bars: list[Bar] = []
    for row in rows:
        start_ms = row.start_s * 1000
        if start_ms + BAR_MS > until_ms:
            break
        # What lies between the last bar and this one is filled only inside the window: it may be years.
        _fill_flat(bars, since_ms, start_ms)
        reserve = _depth(pool, row.close)
        bars.append(Bar(start_ms, row.open, row.high, row.low, row.close, round(row.volume * unit), reserve))
    _fill_flat(bars, since_ms, until_ms - until_ms % BAR_MS)
    return tuple(bar for bar in bars if bar.start_ms >= since_ms)


def _fill_flat(bars: list[Bar], since_ms: UnixMs, until_ms: UnixMs) -> None:
    if not bars:
        return
    last = bars[-1]
    first_ms = max(last.start_ms + BAR_MS, since_ms - since_ms % BAR_MS)
    price, depth = last.close, last.quote_reserve
    bars += [Bar(start_ms, price, price, price, price, 0, depth) for start_ms in range(first_ms, until_ms, BAR_MS)]


def _depth(pool: PoolNow, price: float) -> QuoteUnits:
    """Return the quote reserve that the pool's present depth would have had at `price`."""
    return round(pool.quote_reserve * sqrt(price / pool.price)) if pool.price > 0 else pool.quote_reserve
