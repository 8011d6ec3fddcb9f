"""
Signal → order: sized and bounded, or refused with a reason.

Only this module makes an `OrderIntent`, so nothing can be sent that did not pass here. Limits that hold over all trades of
the bot (exposure, open intents, wallet money, fresh marks, one open exit) are checked again where the intent is claimed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from tradingbot_engine.core.ids import intent_id
from tradingbot_engine.core.risk.limits import RiskLimits, share
from tradingbot_engine.core.risk.tiers import size_ppm
from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.domain.money import SOL, Currency
from tradingbot_engine.domain.portfolio import Position, PositionState, RiskState, Tier
from tradingbot_engine.domain.signals import Purpose, Side, Signal
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import BPS_ONE, Lamports, QuoteUnits, UnixMs

BASE_FEE_LAMPORTS: Lamports = 5_000
"""One signature."""
TOKEN_ACCOUNT_RENT_LAMPORTS: Lamports = 2_039_280
"""Rent of one SPL token account, of 165 bytes."""
GUARD_RENT_LAMPORTS: Lamports = 890_880
"""Rent of one account without data."""
ENTRY_ATTEMPTS_PAID = 1
"""An attempt that failed on chain ends its intent and one that expired costs nothing, so at most one is paid for."""
MIN_BASE_UNITS_OUT = 100
"""A purchase of fewer base units would lose more than 1 % to rounding alone."""


@dataclass(frozen=True, slots=True)
class Refused:
    """`reason` (CamelCase) for machines, `message` for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class _Proposal:
    """What the checks look at; `size` is quote base units for an entry, token base units for an exit."""

    signal: Signal
    risk: RiskState
    limits: RiskLimits
    token: Token
    quote: Currency
    position: Position | None
    price: float
    size: int


def approve(
    signal: Signal,
    *,
    bot_id: str,
    risk: RiskState,
    limits: RiskLimits,
    token: Token,
    quote: Currency,
    position: Position | None,
    price: float,
    now_ms: UnixMs,
) -> OrderIntent | Refused:
    """
    Return the order that `signal` becomes, or why it becomes none.

    Args:
        bot_id: 32 hexadecimal characters.
        risk: The bot's risk row; its tier scales or stops entries.
        limits: For the row's capital.
        token: Of the signal's mint.
        quote: What the bot trades in.
        position: The one that an exit closes, as the ledger has it; not looked at for entries.
        price: Newest price in quote per token, whole units.
        now_ms: Wall time.

    Entries spend at most `limits.max_position_quote`, scaled down by `tiers.size_ppm`. Exits sell all that is held and are
    not refused for limits; with each one that the price ran away from they accept more slippage and offer a higher fee, up to
    stated caps. Exits that expired or were given up say nothing about the price, and move neither.
    """
    entry = signal.purpose is Purpose.ENTRY
    if entry:
        size = share(limits.max_position_quote, size_ppm(risk, at_ms=now_ms))
    else:
        size = position.held if position is not None else 0
    proposal = _Proposal(signal, risk, limits, token, quote, position, price, size)
    for check in ENTRY_CHECKS if entry else EXIT_CHECKS:
        refusal = check(proposal)
        if refusal is not None:
            return refusal

    own_id = intent_id(bot_id, signal)
    slips = position.exit_slips if position is not None and not entry else 0
    fee = limits.max_priority_fee_lamports if entry else limits.exit_fee_lamports(slips)
    return OrderIntent(
        id=own_id,
        strategy=signal.strategy,
        mint=signal.mint,
        side=signal.side,
        purpose=signal.purpose,
        priority=signal.priority,
        position_id=own_id if entry else signal.position_id or own_id,
        amount_in=size,
        reserve_quote=size if entry else 0,
        reserve_lamports=reserve_lamports(entry=entry, sol_quoted=quote == SOL, priority_fee=fee, guard=limits.guard),
        max_slippage_bps=limits.max_slippage_bps if entry else limits.exit_slippage_bps(slips),
        max_priority_fee_lamports=fee,
        signal_at_ms=signal.at_ms,
        created_at_ms=now_ms,
        price=price,
        reason=signal.reason,
    )


def reserve_lamports(*, entry: bool, sol_quoted: bool, priority_fee: Lamports, guard: bool) -> Lamports:
    """
    Return what one trade may take from the wallet besides its size: fees, and rent of accounts that it may have to make.

    An entry may make the token's account. With SOL as quote every swap wraps through a temporary account; with USDC an
    exit may have to make the USDC account anew.
    """
    accounts = (1 if entry else 0) + (1 if sol_quoted or not entry else 0)
    rent = accounts * TOKEN_ACCOUNT_RENT_LAMPORTS + (GUARD_RENT_LAMPORTS if guard else 0)
    return ENTRY_ATTEMPTS_PAID * (BASE_FEE_LAMPORTS + priority_fee) + rent


def dust_quote(quote_decimals: int) -> QuoteUnits:
    """Return the smallest order worth its fees: 0.001 SOL, or 0.1 USDC."""
    return int(10 ** (quote_decimals - 3 if quote_decimals >= 9 else quote_decimals - 1))


def _wrong_side(p: _Proposal) -> Refused | None:
    wanted = Side.BUY if p.signal.purpose is Purpose.ENTRY else Side.SELL
    if p.signal.side is not wanted:
        return Refused(
            "WrongSide", f"an {p.signal.purpose.value.lower()} must {wanted.value}: tokens cannot be sold short"
        )
    return None


def _wrong_token(p: _Proposal) -> Refused | None:
    if p.token.mint != p.signal.mint or (p.position is not None and p.position.mint != p.signal.mint):
        return Refused("WrongToken", f"the signal is about {p.signal.mint}, the token or position is not")
    return None


def _tier_forbids_entries(p: _Proposal) -> Refused | None:
    if p.risk.tier in (Tier.HALT, Tier.EMERGENCY):
        return Refused("Halted", f"tier {p.risk.tier.value}: {p.risk.tier_reason or 'no new positions'}")
    return None


def _price_is_unusable(p: _Proposal) -> Refused | None:
    if not (0.0 < p.price < inf and 0.0 < p.signal.price < inf):
        return Refused("BadPrice", f"price {p.price!r} (at the signal {p.signal.price!r}) is not positive and finite")
    return None


def _price_ran_away(p: _Proposal) -> Refused | None:
    most = p.signal.price * (1 + p.limits.max_slippage_bps / BPS_ONE)
    if p.price > most:
        return Refused(
            "PriceMoved", f"price {p.price:g} is above {most:g}, the signal's plus {p.limits.max_slippage_bps} bps"
        )
    return None


def _size_is_dust(p: _Proposal) -> Refused | None:
    least, amount = dust_quote(p.quote.decimals), p.quote.text(p.size)
    if p.size < least:
        return Refused("Dust", f"{amount} < {p.quote.text(least)}, the least that is worth its fees")
    tokens = p.size / 10**p.quote.decimals / p.price * 10**p.token.decimals
    if tokens < MIN_BASE_UNITS_OUT:
        return Refused("Dust", f"{amount} buys {tokens:.1f} base units, fewer than {MIN_BASE_UNITS_OUT}")
    return None


def _size_exceeds_limit(p: _Proposal) -> Refused | None:
    if p.size > min(p.limits.max_position_quote, p.limits.max_strategy_quote):
        most = min(p.limits.max_position_quote, p.limits.max_strategy_quote)
        return Refused("NotionalTooLarge", f"{p.quote.text(p.size)} > limit {p.quote.text(most)}")
    return None


def _position_is_gone(p: _Proposal) -> Refused | None:
    if p.position is None or p.position.id != p.signal.position_id:
        return Refused("PositionGone", f"position {p.signal.position_id} is not open any more")
    return None


def _position_cannot_be_sold(p: _Proposal) -> Refused | None:
    if p.position is not None and (p.position.state is not PositionState.OPEN or p.position.held <= 0):
        return Refused(
            "NothingHeld", f"position {p.position.id} is {p.position.state.value} with {p.position.held} base units"
        )
    return None


def _exit_is_open(p: _Proposal) -> Refused | None:
    if p.position is not None and p.position.exit_open:
        return Refused("ExitOpen", f"an exit of position {p.position.id} is under way")
    return None


_Check = Callable[[_Proposal], Refused | None]
ENTRY_CHECKS: tuple[_Check, ...] = (
    _wrong_side,
    _wrong_token,
    _tier_forbids_entries,
    _price_is_unusable,
    _price_ran_away,
    _size_is_dust,
    _size_exceeds_limit,
)
"""In this order; the first refusal wins."""
EXIT_CHECKS: tuple[_Check, ...] = (
    _wrong_side,
    _position_is_gone,
    _wrong_token,
    _position_cannot_be_sold,
    _exit_is_open,
)
"""In this order; the first refusal wins. No limit of risk is among them: a position can always be left."""
