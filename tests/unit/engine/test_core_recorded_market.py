"""Both strategies over months of a real market, with its outages, halts and crashes."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from core_market import MINT, MOMENTUM, REVERSION, SOL, TOKEN, risk_row
from scripted_rpc import RECORDED

from tradingbot_engine.core.decide import decide
from tradingbot_engine.core.state import CoreState, StrategyConfig
from tradingbot_engine.domain.effects import EmitSignal, NoteRefusal, SaveBar
from tradingbot_engine.domain.events import (
    BAR_MS,
    Event,
    FeedStatus,
    PositionChanged,
    PriceTick,
    QuoteInUsd,
    RiskChanged,
    SignalSettled,
)
from tradingbot_engine.domain.portfolio import Position, PositionState
from tradingbot_engine.domain.signals import Purpose, Signal

pytestmark = [
    pytest.mark.recorded,
    pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recorded market data at {RECORDED}"),
]
POOL_RESERVE = 50_000 * SOL
NERVOUS = (
    # SOL is no memecoin: 5 % in 5 minutes is rare in it.
    StrategyConfig("momentum", "momentum_5m", {"minReturnPercent": 1.5}),
    StrategyConfig("reversion", "mean_revert_1h", {}),
)


def ticks(name: str) -> Iterator[PriceTick]:
    """Each recorded minute as four ticks (open, low, high, close) of a deep pool; volume in the quote's base units."""
    rows = json.loads(gzip.decompress((RECORDED / "cex" / name).read_bytes()))
    for start_ms, *prices, volume in rows:
        opened, high, low, close = prices
        for i, price in enumerate((opened, low, high, close)):
            at_ms = start_ms + i * 15_000
            yield PriceTick(MINT, at_ms // 400, at_ms, price, POOL_RESERVE, int(volume * SOL / 4))


def outages(market: Iterator[PriceTick]) -> Iterator[Event]:
    """Tell the feed's silence as a feed would: a minute without any tick is an outage here."""
    before_ms = 0
    for tick in market:
        if before_ms and tick.at_ms - before_ms > BAR_MS:
            yield FeedStatus(before_ms + 500, stale=True)
            yield FeedStatus(tick.at_ms - 1, stale=False)
        before_ms = tick.at_ms
        yield tick


def fills(signal: Signal, held: dict[str, Position]) -> Iterator[Event]:
    """Fill every signal at its own price."""
    if signal.purpose is Purpose.ENTRY:
        id_ = signal.trigger_id + signal.strategy
        held[id_] = Position(
            id_, signal.strategy, MINT, PositionState.OPEN, 1000, 0, SOL, 0, signal.at_ms, signal.price
        )
        yield PositionChanged(held[id_])
    else:
        position = held.pop(signal.position_id or "")
        yield PositionChanged(replace(position, state=PositionState.CLOSED, sold=position.bought))
    yield SignalSettled(signal.strategy, signal.mint, signal.purpose, taken=True)


@pytest.mark.parametrize(
    ("name", "strategies"),
    [
        pytest.param("SOL_USDT-spot-1m-2021-09.json.gz", (MOMENTUM, REVERSION), id="2021-design"),
        pytest.param("SOL_USDT-spot-1m-2023-03.json.gz", NERVOUS, id="2023-nervous"),
    ],
)
def test_both_strategies_run_over_a_recorded_market(name, strategies, capsys):
    """No error, sane bars, every entry followed by its exit, every exit within its strategy's time."""
    if not Path(RECORDED / "cex" / name).exists():
        pytest.skip(f"{name} is not there")
    core = CoreState.create([TOKEN], strategies)
    decide(core, QuoteInUsd(0, 1.0))
    decide(core, RiskChanged(0, risk_row()))
    held: dict[str, Position] = {}
    counts: Counter[str] = Counter()
    opened_at: dict[str, int] = {}
    for event in outages(ticks(name)):
        waiting: list[Event] = [event]
        while waiting:
            for effect in decide(core, waiting.pop(0)):
                match effect:
                    case SaveBar(_, bar):
                        counts["bars"] += 1
                        assert 0 < bar.low <= bar.open <= bar.high < inf
                    case NoteRefusal(_, _, reason, _):
                        counts[f"declined {reason}"] += 1
                    case EmitSignal(signal):
                        counts[f"{signal.strategy} {signal.purpose.value} {signal.reason.split(':')[0]}"] += 1
                        if signal.purpose is Purpose.ENTRY:
                            opened_at[signal.strategy] = signal.at_ms
                        else:
                            limit_min = 31 if signal.strategy == "momentum" else 121
                            recorded_gap_min = 130  # an outage of the exchange: nobody could sell
                            lasted_min = (signal.at_ms - opened_at.pop(signal.strategy)) / BAR_MS
                            assert lasted_min <= limit_min + recorded_gap_min
                        waiting += fills(signal, held)
    with capsys.disabled():
        print(f"\n{name}: {dict(sorted(counts.items()))}")
    entries = sum(n for what, n in counts.items() if " ENTRY " in what)
    exits = sum(n for what, n in counts.items() if " EXIT " in what)
    assert counts["bars"] > 40_000
    assert entries > 0
    assert exits == entries - len(held)
    assert len(held) <= 2
