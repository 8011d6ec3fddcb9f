"""A strategy that trades all the time, for chaos runs only: the product does not offer it."""

from __future__ import annotations

from collections.abc import Mapping

from tradingbot_engine.core.strategies.base import (
    Entry,
    Exit,
    Levels,
    MarketView,
    Parameter,
    Strategy,
    Value,
)
from tradingbot_engine.domain.events import BAR_MS
from tradingbot_engine.domain.portfolio import Position
from tradingbot_engine.domain.signals import Priority


class Metronome(Strategy):
    """Buys at every bar's close at which it holds nothing, and sells after so many bars, whatever the market does."""

    name = "metronome"
    version = 1
    description = "Enters and leaves in a fixed beat."
    feeds = ("closes_1m",)
    warm_up_minutes = 1
    parameters = (Parameter("holdBars", "integer", 1, 1, 60, "bars", "Sells after so many closed bars."),)

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._hold_ms = int(values["holdBars"]) * BAR_MS

    def on_bar(self, market: MarketView) -> Entry:
        return Entry("Beat")

    def on_bar_held(self, market: MarketView, position: Position) -> Exit | None:
        held_ms = market.last_ms + BAR_MS - position.opened_at_ms
        return Exit("Beat", Priority.NORMAL) if held_ms >= self._hold_ms else None

    def levels(self, position: Position) -> Levels:
        return Levels(deadline_ms=position.opened_at_ms + self._hold_ms)
