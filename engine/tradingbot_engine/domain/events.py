"""What the market and the clock tell the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tradingbot_engine.domain.portfolio import Position, RiskState
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.domain.units import Mint, QuoteUnits, Slot, UnixMs

BAR_MS = 60_000
"""Length of a bar: one minute of event time."""


@dataclass(frozen=True, slots=True)
class PriceTick:
    """
    The pool's price after the last write of one slot.

    `price` is quote per token in whole units (for example SOL per BONK); `quote_reserve` and `volume` (what the quote
    vault changed by since the last tick) are in quote base units; `at_ms` is event time.
    """

    mint: Mint
    slot: Slot
    at_ms: UnixMs
    price: float
    quote_reserve: QuoteUnits
    volume: QuoteUnits


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed minute of event time: prices as in `PriceTick`, `volume` and `quote_reserve` (at close) in quote base units."""

    start_ms: UnixMs
    open: float
    high: float
    low: float
    close: float
    volume: QuoteUnits
    quote_reserve: QuoteUnits


@dataclass(frozen=True, slots=True)
class HistoryLoaded:
    """Closed bars from the ledger or a history API, oldest first; merged with what is known, never replacing a live bar."""

    mint: Mint
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class ClockTick:
    """Event time passed, with or without trades; time exits and bar closes fire from it."""

    at_ms: UnixMs


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """The feed went stale or came back; staleness is judged outside, by the monotonic clock. `mint` None means all tokens."""

    at_ms: UnixMs
    stale: bool
    mint: Mint | None = None


@dataclass(frozen=True, slots=True)
class QuoteInUsd:
    """Value of one whole unit of the quote currency in US dollars, for thresholds that are stated in dollars."""

    at_ms: UnixMs
    usd: float


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """
    What the chain says of a token beside its price, for the screen; None where it is not known.

    `supply` is in whole tokens; `top_share` is the share of it, 0 to 1, that the ten largest holders own together without
    pools; `seen_ms` is an event time at which the token existed already, its birth if `seen_is_birth`.
    """

    mint: Mint
    supply: float | None
    top_share: float | None
    seen_ms: UnixMs | None
    seen_is_birth: bool = False


MarketEvent: TypeAlias = PriceTick | HistoryLoaded | ClockTick | FeedStatus | QuoteInUsd | TokenFacts


@dataclass(frozen=True, slots=True)
class PositionChanged:
    """The ledger's position moved (opened, filled, exit under way, closed); the core's copy is replaced by it."""

    position: Position


@dataclass(frozen=True, slots=True)
class SignalSettled:
    """
    A signal met its end: `taken` False means refused, abandoned or failed, so that the strategy may ask again.

    For an entry that was taken, `PositionChanged` has told of the position before.
    """

    strategy: str
    mint: Mint
    purpose: Purpose
    taken: bool


@dataclass(frozen=True, slots=True)
class RiskChanged:
    """The bot's risk row moved; EMERGENCY asks for the close of every position."""

    at_ms: UnixMs
    """Event time."""
    risk: RiskState


@dataclass(frozen=True, slots=True)
class CloseOutChanged:
    """The bot was told to sell all that it holds and to open nothing any more, or that it may trade again."""

    at_ms: UnixMs
    """Event time."""
    since_ms: UnixMs
    """Wall time of the wish, as the ledger keeps it; 0: there is none (any more)."""


BookEvent: TypeAlias = PositionChanged | SignalSettled | RiskChanged | CloseOutChanged
"""What the ledger tells the core."""

Event: TypeAlias = MarketEvent | BookEvent
