"""Each strategy fires on its recording, and stays silent on twins that differ in one condition."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from core_market import MINT, MOMENTUM, RECORDINGS, REVERSION, Market, read_recording

from tradingbot_engine.core.ids import intent_id
from tradingbot_engine.domain.signals import Priority, Purpose, Side

SCRIPT = Path(__file__).parents[3] / "hack" / "strategy_recordings.py"
CONFIGS = {"momentum_5m": MOMENTUM, "mean_revert_1h": REVERSION}
TWINS = [
    ("momentum_5m", "return", None),
    ("momentum_5m", "volume", "VolumeTooSmall"),
    ("momentum_5m", "liquidity", "LiquidityTooSmall"),
    ("momentum_5m", "impact", "ImpactTooLarge"),
    ("momentum_5m", "hole", "WarmingUp"),
    ("momentum_5m", "stale", "StaleMarketData"),
    ("momentum_5m", "usd", "QuoteUsdUnknown"),
    ("mean_revert_1h", "depth", None),
    ("mean_revert_1h", "too_deep", "TooDeep"),
    ("mean_revert_1h", "calm", "TooCalm"),
    ("mean_revert_1h", "day", "FallingKnife"),
    ("mean_revert_1h", "liquidity", "LiquidityLeaves"),
    ("mean_revert_1h", "rug", "LiquidityLeaves"),
    ("mean_revert_1h", "hole", "WarmingUp"),
    ("mean_revert_1h", "stale", "StaleMarketData"),
]
"""(strategy, what its twin lacks, the reason that is told at the close of the last bar; None where no sign was seen at all)."""


def play(name: str) -> Market:
    config = next(c for kind, c in CONFIGS.items() if name.startswith(kind))
    return Market(config).play(read_recording(RECORDINGS / f"{name}.csv"))


@pytest.mark.parametrize("strategy", CONFIGS)
def test_a_strategy_fires_exactly_once_on_its_recording(strategy):
    """The entry stands at the close of the last bar, names that bar as its trigger, and carries its close as price."""
    market = play(f"{strategy}_fires")
    (signal,) = market.signals
    last = market.bars[-1]
    assert (signal.side, signal.purpose, signal.priority) == (Side.BUY, Purpose.ENTRY, Priority.NORMAL)
    assert (signal.strategy_type, signal.strategy_version, signal.mint) == (strategy, 1, MINT)
    assert signal.trigger_id == f"bar:{MINT}:{last.start_ms}"
    assert signal.at_ms == last.start_ms + 60_000
    assert signal.price == last.close
    assert signal.position_id is None


@pytest.mark.parametrize(("strategy", "lacks", "reason"), TWINS)
def test_a_strategy_stays_silent_on_a_twin_that_lacks_one_condition(strategy, lacks, reason):
    """Each condition of the entry is necessary, and the one that failed is told."""
    market = play(f"{strategy}_twin_{lacks}")
    assert market.signals == []
    last = f"{MINT}"
    told = [e for e in market.effects if getattr(e, "mint", last) == MINT]
    after_last_bar = [getattr(e, "reason", None) for e in told[told.index(_last_bar(market)) + 1 :]]
    assert after_last_bar == ([reason] if reason else [])


def _last_bar(market: Market):
    return next(e for e in reversed(market.effects) if getattr(e, "bar", None) == market.bars[-1])


@pytest.mark.parametrize("strategy", CONFIGS)
def test_a_recording_played_twice_gives_the_same_intent_id(strategy):
    """One signal, one intent, for ever: the id follows from the bar, not from the process that saw it."""
    first, second = (play(f"{strategy}_fires").signals[0] for _ in range(2))
    assert first == second
    assert intent_id("ab" * 16, first) == intent_id("ab" * 16, second)


def test_recordings_are_what_their_script_makes():
    """The files can be made anew, and nobody tuned one by hand."""
    made = runpy.run_path(str(SCRIPT))["RECORDINGS"]
    on_disk = {path.stem: path.read_text(encoding="utf-8").splitlines() for path in RECORDINGS.glob("*.csv")}
    assert made == on_disk


@pytest.mark.parametrize(("strategy", "lacks", "reason"), TWINS)
def test_a_twin_differs_from_its_recording_only_where_it_says(strategy, lacks, reason):
    """Rows differ in the columns of the one condition, so nothing else can be what silenced the strategy."""
    columns = {
        "return": {3}, "volume": {5}, "liquidity": {4}, "impact": {2}, "depth": {2, 3, 4, 5}, "too_deep": {2, 3, 4, 5},
        "calm": {2, 3, 4, 5}, "day": {2, 3, 4, 5}, "rug": {2, 3, 4, 5},
    }  # fmt: skip
    fires, twin = (
        (RECORDINGS / f"{strategy}_{which}.csv").read_text(encoding="utf-8").splitlines()
        for which in ("fires", f"twin_{lacks}")
    )
    if lacks in ("hole", "stale", "usd"):
        only_here, only_there = set(twin) - set(fires), set(fires) - set(twin)
        assert {row.split(",")[0] for row in only_here} <= {"stale"}
        assert len(only_there) <= 2
        return
    differing = set()
    for a, b in zip(fires, twin, strict=True):
        pairs = zip(a.split(","), b.split(","), strict=True)
        differing |= {i for i, (x, y) in enumerate(pairs) if x != y}
    assert differing
    assert differing <= columns.get(lacks, {4})
