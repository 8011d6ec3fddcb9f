"""The 25 h that localnet has behind it when it is born: bars as the traders would have made them."""

from __future__ import annotations

from tradingbot_engine.domain.events import BAR_MS, Bar
from tradingbot_engine.domain.units import QuoteUnits, UnixMs
from tradingbot_engine.localnet.market import amm
from tradingbot_engine.localnet.market.history import KEPT_MS, Sample, extend
from tradingbot_engine.localnet.market.traders import Crowd
from tradingbot_engine.localnet.market.world import Pool

STEPS_PER_MINUTE = 2
"""At most so many slots are imagined per minute. Traffic is a rate per minute of market time, so fewer give the same volume."""


def born_bars(crowd: Crowd, *, origin_ms: UnixMs, slot_ms: float) -> list[list[Bar]]:
    """
    Return, for each pool of the world, the bars of the 25 h before `origin_ms`, oldest first; they end at the opening price.

    They follow the same paths and moods as live trading, and volume is measured alike: the quote vault's change per slot.
    """
    turns = crowd.slots_per_turn
    step_ms = max(slot_ms * turns, BAR_MS / STEPS_PER_MINUTE)
    steps = int(KEPT_MS // step_ms)
    growing = [_Growing(pool) for pool in crowd.world.pools]
    for step in range(-steps, 0):
        minutes = step * step_ms / 60_000
        usd = crowd.usd(minutes)
        at_ms = origin_ms + int(step * step_ms)
        for one in growing:
            pool = one.pool
            mood = crowd.paths[pool.base.mint].mood(minutes)
            wobble = crowd.wobble(pool, mood, step * turns, step_ms / 60_000)
            ratio = pool.price_ratio(usd[pool.base.mint], usd[pool.quote.mint])
            goal = int(amm.quote_reserve_at(ratio, pool.opening_base, pool.opening_quote) * (1 + wobble))
            one.step(step, at_ms, goal, tolerance=mood.tolerance / 2)
    return [one.bars() for one in growing]


class _Growing:
    """One pool's bars in the making."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._constant = pool.opening_base * pool.opening_quote
        self._before = 0
        self._closed: list[Bar] = []
        self._open: Bar | None = None

    def step(self, step: int, at_ms: UnixMs, goal: QuoteUnits, *, tolerance: float) -> None:
        if self._before and abs(goal / self._before - 1) < tolerance:
            goal = self._before
        price = amm.price(max(1, self._constant // goal), goal, self.pool.base.decimals, self.pool.quote.decimals)
        volume = abs(goal - self._before) if self._before else 0
        closed, self._open = extend(self._open, Sample(step, at_ms, price, goal, volume))
        self._closed += closed
        self._before = goal

    def bars(self) -> list[Bar]:
        return [*self._closed, self._open] if self._open else self._closed
