"""What a swap would give: asked of the swap API, measured against the market's own price. Live and paper ask the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.domain.signals import Side
from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT, Mint
from tradingbot_engine.execution.limits import check_fair
from tradingbot_engine.execution.port import Quote
from tradingbot_engine.execution.programs import QUOTE_DECIMALS
from tradingbot_engine.execution.swap import SwapApi
from tradingbot_engine.settings import EngineSettings


class Quoter:
    """
    Quotes intents; holds nothing about any.

    Args:
        decimals: Of every token that may be traded, from the chain; with them each quote is measured against the price of
            the decision (`limits.check_fair`). None: no quote is.
        fair_price: The feed's current price of a token, in quote currency per token; None while it has no fresh one.
    """

    def __init__(
        self,
        *,
        swap: SwapApi,
        settings: EngineSettings,
        decimals: Mapping[Mint, int] | None,
        fair_price: Callable[[Mint], float | None] | None,
    ) -> None:
        self._swap, self._decimals, self._fair_price = swap, decimals, fair_price
        self._wallet = settings.wallet.address
        self._max_price_impact_bps = settings.execution.max_price_impact_bps
        self.quote_mint: Mint = SOL_MINT if settings.market.quote == "SOL" else USDC_MINT

    def mints(self, intent: OrderIntent) -> tuple[Mint, Mint]:
        """Return what the intent spends and what it gets."""
        buying = intent.side is Side.BUY
        return (self.quote_mint, intent.mint) if buying else (intent.mint, self.quote_mint)

    async def quote(self, intent: OrderIntent, *, max_accounts: int | None = None) -> Quote:
        """
        Return what the swap API offers.

        Raises:
            QuoteUnavailable: Not now.
            QuoteRefused: The offer is far from the market's price.
        """
        input_mint, output_mint = self.mints(intent)
        quote = await self._swap.quote(
            intent_id=intent.id,
            input_mint=input_mint,
            output_mint=output_mint,
            amount=intent.amount_in,
            slippage_bps=intent.max_slippage_bps,
            taker=self._wallet,
            max_accounts=max_accounts,
        )
        if self._decimals is not None:
            check_fair(
                intent,
                quote,
                price_now=None if self._fair_price is None else self._fair_price(intent.mint),
                base_decimals=self._decimals.get(intent.mint),
                quote_decimals=QUOTE_DECIMALS[self.quote_mint],
                max_price_impact_bps=self._max_price_impact_bps,
            )
        return quote
