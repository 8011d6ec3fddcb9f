"""One-minute bars of a pool, from what its vaults held at the end of each slot; slots that a fork takes back are forgotten."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from tradingbot_engine.domain.events import BAR_MS, Bar
from tradingbot_engine.domain.units import BaseUnits, QuoteUnits, Slot, UnixMs
from tradingbot_engine.localnet.market import amm

KEPT_MS = 25 * 3_600_000
"""How long bars are kept: what the slowest strategy needs to warm up."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A pool at the end of one slot; `volume` is what the quote vault changed by since the slot before."""

    slot: Slot
    at_ms: UnixMs
    price: float
    quote_reserve: QuoteUnits
    volume: QuoteUnits


def extend(bar: Bar | None, sample: Sample) -> tuple[list[Bar], Bar]:
    """
    Return (bars that `sample` closes, the bar that it belongs to).

    Minutes without any slot between them become flat bars without volume, so that a series has no holes.
    """
    start_ms = sample.at_ms - sample.at_ms % BAR_MS
    price = sample.price
    if bar is not None and start_ms <= bar.start_ms:
        high, low = max(bar.high, price), min(bar.low, price)
        grown = Bar(bar.start_ms, bar.open, high, low, price, bar.volume + sample.volume, sample.quote_reserve)
        return [], grown
    fresh = Bar(start_ms, price, price, price, price, sample.volume, sample.quote_reserve)
    if bar is None:
        return [], fresh
    gap = range(max(bar.start_ms + BAR_MS, start_ms - KEPT_MS), start_ms, BAR_MS)
    flat = [Bar(at, bar.close, bar.close, bar.close, bar.close, 0, bar.quote_reserve) for at in gap]
    return [bar, *flat], fresh


class History:
    """The last 25 h of one pool: finalized bars, and samples of slots that a fork may still take back."""

    def __init__(self, *, base_decimals: int, quote_decimals: int, born_with: Iterable[Bar]) -> None:
        self._decimals = base_decimals, quote_decimals
        self._closed = deque(born_with)
        self._open: Bar | None = self._closed.pop() if self._closed else None
        self._pending: deque[Sample] = deque()
        self._last_reserve = self._open.quote_reserve if self._open else None

    def observe(self, slot: Slot, at_ms: UnixMs, base_reserve: BaseUnits, quote_reserve: QuoteUnits) -> None:
        """Take what the vaults held at the end of `slot`; an earlier sample of that slot or a later one is of a dead fork."""
        while self._pending and self._pending[-1].slot >= slot:
            self._pending.pop()
        before = self._pending[-1].quote_reserve if self._pending else self._last_reserve
        if not base_reserve or not quote_reserve:
            return  # an emptied pool has no price
        price = amm.price(base_reserve, quote_reserve, *self._decimals)
        volume = abs(quote_reserve - before) if before is not None else 0
        self._pending.append(Sample(slot, at_ms, price, quote_reserve, volume))

    def forget(self, is_abandoned: Callable[[Slot], bool]) -> None:
        """Drop the samples of slots that a fork took back."""
        self._pending = deque(sample for sample in self._pending if not is_abandoned(sample.slot))

    def finalize(self, slot: Slot) -> list[Bar]:
        """Fold the samples up to `slot` into bars, and return the bars that this closed."""
        closed: list[Bar] = []
        while self._pending and self._pending[0].slot <= slot:
            sample = self._pending.popleft()
            self._last_reserve = sample.quote_reserve
            bars, self._open = extend(self._open, sample)
            closed += bars
        self._closed += closed
        horizon_ms = self._open.start_ms - KEPT_MS if self._open else 0
        while self._closed and self._closed[0].start_ms < horizon_ms:
            self._closed.popleft()
        return closed

    def bars(self) -> list[Bar]:
        """Return all bars, oldest first; the last one is still open."""
        newer: list[Bar] = []
        current = self._open
        for sample in self._pending:
            bars, current = extend(current, sample)
            newer += bars
        return list(chain(self._closed, newer, [current] if current else []))

    def latest(self) -> Sample | None:
        """Return the newest sample, if there was a slot since the start."""
        return self._pending[-1] if self._pending else None
