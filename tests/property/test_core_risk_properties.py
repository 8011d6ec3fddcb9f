"""Whatever the numbers: orders stay within limits, tiers are monotone, and time alone forgives nothing."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from core_market import MINT, START_MS, position
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tradingbot_engine.core.risk.approve import Refused, approve, dust_quote
from tradingbot_engine.core.risk.limits import EXIT_FEE_CAP_FACTOR, EXIT_SLIPPAGE_CAP_BPS, RiskLimits
from tradingbot_engine.core.risk.tiers import MIN_TIER_MS, ORDER, apply_flow, assess, reset_tier, utc_day
from tradingbot_engine.domain import money
from tradingbot_engine.domain.portfolio import PositionState, RiskState, Tier
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.settings import DailyLossSettings, DrawdownSettings, ExecutionSettings, RiskSettings

DAY_MS = 86_400_000
MONEY = st.integers(1, 10**15)
TIMES = st.integers(START_MS - 30 * DAY_MS, START_MS + 30 * DAY_MS)


@st.composite
def limits_of(draw: st.DrawFn, capital: int) -> RiskLimits:
    percents = sorted(draw(st.lists(st.floats(0.01, 99), min_size=3, max_size=3, unique=True)))
    daily = sorted(draw(st.lists(st.floats(0.01, 99), min_size=2, max_size=2, unique=True)))
    position_percent = draw(st.floats(0.01, 100))
    risk = RiskSettings(
        max_position_percent=position_percent,
        max_strategy_percent=draw(st.floats(position_percent, 100)),
        drawdown=DrawdownSettings(warning_percent=percents[0], halt_percent=percents[1], emergency_percent=percents[2]),
        daily_loss=DailyLossSettings(warning_percent=daily[0], halt_percent=daily[1]),
    )
    execution = ExecutionSettings(
        max_slippage_bps=draw(st.integers(1, 5000)), mark=draw(st.sampled_from(["Memo", "Guard", "None"]))
    )
    return RiskLimits.from_settings(risk, execution, capital=capital)


@st.composite
def risks(draw: st.DrawFn) -> RiskState:
    capital = draw(MONEY)
    equity = draw(st.integers(0, 2 * capital))
    peak = draw(st.integers(equity, 3 * capital))
    at_ms = draw(TIMES)
    return RiskState(
        capital=capital,
        equity_start=capital,
        equity=equity,
        peak=peak,
        day=utc_day(at_ms),
        day_start=draw(st.integers(0, peak)),
        tier=draw(st.sampled_from(Tier)),
        tier_since_ms=at_ms - draw(st.integers(0, 3 * MIN_TIER_MS)),
        realized=draw(st.integers(-capital, capital)),
        marked_at_ms=at_ms,
    )


@st.composite
def bots(draw: st.DrawFn) -> tuple[RiskState, RiskLimits]:
    risk = draw(risks())
    return risk, draw(limits_of(risk.capital))


def level(risk: RiskState) -> int:
    return ORDER.index(risk.tier)


@settings(max_examples=200, deadline=None)
@given(bots(), st.integers(-(10**15), 10**15), st.integers(0, 10**14), st.integers(0, 3 * DAY_MS))
def test_a_worse_mark_never_means_a_lower_tier(bot, unrealized, worse, later_ms):
    """From the same row at the same time: the deeper the loss, the higher (or equal) the tier."""
    risk, limits = bot
    at_ms = risk.marked_at_ms + later_ms
    good = assess(risk, unrealized=unrealized, at_ms=at_ms, limits=limits)
    bad = assess(risk, unrealized=unrealized - worse, at_ms=at_ms, limits=limits)
    assert level(bad) >= level(good)


@settings(max_examples=200, deadline=None)
@given(bots(), st.lists(st.tuples(st.integers(-(10**15), 10**15), st.integers(0, DAY_MS)), max_size=12))
def test_a_tier_falls_only_one_step_after_an_hour_and_never_out_of_an_emergency(bot, marks):
    """Along any series of marks, midnights included; each fall states its reason and its time."""
    risk, limits = bot
    at_ms = risk.marked_at_ms
    for unrealized, passed_ms in marks:
        at_ms += passed_ms
        before, risk = risk, assess(risk, unrealized=unrealized, at_ms=at_ms, limits=limits)
        assert risk.peak >= risk.equity or risk.peak >= before.peak
        if level(risk) < level(before):
            assert level(risk) == level(before) - 1
            assert before.tier is not Tier.EMERGENCY
            assert at_ms - before.tier_since_ms >= MIN_TIER_MS
        if risk.tier is not before.tier:
            assert risk.tier_since_ms == at_ms
            assert risk.tier_reason


@settings(max_examples=200, deadline=None)
@given(bots(), st.integers(0, 4 * MIN_TIER_MS))
def test_midnight_never_clears_a_tier(bot, age_ms):
    """The same loss, marked just before and just after midnight with the tier equally old: never a lower tier after it."""
    risk, limits = bot
    midnight_ms = (risk.marked_at_ms // DAY_MS + 1) * DAY_MS
    unrealized = risk.equity - risk.capital - risk.realized  # equity stays what it was
    tiers = []
    for at_ms in (midnight_ms - 1, midnight_ms + 1):
        row = replace(risk, tier_since_ms=at_ms - age_ms)
        tiers.append(level(assess(row, unrealized=unrealized, at_ms=at_ms, limits=limits)))
    before, after = tiers
    assert after >= min(before, level(risk))


@settings(max_examples=200, deadline=None)
@given(bots(), st.integers(-(10**15), 10**15))
def test_the_same_mark_twice_changes_nothing_more(bot, unrealized):
    """A restart that marks again, or a write whose answer was lost, moves no tier a second time."""
    risk, limits = bot
    once = assess(risk, unrealized=unrealized, at_ms=risk.marked_at_ms, limits=limits)
    twice = assess(once, unrealized=unrealized, at_ms=risk.marked_at_ms, limits=limits)
    assert (twice.tier, twice.tier_since_ms, twice.peak) == (once.tier, once.tier_since_ms, once.peak)


@settings(max_examples=200, deadline=None)
@given(bots(), st.integers(-(10**15), 10**15))
def test_money_moved_by_others_never_moves_the_tier(bot, amount):
    """Neither by itself nor at the next mark of an unchanged book, and the drawdown is never told smaller."""
    risk, limits = bot
    unrealized = risk.equity - risk.capital - risk.realized
    assume(risk.equity + amount > 0 and risk.capital + amount > 0 and risk.equity > 0)
    moved = apply_flow(risk, amount)
    assert moved.tier is risk.tier
    assert moved.equity == risk.equity + amount
    # An unchanged book has the equity that the flow left behind.
    without = assess(risk, unrealized=unrealized, at_ms=risk.marked_at_ms, limits=limits)
    after = assess(moved, unrealized=unrealized, at_ms=risk.marked_at_ms, limits=limits)
    if moved.equity > 10**9:  # where one unit of rounding is no share of the whole
        assert abs(moved.drawdown_bps - risk.drawdown_bps) <= 1
    assert level(after) >= level(without)


@settings(max_examples=100, deadline=None)
@given(bots(), TIMES)
def test_a_reset_is_not_undone_by_the_next_mark(bot, at_ms):
    """A person's word holds as long as equity does; what was lost is not counted twice."""
    risk, limits = bot
    assume(risk.equity > 0)
    reset = reset_tier(risk, reason="test", at_ms=at_ms)
    unrealized = risk.equity - risk.capital - risk.realized
    assert reset.tier is Tier.NORMAL
    assert assess(reset, unrealized=unrealized, at_ms=at_ms, limits=limits).tier is Tier.NORMAL


@settings(max_examples=300, deadline=None)
@given(
    bots(),
    st.floats(),
    st.floats(min_value=1e-12, max_value=1e6),
    st.sampled_from([6, 9]),
    st.integers(0, 18),
    st.booleans(),
    st.integers(0, 10**18),
    st.integers(0, 10**18),
    st.integers(0, 100),
    st.sampled_from(PositionState),
)
def test_an_order_never_exceeds_a_limit(
    bot, price, signal_price, quote_decimals, decimals, entry, bought, sold, failures, state
):
    """Entries within the position's and the strategy's share of the capital, no dust; exits exactly what is held."""
    risk, limits = bot
    signal = Signal(
        "momentum", "momentum_5m", 1, MINT, Side.BUY if entry else Side.SELL, Purpose.ENTRY if entry else Purpose.EXIT,
        "bar:x:1", START_MS, signal_price, "r", Priority.NORMAL, None if entry else "p1",
    )  # fmt: skip
    held = position(bought=bought, sold=sold, exit_failures=failures, exit_slips=failures, state=state)
    answer = approve(
        signal, bot_id="ab" * 16, risk=risk, limits=limits, token=Token(MINT, "T", decimals), quote=money.SOL if quote_decimals == 9 else money.USDC,
        position=None if entry else held, price=price, now_ms=risk.marked_at_ms,
    )  # fmt: skip
    if isinstance(answer, Refused):
        assert answer.reason
        assert answer.message
        if not entry:
            assert state is not PositionState.OPEN or bought <= sold
        return
    assert answer.reserve_lamports > 0
    assert answer.max_slippage_bps <= 10_000
    if entry:
        assert risk.tier in (Tier.NORMAL, Tier.WARNING)
        most = limits.max_position_quote if risk.tier is Tier.NORMAL else limits.max_position_quote // 2
        assert dust_quote(quote_decimals) <= answer.amount_in <= min(most, limits.max_strategy_quote)
        assert answer.amount_in == answer.reserve_quote
        assert 0 < price < inf
        assert price <= signal_price * (1 + limits.max_slippage_bps / 10_000)
        assert answer.max_slippage_bps == limits.max_slippage_bps
    else:
        assert answer.amount_in == bought - sold > 0
        assert answer.max_slippage_bps <= max(limits.max_slippage_bps, EXIT_SLIPPAGE_CAP_BPS)
        assert answer.max_priority_fee_lamports <= limits.max_priority_fee_lamports * EXIT_FEE_CAP_FACTOR
