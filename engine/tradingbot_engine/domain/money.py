"""The currencies that a bot may trade in, and how people read their amounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT, Mint, QuoteUnits


@dataclass(frozen=True, slots=True)
class Currency:
    """What prices are quoted and results are counted in."""

    name: str
    mint: Mint
    decimals: int

    def text(self, amount: QuoteUnits) -> str:
        """Return an amount for people, exactly: `0.25 SOL`."""
        whole, part = divmod(abs(amount), 10**self.decimals)
        fraction = f".{part:0{self.decimals}}".rstrip("0").rstrip(".")
        return f"{'-' if amount < 0 else ''}{whole}{fraction} {self.name}"


SOL = Currency("SOL", SOL_MINT, 9)
USDC = Currency("USDC", USDC_MINT, 6)
CURRENCIES: Mapping[str, Currency] = {currency.name: currency for currency in (SOL, USDC)}
"""By the name that settings use."""
