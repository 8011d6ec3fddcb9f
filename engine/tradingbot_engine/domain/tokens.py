"""A token that the bot may trade."""

from __future__ import annotations

from dataclasses import dataclass

from tradingbot_engine.domain.units import Mint


@dataclass(frozen=True, slots=True)
class Token:
    """An SPL token: `decimals` says how many base units one token has (10^decimals)."""

    mint: Mint
    symbol: str
    decimals: int
