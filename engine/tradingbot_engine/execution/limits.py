"""Is this quote good enough to sign? Pure; asked before every attempt, also after a requote."""

from __future__ import annotations

import math
from typing import TypeGuard

from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.domain.signals import Purpose, Side
from tradingbot_engine.domain.units import BPS_ONE, Bps
from tradingbot_engine.execution.port import Quote, QuoteRefused, QuoteUnavailable

EXIT_IMPACT_FACTOR = 20
"""How many times the impact limit of entries an exit may lose: at the default limit of 1 %, a fifth of its value."""
MAX_LOSS_BPS: Bps = 9000
"""Whatever the limits add up to, nothing is sold for less than a tenth of what it is worth."""
_ROUNDING = 1e-9
"""Prices are floats: amounts of this relative difference are the same."""


def check_quote(intent: OrderIntent, quote: Quote, *, max_price_impact_bps: Bps) -> None:
    """
    Refuse a quote that breaks a limit of the intent.

    Price impact binds entries only: an exit that waits for a deeper pool may wait until the pool is empty. Its slippage
    limit still holds against the quote.

    Raises:
        QuoteUnavailable: The quote is not for this intent.
        QuoteRefused: With the limit that it breaks.
    """
    if quote.intent_id != intent.id or quote.amount_in != intent.amount_in:
        raise QuoteUnavailable("the quote is for another intent or amount")
    least = quote.amount_out * (BPS_ONE - intent.max_slippage_bps) // BPS_ONE
    if quote.min_amount_out < least:
        raise QuoteRefused(
            f"SlippageTooHigh: at least {quote.min_amount_out} of {quote.amount_out} is guaranteed, "
            f"{intent.max_slippage_bps} bps is the limit"
        )
    if intent.purpose is Purpose.ENTRY and quote.price_impact_bps > max_price_impact_bps:
        raise QuoteRefused(f"PriceImpactTooHigh: {quote.price_impact_bps} bps > limit {max_price_impact_bps} bps")


def check_fair(
    intent: OrderIntent,
    quote: Quote,
    *,
    price_now: float | None,
    base_decimals: int | None,
    quote_decimals: int,
    max_price_impact_bps: Bps,
) -> None:
    """
    Refuse a quote that gives far less than the market's own price says: the swap API's word is not the market.

    An entry may lose its slippage and the price impact limit against the price of its decision. An exit has to get out
    of a market that falls while it asks: it is measured by the lower of the decision's price and the price now, and may
    lose its own slippage, which escalates with each failed exit, and `EXIT_IMPACT_FACTOR` times the impact limit.

    Args:
        intent: Its `price` is the one at the decision, quote currency per token, in whole units.
        quote: What is offered.
        price_now: The feed's current price; None if there is none that is fresh.
        base_decimals: The token's; None if unknown: then no entry is made, and an exit cannot be measured.
        quote_decimals: The quote currency's.
        max_price_impact_bps: The limit for entries.

    Raises:
        QuoteRefused: Names what was expected at least, and what was offered.
    """
    entry = intent.purpose is Purpose.ENTRY
    price = intent.price if entry or not _is_price(price_now) else min(intent.price, price_now)
    if base_decimals is None or not _is_price(price):
        if entry:
            raise QuoteRefused(f"PriceUnknown: nothing to measure a quote for {intent.mint} by")
        return
    scale = 10.0 ** (quote_decimals - base_decimals)
    fair = intent.amount_in / (price * scale) if intent.side is Side.BUY else intent.amount_in * price * scale
    impact_bps = max_price_impact_bps if entry else EXIT_IMPACT_FACTOR * max_price_impact_bps
    may_lose_bps = min(intent.max_slippage_bps + impact_bps, MAX_LOSS_BPS)
    least = math.floor(fair * (BPS_ONE - may_lose_bps) / BPS_ONE * (1 - _ROUNDING))
    if quote.amount_out < least:
        raise QuoteRefused(
            f"PriceUnfair: {quote.amount_out} offered, {least} expected at least: {fair:.0f} at a price of {price:g}, "
            f"less {may_lose_bps} bps"
        )


def _is_price(price: float | None) -> TypeGuard[float]:
    return price is not None and math.isfinite(price) and price > 0
