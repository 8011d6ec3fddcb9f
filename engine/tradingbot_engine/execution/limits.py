"""Is this quote good enough to sign? Pure; asked before every attempt, also after a requote."""

from __future__ import annotations

from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.domain.units import BPS_ONE, Bps
from tradingbot_engine.execution.port import Quote, QuoteRefused, QuoteUnavailable


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
