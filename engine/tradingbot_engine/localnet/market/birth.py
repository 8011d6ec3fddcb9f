"""The 25 h that a market has behind it when it is born: bars as the traders would have made them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isqrt

from tradingbot_engine.domain.events import BAR_MS, Bar
from tradingbot_engine.domain.units import BaseUnits, QuoteUnits, UnixMs
from tradingbot_engine.localnet.market import amm
from tradingbot_engine.localnet.market.history import KEPT_MS, Sample, extend
from tradingbot_engine.localnet.market.scenario import Path
from tradingbot_engine.localnet.market.traders import RUG_SHARE, Crowd
from tradingbot_engine.localnet.market.world import Pool

STEPS_PER_MINUTE = 2
"""At most so many slots are imagined per minute. Traffic is a rate per minute of market time, so fewer give the same volume."""


def born_bars(
    crowd: Crowd, pools: Sequence[Pool], *, origin_ms: UnixMs, until_ms: UnixMs, slot_ms: float
) -> list[list[Bar]]:
    """
    Return, for each of `pools`, the bars of the 25 h before `until_ms`, oldest first.

    They follow the same paths and moods as live trading, and volume is measured alike: the quote vault's change per slot.
    The moments that they are made of are counted from the opening of the market, so that a token has the same past
    whenever it is listed.
    """
    turns = crowd.slots_per_turn
    step_ms = max(slot_ms * turns, BAR_MS / STEPS_PER_MINUTE)
    first, end = ceil((until_ms - KEPT_MS - origin_ms) / step_ms), ceil((until_ms - origin_ms) / step_ms)
    growing = [_Growing(pool) for pool in pools]
    for step in range(first, end):
        minutes = step * step_ms / 60_000
        usd = crowd.usd(minutes)
        at_ms = origin_ms + int(step * step_ms)
        for one in growing:
            pool = one.pool
            path = crowd.paths[pool.base.mint]
            mood = path.mood(minutes)
            one.hold(liquidity(path, minutes))
            wobble = crowd.wobble(pool, mood, step * turns, step_ms / 60_000)
            ratio = pool.price_ratio(usd[pool.base.mint], usd[pool.quote.mint])
            one.step(step, at_ms, int(int(one.root * ratio**0.5) * (1 + wobble)), tolerance=mood.tolerance / 2)
    return [one.bars() for one in growing]


def reserves_at(crowd: Crowd, pool: Pool, minutes: float) -> tuple[BaseUnits, QuoteUnits]:
    """Return what the vaults of a pool hold that opens so many minutes after the market: its price is what its path says."""
    usd, share = crowd.usd(minutes), liquidity(crowd.paths[pool.base.mint], minutes)
    base, quote = round(pool.opening_base * share), round(pool.opening_quote * share)
    ratio = pool.price_ratio(usd[pool.base.mint], usd[pool.quote.mint])
    now_quote = amm.quote_reserve_at(ratio, base, quote)
    return base * quote // now_quote, now_quote


def liquidity(path: Path, minutes: float) -> float:
    """Return the share of the opening liquidity that is left: the creator may have taken the rest."""
    rug_minute = path.rug_minute()
    return 1.0 if rug_minute is None or minutes < rug_minute else 1.0 - RUG_SHARE


class _Growing:
    """One pool's bars in the making; the minute in hand as plain numbers, since there are tens of thousands of steps."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._share = 0.0
        self._constant = self.root = 0
        self.hold(1.0)
        self._scale = 10.0 ** (pool.base.decimals - pool.quote.decimals)
        self._before = 0
        self._closed: list[Bar] = []
        self._start_ms: UnixMs | None = None
        self._first = self._high = self._low = self._last = 0.0
        self._volume = 0

    def hold(self, share: float) -> None:
        """Go on with this share of the opening liquidity."""
        if share != self._share:
            self._share = share
            self._constant = round(self.pool.opening_base * share) * round(self.pool.opening_quote * share)
            self.root = isqrt(self._constant)

    def step(self, step: int, at_ms: UnixMs, goal: QuoteUnits, *, tolerance: float) -> None:
        before = self._before
        if before and abs(goal / before - 1) < tolerance:
            goal = before
        price = goal / max(1, self._constant // goal) * self._scale  # as `amm.price`
        volume = abs(goal - before) if before else 0
        start_ms = at_ms - at_ms % BAR_MS
        if start_ms == self._start_ms:
            if price > self._high:
                self._high = price
            if price < self._low:
                self._low = price
            self._last = price
            self._volume += volume
        else:
            if self._start_ms is not None:
                closed, _ = extend(self._bar(), Sample(step, at_ms, price, goal, volume))
                self._closed += closed
            self._start_ms = start_ms
            self._first = self._high = self._low = self._last = price
            self._volume = volume
        self._before = goal

    def _bar(self) -> Bar:
        start_ms = self._start_ms or 0
        return Bar(start_ms, self._first, self._high, self._low, self._last, self._volume, self._before)

    def bars(self) -> list[Bar]:
        return [*self._closed, self._bar()] if self._start_ms is not None else self._closed
