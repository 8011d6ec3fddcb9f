"""
core-ticks: how many price ticks a second the pure core decides, and whether more tokens make a tick dearer.

Both strategies are warm and hold a position each in every token; one tick per token and slot of 400 ms, a clock tick a
slot, bars closing every minute. The baseline is a bare loop that reads the price of the same events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from core_market import SOL, START_MS, position, risk_row

from tradingbot_engine.core.decide import decide
from tradingbot_engine.core.state import CoreState, StrategyConfig
from tradingbot_engine.domain.events import (
    BAR_MS,
    Bar,
    ClockTick,
    Event,
    HistoryLoaded,
    PositionChanged,
    PriceTick,
    QuoteInUsd,
    RiskChanged,
)
from tradingbot_engine.domain.portfolio import Position
from tradingbot_engine.domain.tokens import Token

TICKS = 300_000
SLOT_MS = 400
ROUNDS = 3
STRATEGIES = (
    StrategyConfig("momentum", "momentum_5m", {"maxHoldMinutes": 1440}),
    StrategyConfig("reversion", "mean_revert_1h", {"exitZ": 10, "stopZ": -20, "maxHoldMinutes": 1440}),
)
"""The design's strategies; only the exits are far away, so that the positions stay open."""


def warm_core(mints: Sequence[str]) -> CoreState:
    """A core with 25 h of history and an open position per strategy in every token."""
    core = CoreState.create([Token(m, m, 6) for m in mints], STRATEGIES)
    decide(core, QuoteInUsd(START_MS, 150.0))
    decide(core, RiskChanged(START_MS, risk_row()))
    for mint in mints:
        bars = tuple(
            Bar(START_MS - m * BAR_MS, *(1.0 - m * 1e-6,) * 4, volume=SOL, quote_reserve=1000 * SOL)
            for m in range(1500, 0, -1)
        )
        decide(core, HistoryLoaded(mint, bars))
        for config in STRATEGIES:
            held = position(id_=f"{mint}/{config.name}", strategy=config.name, entry_price=1.0)
            values = {name: getattr(held, name) for name in held.__slots__}
            decide(core, PositionChanged(Position(**values | {"mint": mint})))
    return core


def market(mints: Sequence[str]) -> list[Event]:
    """TICKS ticks, slot by slot; prices rise by a millionth a minute and swing a little."""
    events: list[Event] = []
    for slot in range(TICKS // len(mints)):
        at_ms = START_MS + slot * SLOT_MS
        price = 1.0 + at_ms % BAR_MS * 1e-10 + slot * SLOT_MS / BAR_MS * 1e-6
        events += [PriceTick(mint, at_ms // SLOT_MS, at_ms, price, 1000 * SOL, SOL // 100) for mint in mints]
        events.append(ClockTick(at_ms))
    return events


def rate(work: Callable[[], int]) -> float:
    """Return ticks a second: the best of some rounds, since other processes only ever slow one down."""
    best = 0.0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        done = work()
        best = max(best, done / (time.perf_counter() - started))
    return best


def decided(mints: Sequence[str], events: Sequence[Event]) -> float:
    """Return ticks a second through `decide`, every effect taken."""
    best = 0.0
    for _ in range(ROUNDS):
        core = warm_core(mints)
        effects = 0
        started = time.perf_counter()
        for event in events:
            effects += len(decide(core, event))
        best = max(best, TICKS / (time.perf_counter() - started))
        holdings = [h for lane, _ in core.homes.values() for h in lane.holdings.values()]
        assert all(h.wanted is None for h in holdings), "a position was left: the benchmark measures something else"
        assert effects > 0
    return best


async def main(emit: Callable[..., None]) -> None:
    """Emit ticks/s at 10 and 1,000 tokens, the ratio of their costs, and the time of a common bar close."""
    few = [f"mint-{i}" for i in range(10)]
    many = [f"mint-{i}" for i in range(1000)]
    events = market(few)

    def bare() -> int:
        total = 0.0
        for event in events:
            if type(event) is PriceTick:
                total += event.price
        return TICKS

    baseline = rate(bare)
    at_10 = decided(few, events)
    emit("core-ticks", at_10, "ticks/s", "higher", baseline, 100_000)
    at_1000 = decided(many, market(many))
    emit("core-ticks-1000-tokens", at_1000, "ticks/s", "higher", baseline, 100_000)
    emit("core-ticks-cost-1000-over-10", at_10 / at_1000, "×", "lower", None, 2.0)

    core = warm_core(many)
    for mint in many:
        decide(core, PriceTick(mint, 1, START_MS, 1.0, 1000 * SOL, SOL))
    started = time.perf_counter()
    decide(core, ClockTick(START_MS + BAR_MS))
    emit("core-close-1000-bars", (time.perf_counter() - started) * 1000, "ms", "lower", None, None)
