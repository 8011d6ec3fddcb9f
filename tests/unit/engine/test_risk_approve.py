"""Signal → order: sized within limits, or refused with a reason; exits can always leave."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest
from core_market import MINT, SOL, START_MS, TOKEN, position, risk_row

from tradingbot_engine.core.ids import intent_id
from tradingbot_engine.core.risk.approve import TOKEN_ACCOUNT_RENT_LAMPORTS, Refused, approve, dust_quote
from tradingbot_engine.core.risk.limits import EXIT_FEE_CAP_FACTOR, EXIT_SLIPPAGE_CAP_BPS, RiskLimits, ppm
from tradingbot_engine.core.risk.profiles import PROFILES
from tradingbot_engine.domain import money
from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.domain.portfolio import PositionState, Tier
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.settings import ExecutionSettings, RiskSettings

BOT = "ab" * 16
NOW_MS = START_MS + 500
ENTRY = Signal(
    "momentum", "momentum_5m", 1, MINT, Side.BUY, Purpose.ENTRY, f"bar:{MINT}:1", START_MS, 2e-7, "Momentum", Priority.NORMAL
)  # fmt: skip
EXIT = replace(
    ENTRY, side=Side.SELL, purpose=Purpose.EXIT, priority=Priority.CRITICAL, reason="StopLoss", position_id="p1"
)
LIMITS = RiskLimits.from_settings(RiskSettings(), ExecutionSettings(), capital=100 * SOL)


def ask(signal: Signal = ENTRY, **changes: object) -> OrderIntent | Refused:
    arguments: dict[str, object] = {
        "bot_id": BOT,
        "risk": risk_row(100 * SOL),
        "limits": LIMITS,
        "token": TOKEN,
        "quote": money.SOL,
        "position": position() if signal.purpose is Purpose.EXIT else None,
        "price": signal.price,
        "now_ms": NOW_MS,
    } | changes
    return approve(signal, **arguments)  # type: ignore[arg-type]


def approved(signal: Signal = ENTRY, **changes: object) -> OrderIntent:
    answer = ask(signal, **changes)
    assert isinstance(answer, OrderIntent), answer
    return answer


def refusal(signal: Signal = ENTRY, **changes: object) -> str:
    answer = ask(signal, **changes)
    assert isinstance(answer, Refused), answer
    assert answer.message
    return answer.reason


def test_an_entry_spends_two_percent_of_the_capital_and_reserves_it():
    """Balanced: 2 % of 100 SOL; its own id names the position that it opens."""
    order = approved()
    assert order.amount_in == order.reserve_quote == 2 * SOL
    assert order.id == order.position_id == intent_id(BOT, ENTRY)
    assert (order.side, order.purpose, order.priority) == (Side.BUY, Purpose.ENTRY, Priority.NORMAL)
    assert (order.max_slippage_bps, order.max_priority_fee_lamports) == (100, 1_000_000)
    assert (order.signal_at_ms, order.created_at_ms, order.price, order.reason) == (START_MS, NOW_MS, 2e-7, "Momentum")


def test_fees_and_rent_are_held_back_too():
    """Entry in SOL: the token's account and the temporary wrapped one; in USDC only the token's."""
    fees = 5_000 + 1_000_000
    assert approved().reserve_lamports == fees + 2 * TOKEN_ACCOUNT_RENT_LAMPORTS
    assert approved(quote=money.USDC).reserve_lamports == fees + TOKEN_ACCOUNT_RENT_LAMPORTS
    assert approved(EXIT).reserve_lamports == fees + TOKEN_ACCOUNT_RENT_LAMPORTS
    assert (
        approved(limits=replace(LIMITS, guard=True)).reserve_lamports
        == fees + 2 * TOKEN_ACCOUNT_RENT_LAMPORTS + 890_880
    )


@pytest.mark.parametrize(
    ("tier", "expected"), [(Tier.NORMAL, 2 * SOL), (Tier.WARNING, SOL), (Tier.HALT, None), (Tier.EMERGENCY, None)]
)
def test_the_tier_scales_or_stops_entries(tier, expected):
    """Warning halves, halt and emergency open nothing."""
    risk = risk_row(100 * SOL, tier=tier, tier_reason="because")
    if expected is None:
        assert refusal(risk=risk) == "Halted"
    else:
        assert approved(risk=risk).amount_in == expected


@pytest.mark.parametrize(("hours", "share"), [(0, 0.5), (0.99, 0.5), (1, 0.75), (1.99, 0.75), (2, 1.0), (999, 1.0)])
def test_after_a_cleared_tier_sizes_come_back_in_steps(hours, share):
    """Half in the first hour after the return to NORMAL, three quarters in the second, then whole."""
    risk = risk_row(100 * SOL, tier_since_ms=NOW_MS - int(hours * 3_600_000))
    assert approved(risk=risk).amount_in == int(2 * SOL * share)


@pytest.mark.parametrize("tier", Tier)
def test_no_tier_stops_an_exit(tier):
    """A position can always be left, whole."""
    order = approved(EXIT, risk=risk_row(tier=tier, equity=0))
    assert order.amount_in == 1000
    assert (order.reserve_quote, order.position_id) == (0, "p1")


def test_an_exit_sells_exactly_what_is_left():
    """After a partial sale only the rest is sold."""
    assert approved(EXIT, position=position(bought=1000, sold=300)).amount_in == 700


def test_exits_that_slipped_accept_more_slippage_and_fee_up_to_their_caps():
    """Doubled with every slip; capped at 15 % and ten times the fee, however often it failed."""
    orders = [approved(EXIT, position=position(exit_slips=n)) for n in (0, 1, 2, 3, 4, 60)]
    assert [o.max_slippage_bps for o in orders] == [100, 200, 400, 800, EXIT_SLIPPAGE_CAP_BPS, EXIT_SLIPPAGE_CAP_BPS]
    fee = 1_000_000
    caps = [fee, 2 * fee, 4 * fee, 8 * fee, EXIT_FEE_CAP_FACTOR * fee, EXIT_FEE_CAP_FACTOR * fee]
    assert [o.max_priority_fee_lamports for o in orders] == caps
    assert orders[-1].reserve_lamports == 5_000 + caps[-1] + TOKEN_ACCOUNT_RENT_LAMPORTS


def test_exits_that_expired_or_were_given_up_offer_no_more():
    """A busy chain or a drain is no reason to sell for less."""
    first, many = (approved(EXIT, position=position(exit_failures=n)) for n in (0, 9))
    assert many.max_slippage_bps == first.max_slippage_bps
    assert many.max_priority_fee_lamports == first.max_priority_fee_lamports


def test_a_manifest_s_wider_slippage_is_not_narrowed_by_the_cap():
    """A person who allows 30 % gets 30 %, never more."""
    wide = replace(LIMITS, max_slippage_bps=3000)
    assert [approved(EXIT, limits=wide, position=position(exit_slips=n)).max_slippage_bps for n in (0, 5)] == [3000] * 2


@pytest.mark.parametrize("price", [nan, inf, 0.0, -1.0])
def test_an_entry_without_a_usable_price_is_refused_but_an_exit_is_not(price):
    """Buying at a price that cannot be is never right; leaving does not depend on our price."""
    assert refusal(price=price) == "BadPrice"
    assert refusal(replace(ENTRY, price=price), price=2e-7) == "BadPrice"
    assert approved(EXIT, price=price).amount_in == 1000


def test_an_entry_whose_price_ran_away_is_refused():
    """The signal was about another price: more than the slippage limit above it, there is no entry."""
    assert approved(price=2e-7 * 1.0099)
    assert refusal(price=2e-7 * 1.0101) == "PriceMoved"


def test_dust_is_refused():
    """Below 0.001 SOL or 0.1 USDC fees eat the trade; a handful of base units loses more to rounding."""
    assert (dust_quote(9), dust_quote(6)) == (1_000_000, 100_000)
    small = replace(LIMITS, max_position_quote=999_999)
    assert refusal(limits=small) == "Dust"
    refused = ask(limits=replace(LIMITS, max_position_quote=7), quote=money.USDC)
    assert refused == Refused("Dust", "0.000007 USDC < 0.1 USDC, the least that is worth its fees")
    assert approved(limits=replace(LIMITS, max_position_quote=1_000_000)).amount_in == 1_000_000
    coin = replace(TOKEN, decimals=0)
    assert refusal(token=coin, price=0.021, signal=replace(ENTRY, price=0.021)) == "Dust"
    assert approved(token=coin, price=0.019, signal=replace(ENTRY, price=0.019)).amount_in == 2 * SOL


def test_an_entry_never_exceeds_the_strategy_s_limit():
    """A position limit above the strategy's would be a contradiction; the smaller one holds."""
    refused = ask(limits=replace(LIMITS, max_strategy_quote=SOL))
    assert refused == Refused("NotionalTooLarge", "2 SOL > limit 1 SOL")
    refused = ask(limits=replace(LIMITS, max_strategy_quote=SOL), quote=money.USDC)
    assert refused == Refused("NotionalTooLarge", "2000 USDC > limit 1000 USDC")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"position": None}, "PositionGone"),
        ({"position": position(id_="other")}, "PositionGone"),
        ({"position": replace(position(), mint="Elsewhere")}, "WrongToken"),
        ({"position": position(state=PositionState.PENDING)}, "NothingHeld"),
        ({"position": position(state=PositionState.CLOSED)}, "NothingHeld"),
        ({"position": position(sold=1000)}, "NothingHeld"),
        ({"position": position(exit_open=True)}, "ExitOpen"),
    ],
)
def test_an_exit_is_refused_only_if_there_is_nothing_to_sell_now(changes, reason):
    """Not open, not held, or already on its way."""
    assert refusal(EXIT, **changes) == reason


def test_a_signal_of_the_wrong_side_or_token_is_refused():
    """Entries buy, exits sell, and the token is the signal's."""
    assert refusal(replace(ENTRY, side=Side.SELL)) == "WrongSide"
    assert refusal(replace(EXIT, side=Side.BUY)) == "WrongSide"
    assert refusal(token=replace(TOKEN, mint="Elsewhere")) == "WrongToken"


@pytest.mark.parametrize(
    ("percent", "expected"), [(2, 20_000), (0.1, 1_000), (2.5, 25_000), (33.3333, 333_333), (100, 10**6)]
)
def test_percentages_are_exact(percent, expected):
    """0.1 % of 1,000 SOL is 1 SOL, not a lamport less."""
    assert ppm(percent) == expected


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_s_numbers_are_in_order(name):
    """Warning below halt below emergency; a position below a strategy."""
    p = PROFILES[name]
    assert p.drawdown_warning_percent < p.drawdown_halt_percent < p.drawdown_emergency_percent
    assert p.daily_loss_warning_percent < p.daily_loss_halt_percent
    assert p.max_position_percent < p.max_strategy_percent


def test_the_settings_defaults_are_the_balanced_profile():
    """A manifest that says nothing trades Balanced, in the engine as in the operator."""
    p, risk = PROFILES["Balanced"], RiskSettings()
    assert (risk.max_position_percent, risk.max_strategy_percent) == (p.max_position_percent, p.max_strategy_percent)
    assert risk.drawdown.warning_percent == p.drawdown_warning_percent
    assert risk.drawdown.halt_percent == p.drawdown_halt_percent
    assert risk.drawdown.emergency_percent == p.drawdown_emergency_percent
    assert risk.daily_loss.warning_percent == p.daily_loss_warning_percent
    assert risk.daily_loss.halt_percent == p.daily_loss_halt_percent
    assert ExecutionSettings().max_slippage_bps == p.max_slippage_bps
