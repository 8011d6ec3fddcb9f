"""
What a strategy is: parameters with ranges, one question at each closed bar, and the levels at which a position is left.

A strategy sees closed bars and numbers, never events, clocks or the ledger. It keeps no state of its own: everything that
it answers follows from the bars and the position, so a restart changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import ClassVar, Literal, TypeAlias

from tradingbot_engine.core.bars import BarRing
from tradingbot_engine.domain.events import BAR_MS
from tradingbot_engine.domain.portfolio import Position
from tradingbot_engine.domain.signals import Priority
from tradingbot_engine.domain.units import QuoteUnits, UnixMs

Value: TypeAlias = float | int | bool
NEVER_MS: UnixMs = 2**63 - 1
SLACK = 1e-9
"""Relative slack of comparisons of returns: 1.05 / 1.00 is not exactly 5 % in binary."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number that a manifest may set: range inclusive, in `unit`."""

    name: str
    type: Literal["number", "integer", "boolean"]
    default: Value
    minimum: float | None
    maximum: float | None
    unit: str
    description: str

    def fault(self, value: object) -> str | None:
        """Return what would be right, or None if `value` is."""
        if self.type == "boolean":
            return None if isinstance(value, bool) else "must be true or false"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "must be a whole number" if self.type == "integer" else "must be a number"
        if self.type == "integer" and not isinstance(value, int):
            return "must be a whole number"
        if isinstance(value, float) and not isfinite(value):
            return "must be finite"
        unit = f" {self.unit}" if self.unit else ""
        if self.minimum is not None and value < self.minimum:
            return f"must be at least {self.minimum:g}{unit}"
        if self.maximum is not None and value > self.maximum:
            return f"must be at most {self.maximum:g}{unit}"
        return None


@dataclass(frozen=True, slots=True)
class MarketView:
    """What a strategy sees when a bar has closed."""

    bars: BarRing
    last_ms: UnixMs
    """Start of the bar that has just closed."""
    quote_usd: float | None
    """US dollars per whole unit of the quote currency; None while unknown."""
    quote_unit: int
    """Base units in one whole unit of the quote currency."""
    order_quote: QuoteUnits | None
    """Size of our own order, in quote base units; None while the capital is unknown."""

    def return_over(self, minutes: int) -> float | None:
        """Return close / close `minutes` bars before - 1; None if either is missing."""
        now, before = self.bars.close_at(self.last_ms), self.bars.close_at(self.last_ms - minutes * BAR_MS)
        return None if now is None or before is None else now / before - 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """Buy now; `reason` starts with a CamelCase word."""

    reason: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The strategy's own sign was there, but a condition beside it failed (or data is missing)."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Exit:
    """Sell the position now."""

    reason: str
    priority: Priority


@dataclass(frozen=True, slots=True)
class Levels:
    """When a position is left without further thought: price at or below `stop`, at or above `take`, time `deadline_ms`."""

    stop: float = 0.0
    take: float = inf
    deadline_ms: UnixMs = NEVER_MS


class Strategy(ABC):
    """One instance with its parameters; `version` goes up whenever the same market would give other signals."""

    name: ClassVar[str]
    version: ClassVar[int]
    description: ClassVar[str]
    feeds: ClassVar[tuple[str, ...]]
    parameters: ClassVar[tuple[Parameter, ...]]
    warm_up_minutes: ClassVar[int]
    """Minutes of history before the first signal."""
    cooldown_ms: UnixMs = 0
    """How long a token is left alone after a position in it was closed."""

    @abstractmethod
    def __init__(self, values: Mapping[str, Value]) -> None:
        """Take the checked values, one for each declared parameter."""

    @classmethod
    def conflicts(cls, values: Mapping[str, Value]) -> list[tuple[str, str]]:
        """Return (parameter, what would be right) for values that are in range but contradict each other."""
        return []

    @abstractmethod
    def on_bar(self, market: MarketView) -> Entry | Declined | None:
        """Answer whether to buy, at a bar's close while nothing is held."""

    def on_bar_held(self, market: MarketView, position: Position) -> Exit | None:
        """Answer whether to sell, at a bar's close while `position` is held."""
        return None

    @abstractmethod
    def levels(self, position: Position) -> Levels:
        """Return the levels that hold for `position` from its opening to its end."""

    def on_tick(self, levels: Levels, price: float) -> Exit | None:
        """Answer whether `price` reached a level; losses are cut before profits are taken."""
        if price <= levels.stop:
            return Exit("StopLoss", Priority.CRITICAL)
        if price >= levels.take:
            return Exit("TakeProfit", Priority.HIGH)
        return None

    def on_clock(self, levels: Levels, at_ms: UnixMs) -> Exit | None:
        """Answer whether the time is up."""
        return Exit("TimeUp", Priority.HIGH) if at_ms >= levels.deadline_ms else None


def percent_levels(position: Position, *, take_profit: float = inf, stop_loss: float, hold_ms: UnixMs) -> Levels:
    """
    Return levels as fractions of the entry price.

    Args:
        position: Its `entry_price` in quote per token; if it is not known (not positive and finite) only time counts.
        take_profit: Gain at which to sell: 0.1 means +10 %.
        stop_loss: Loss at which to sell: 0.05 means -5 %.
        hold_ms: How long to hold at most, in event time.
    """
    deadline_ms = position.opened_at_ms + hold_ms
    price = position.entry_price
    if not 0.0 < price < inf:
        return Levels(deadline_ms=deadline_ms)
    return Levels(price * (1.0 - stop_loss) * (1.0 + SLACK), price * (1.0 + take_profit) * (1.0 - SLACK), deadline_ms)
