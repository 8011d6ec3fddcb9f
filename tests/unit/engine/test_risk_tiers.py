"""Drawdown tiers: they rise with the numbers, and fall by the rule or by a person only."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from core_market import SOL, risk_row

from tradingbot_engine.core.risk.limits import RiskLimits
from tradingbot_engine.core.risk.quality import QualityLimits, TradeQuality, faults_of
from tradingbot_engine.core.risk.tiers import MIN_TIER_MS, apply_flow, assess, reset_tier, strategy_drawdown, utc_day
from tradingbot_engine.domain.portfolio import RiskState, Tier
from tradingbot_engine.settings import ExecutionSettings, RiskSettings

NOON_MS = int(datetime(2025, 6, 15, 12, tzinfo=UTC).timestamp() * 1000)
MIDNIGHT_MS = NOON_MS + 12 * 3_600_000
LIMITS = RiskLimits.from_settings(RiskSettings(), ExecutionSettings(), capital=100 * SOL)
START = risk_row(100 * SOL)


def mark(risk: RiskState, percent: float, at_ms: int = NOON_MS, faults: tuple[str, ...] = ()) -> RiskState:
    """Mark the book so that equity is `percent` % away from the start's 100 SOL."""
    unrealized = round(percent * SOL) - risk.realized
    return assess(risk, unrealized=unrealized, at_ms=at_ms, limits=LIMITS, faults=faults)


@pytest.mark.parametrize(
    ("percent", "tier"),
    [
        (-1.99, Tier.NORMAL),
        (-2.0, Tier.WARNING),
        (-2.99, Tier.WARNING),
        (-3.0, Tier.HALT),
        (-9.99, Tier.HALT),
        (-10.0, Tier.EMERGENCY),
        (-100.0, Tier.EMERGENCY),
        (-120.0, Tier.EMERGENCY),
    ],
)
def test_a_loss_within_a_day_raises_the_tier_that_its_size_asks_for(percent, tier):
    """Balanced: daily loss 2 % warns and 3 % halts before drawdown does; 10 % below the peak closes everything."""
    risk = mark(START, percent)
    assert risk.tier is tier
    assert risk.equity == 100 * SOL + round(percent * SOL)
    assert bool(risk.tier_reason) is (tier is not Tier.NORMAL)
    assert risk.tier_since_ms == (NOON_MS if tier is not Tier.NORMAL else 0)
    assert risk.marked_at_ms == NOON_MS


@pytest.mark.parametrize(
    ("percent", "tier"), [(-2.9, Tier.NORMAL), (-3.0, Tier.WARNING), (-4.9, Tier.WARNING), (-5.0, Tier.HALT)]
)
def test_drawdown_from_the_peak_counts_over_days(percent, tier):
    """Losses that are spread over days never reach a day's limit, but the peak remembers."""
    risk = START
    for day in range(10):
        risk = mark(risk, percent * (day + 1) / 10, at_ms=NOON_MS + day * 86_400_000)
    assert risk.tier is tier
    assert risk.peak == 100 * SOL


def test_the_peak_follows_equity_up_and_never_down():
    """Drawdown is measured from the best that was ever marked."""
    risk = mark(mark(mark(START, 5), 8), 7)
    assert risk.peak == 108 * SOL
    assert mark(risk, 4.7).tier is Tier.WARNING  # 3.06 % below 108


def test_realized_results_count_like_unrealized_ones():
    """equity = capital + realized + unrealized."""
    risk = assess(risk_row(100 * SOL, realized=-4 * SOL), unrealized=SOL, at_ms=NOON_MS, limits=LIMITS)
    assert risk.equity == 97 * SOL
    assert risk.tier is Tier.HALT


@pytest.mark.parametrize("percent", [-2.0, -3.0, -5.0, -10.0])
def test_neither_midnight_nor_a_restart_clears_a_tier(percent):
    """The day's opening equity moves, the tier stays: in the seconds around midnight and through the whole next day."""
    risk = mark(START, percent, at_ms=MIDNIGHT_MS - 2 * 3_600_000)
    tier, since = risk.tier, risk.tier_since_ms
    for at_ms in range(MIDNIGHT_MS - 1000, MIDNIGHT_MS + 86_000_000, 3_600_000):
        risk = mark(RiskState(**{f: getattr(risk, f) for f in risk.__slots__}), percent, at_ms=at_ms)
        assert (risk.tier, risk.tier_since_ms) == (tier, since)
    assert risk.day == "2025-06-16"
    assert risk.day_start == 100 * SOL + round(percent * SOL)


def test_a_daily_warning_alone_does_not_end_with_its_day():
    """Even where the daily limit is far below the drawdown limit: the rule does not read the day at all."""
    strict = RiskLimits.from_settings(
        RiskSettings(daily_loss={"warning_percent": 0.5, "halt_percent": 3}), ExecutionSettings(), capital=100 * SOL
    )
    loss = -SOL * 6 // 10
    risk = assess(START, unrealized=loss, at_ms=NOON_MS, limits=strict)
    assert risk.tier is Tier.WARNING
    risk = assess(risk, unrealized=loss, at_ms=MIDNIGHT_MS + 7_200_000, limits=strict)
    assert (risk.tier, risk.day) == (Tier.WARNING, "2025-06-16")


def test_a_new_day_is_measured_from_the_last_mark_of_the_old_one():
    """What was lost overnight, while nobody marked, belongs to the new day."""
    risk = mark(mark(START, -1.0), -2.5, at_ms=MIDNIGHT_MS + 1)
    assert risk.day_start == 99 * SOL
    assert risk.tier is Tier.NORMAL  # 1.5 % today, 2.5 % below the peak
    assert mark(risk, -3.0, at_ms=MIDNIGHT_MS + 2).tier is Tier.WARNING  # 2.02 % of 99


def test_a_clock_that_is_set_back_starts_no_old_day_again():
    """Or a wrong clock could forgive a loss."""
    risk = mark(mark(START, -1.0, at_ms=MIDNIGHT_MS + 1), -1.2, at_ms=NOON_MS)
    assert (risk.day, risk.day_start) == ("2025-06-16", 100 * SOL)


def test_a_tier_falls_one_step_at_a_time_after_an_hour_and_a_recovery():
    """HALT → WARNING below 2 % (the lower warning limit), WARNING → NORMAL below 1 %; each at least an hour apart."""
    risk = mark(START, -3.5)
    assert mark(risk, -0.5, at_ms=NOON_MS + MIN_TIER_MS - 1).tier is Tier.HALT
    assert mark(risk, -2.0, at_ms=NOON_MS + MIN_TIER_MS).tier is Tier.HALT
    warned = mark(risk, -0.5, at_ms=NOON_MS + MIN_TIER_MS)
    assert (warned.tier, warned.tier_since_ms) == (Tier.WARNING, NOON_MS + MIN_TIER_MS)
    assert "recovered from HALT" in warned.tier_reason
    assert mark(warned, -0.5, at_ms=NOON_MS + 2 * MIN_TIER_MS - 1).tier is Tier.WARNING
    assert mark(warned, -1.0, at_ms=NOON_MS + 2 * MIN_TIER_MS).tier is Tier.WARNING
    normal = mark(warned, -0.9, at_ms=NOON_MS + 2 * MIN_TIER_MS)
    assert (normal.tier, normal.tier_since_ms) == (Tier.NORMAL, NOON_MS + 2 * MIN_TIER_MS)


def test_a_tier_that_rises_again_starts_its_hour_anew():
    """A relapse is not half forgiven."""
    warned = mark(mark(START, -3.5), -0.5, at_ms=NOON_MS + MIN_TIER_MS)
    halted = mark(warned, -3.2, at_ms=NOON_MS + MIN_TIER_MS + 5)
    assert (halted.tier, halted.tier_since_ms) == (Tier.HALT, NOON_MS + MIN_TIER_MS + 5)


def test_an_emergency_ends_only_by_a_person():
    """Not by any recovery, however long it lasts."""
    risk = mark(START, -10.0)
    risk = mark(risk, +50.0, at_ms=NOON_MS + 30 * 86_400_000)
    assert risk.tier is Tier.EMERGENCY


def test_a_reset_measures_anew_and_does_not_fall_back_at_the_next_mark():
    """Peak and day start come down to today's equity; the reason is kept; sizes come back in steps."""
    risk = reset_tier(mark(START, -12.0), reason="checked by hand", at_ms=NOON_MS + 5)
    assert (risk.tier, risk.tier_since_ms) == (Tier.NORMAL, NOON_MS + 5)
    assert risk.peak == risk.day_start == risk.equity == 88 * SOL
    assert risk.tier_reason == "reset by hand from EMERGENCY: checked by hand"
    assert mark(risk, -12.0, at_ms=NOON_MS + 6).tier is Tier.NORMAL
    assert mark(risk, -14.7, at_ms=NOON_MS + 7).tier is Tier.HALT  # 3.07 % of 88


@pytest.mark.parametrize("amount", [50 * SOL, -40 * SOL, 1, -1])
def test_money_moved_by_others_is_no_profit_or_loss(amount):
    """Drawdown, daily loss and tier are the same before and after; only the money differs."""
    risk = mark(mark(START, 4), -0.5)
    moved = apply_flow(risk, amount)
    assert (moved.equity, moved.capital) == (risk.equity + amount, risk.capital + amount)
    assert moved.drawdown_bps == risk.drawdown_bps
    assert moved.tier is risk.tier
    marked = assess(moved, unrealized=round(-0.5 * SOL), at_ms=NOON_MS + 1, limits=LIMITS)
    assert (marked.tier, marked.equity) == (risk.tier, moved.equity)


def test_a_withdrawal_raises_no_tier_and_a_deposit_hides_no_loss():
    """Shifted instead of scaled, 2 % of 100 SOL would become 20 % of 10, or nothing of 10,000."""
    risk = mark(START, -2.5)
    for amount in (-90 * SOL, 9_900 * SOL):
        moved = apply_flow(risk, amount)
        again = assess(moved, unrealized=round(-2.5 * SOL), at_ms=NOON_MS + 2 * MIN_TIER_MS, limits=LIMITS)
        assert again.tier is Tier.WARNING
        assert again.drawdown_bps == risk.drawdown_bps


def test_everything_withdrawn_leaves_nothing_to_trade_with_and_no_crash():
    """The capital is never negative; a later deposit starts anew."""
    risk = apply_flow(START, -100 * SOL)
    assert (risk.capital, risk.equity, risk.peak) == (0, 0, 0)
    risk = apply_flow(risk, 10 * SOL)
    assert (risk.capital, risk.equity, risk.peak, risk.day_start) == (10 * SOL,) * 4
    assert assess(risk, unrealized=0, at_ms=NOON_MS, limits=LIMITS).tier is Tier.NORMAL


def test_a_strategy_s_drawdown_is_the_fall_from_its_own_peak():
    """Its realized results in order; nothing lost is 0."""
    assert strategy_drawdown([]) == 0
    assert strategy_drawdown([5, -3, 10]) == 0
    assert strategy_drawdown([5, -3, -4]) == 7
    assert strategy_drawdown([-2, -2, 1]) == 3


def test_days_are_utc():
    """Wherever the machine stands."""
    assert (utc_day(MIDNIGHT_MS - 1), utc_day(MIDNIGHT_MS)) == ("2025-06-15", "2025-06-16")


# --- execution quality
GOOD = TradeQuality(latency_ms=200, slippage_bps=10, failed=False)


def bad(**changes: object) -> TradeQuality:
    return TradeQuality(**({"latency_ms": 200, "slippage_bps": 10, "failed": False} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("trades", "liquidity", "word"),
    [
        ([bad(latency_ms=1000)] * 5, {}, "latency"),
        ([bad(latency_ms=999)] * 5, {}, None),
        ([bad(latency_ms=5000)] * 4, {}, None),
        ([bad(slippage_bps=100)] * 5, {}, "slippage"),
        ([bad(slippage_bps=99)] * 5, {}, None),
        ([bad(failed=True)] + [GOOD] * 19, {}, "failed"),
        ([bad(failed=True)] + [GOOD] * 20, {}, None),
        ([bad(failed=True)] * 19, {}, None),
        ([], {"BONK": (100, 49)}, "BONK"),
        ([], {"BONK": (100, 50)}, None),
        ([bad(latency_ms=None, slippage_bps=None)] * 30, {}, None),
    ],
)
def test_execution_that_is_worse_than_assumed_is_a_fault(trades, liquidity, word):
    """1,000 ms, 100 bps, 5 % errors, half the liquidity of entry: at the limit it is a fault, short of it not."""
    faults = faults_of(trades, liquidity, QualityLimits())
    assert len(faults) == (0 if word is None else 1)
    assert word is None or word in faults[0]


def test_faults_of_execution_mean_warning_and_end_with_the_rule():
    """They warn, never halt; while one lasts the warning stays, an hour after it and recovered it goes."""
    risk = mark(START, 0, faults=("median latency 1500 ms, limit 1000 ms",))
    assert risk.tier is Tier.WARNING
    assert "latency" in risk.tier_reason
    assert mark(risk, 0, at_ms=NOON_MS + MIN_TIER_MS, faults=("still",)).tier is Tier.WARNING
    assert mark(risk, 0, at_ms=NOON_MS + MIN_TIER_MS).tier is Tier.NORMAL
    assert mark(mark(START, -3.5), -3.5, faults=("also",)).tier is Tier.HALT
