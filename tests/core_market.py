"""A small market for tests of the core: recordings, ticks, positions, and a driver that keeps what `decide` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tradingbot_engine.core.decide import decide
from tradingbot_engine.core.state import CoreState, StrategyConfig
from tradingbot_engine.domain.effects import Effect, EmitSignal, NoteRefusal, SaveBar
from tradingbot_engine.domain.events import (
    BAR_MS,
    Bar,
    ClockTick,
    Event,
    FeedStatus,
    HistoryLoaded,
    PositionChanged,
    PriceTick,
    QuoteInUsd,
    RiskChanged,
)
from tradingbot_engine.domain.portfolio import Position, PositionState, RiskState, Tier
from tradingbot_engine.domain.signals import Signal
from tradingbot_engine.domain.tokens import Token

MINT = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB8YaB1pPB263"
TOKEN = Token(MINT, "BONK", 5)
SOL = 1_000_000_000
START_MS = 1_750_000_000_000 // BAR_MS * BAR_MS
RECORDINGS = Path(__file__).parent / "data" / "strategies"
MOMENTUM = StrategyConfig("momentum", "momentum_5m")
REVERSION = StrategyConfig("reversion", "mean_revert_1h")


def risk_row(capital: int = 10 * SOL, **changes: object) -> RiskState:
    """A bot that has neither won nor lost anything."""
    row = RiskState(
        capital=capital, equity_start=capital, equity=capital, peak=capital, day="2025-06-15", day_start=capital
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def position(
    *,
    id_: str = "p1",
    strategy: str = "momentum",
    entry_price: float = 1.0,
    opened_at_ms: int = START_MS,
    **changes: object,
) -> Position:
    """An open position of 1,000 base units."""
    made = Position(
        id=id_,
        strategy=strategy,
        mint=MINT,
        state=PositionState.OPEN,
        bought=1000,
        sold=0,
        cost=SOL,
        proceeds=0,
        opened_at_ms=opened_at_ms,
        entry_price=entry_price,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


class Market:
    """One core and what it asked for, in order."""

    def __init__(self, *strategies: StrategyConfig, tokens: Sequence[Token] = (TOKEN,)) -> None:
        self.state = CoreState.create(tokens, strategies or (MOMENTUM, REVERSION))
        self.effects: list[Effect] = []

    def play(self, events: Iterable[Event]) -> Market:
        for event in events:
            self.effects += decide(self.state, event)
        return self

    def tell(self, event: Event) -> list[Effect]:
        """Return the effects of this one event."""
        effects = decide(self.state, event)
        self.effects += effects
        return effects

    def ready(self, capital: int = 10 * SOL) -> Market:
        """Tell capital and the quote's value, as an engine does at its start."""
        return self.play([QuoteInUsd(START_MS, 150.0), RiskChanged(START_MS, risk_row(capital))])

    def hold(self, **changes: object) -> Market:
        return self.play([PositionChanged(position(**changes))])  # type: ignore[arg-type]

    @property
    def signals(self) -> list[Signal]:
        return signals_of(self.effects)

    @property
    def refusals(self) -> list[str]:
        return [e.reason for e in self.effects if isinstance(e, NoteRefusal)]

    @property
    def bars(self) -> list[Bar]:
        return [e.bar for e in self.effects if isinstance(e, SaveBar)]


def signals_of(effects: Iterable[Effect]) -> list[Signal]:
    return [e.signal for e in effects if isinstance(e, EmitSignal)]


def tick(
    at_ms: int, price: float, *, mint: str = MINT, slot: int | None = None, volume: int = SOL, reserve: int = 1000 * SOL
) -> PriceTick:
    """A tick whose slot follows from its time (400 ms each), unless one is given."""
    return PriceTick(mint, at_ms // 400 if slot is None else slot, at_ms, price, reserve, volume)


def minutes(
    closes: Sequence[float], *, start_ms: int = START_MS, volume: int = SOL, reserve: int = 1000 * SOL
) -> Iterator[PriceTick]:
    """One tick a minute, 30 s into it."""
    for i, price in enumerate(closes):
        yield tick(start_ms + i * BAR_MS + 30_000, price, volume=volume, reserve=reserve)


def read_recording(path: Path) -> list[Event]:
    """
    Return the events of a recording: one a row, the first column says which.

    usd,at_ms,value · capital,at_ms,quote_units · tick,at_ms,slot,price,quote_reserve,volume · clock,at_ms ·
    stale,at_ms,0|1 · bar,start_ms,open,high,low,close,volume,quote_reserve
    """
    events: list[Event] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        kind, *rest = line.split(",")
        at_ms = int(rest[0])
        match kind:
            case "usd":
                events.append(QuoteInUsd(at_ms, float(rest[1])))
            case "capital":
                events.append(RiskChanged(at_ms, risk_row(int(rest[1]))))
            case "tick":
                events.append(PriceTick(MINT, int(rest[1]), at_ms, float(rest[2]), int(rest[3]), int(rest[4])))
            case "clock":
                events.append(ClockTick(at_ms))
            case "stale":
                events.append(FeedStatus(at_ms, rest[1] == "1"))
            case "bar":
                prices = [float(x) for x in rest[1:5]]
                bar = Bar(at_ms, *prices, int(rest[5]), int(rest[6]))
                events.append(HistoryLoaded(MINT, (bar,)))
            case _:
                raise ValueError(f"{path}: unknown row {line!r}")
    return events


__all__ = [
    "MINT", "MOMENTUM", "RECORDINGS", "REVERSION", "SOL", "START_MS", "TOKEN", "Market", "Tier", "minutes", "position",
    "read_recording", "risk_row", "signals_of", "tick",
]  # fmt: skip
