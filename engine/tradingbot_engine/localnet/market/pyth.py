"""Prices as Pyth's Hermes streams them: feeds by their ids, integers with an exponent."""

from __future__ import annotations

import hashlib
from typing import Any

from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.localnet.market.tokens import Token

CONFIDENCE = 0.0005
"""Half the width of the interval that a publisher would give, as a share of the price."""
FEED_IDS = {
    "SOL": "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d",
    "USDC": "eaa020c61cc479712813461ce153894a96a6c00b21ed0cfc2798d1f9a9e9c94a",
    "USDT": "2b89b9dc8fdf9f34709a5b106b472f0f39bb6ca9ce04b0fd7f2e971688e2e53b",
    "BONK": "72b021217ca3fe68922a19aaf990109cb9d84e9ad004b4d2025ad6f529314419",
    "WIF": "4ca4beeca86f0d164160323817a4e42b10010a724c2217c6ee41b54cd4cc61fc",
    "JUP": "0a0408d619e9380abad35060f9192039ed5042fa6f82301d0e48bb52be830996",
    "RAY": "91568baa8beb53db23eb3fb7f22c6e8bd303d103919e19733f2bb642d3e7987a",
    "PYTH": "0bbf28e9a841a1cc788f6a361b17ca072d0ea3098a1e5df1c3922d06719579ff",
    "JTO": "b43660a5f790c69354b0729a5ef9d50d68f1df92107540210b9cccba1f947cc2",
}
"""Ids on the public network, so that configuration carries over unchanged."""


def feed_id(token: Token) -> str:
    """Return the id of a token's feed: Pyth's own where it is known, else one that follows from the mint."""
    known = FEED_IDS.get(token.symbol) if not token.is_extra else None
    return known or hashlib.sha256(f"tradingbot localnet/pyth/{token.mint}".encode()).hexdigest()


def exponent(token: Token) -> int:
    """Return the power of ten that a feed's integers count in: finer for tokens that cost less than a cent."""
    return -8 if token.opening_usd >= 0.01 else -12


def price_update(token: Token, *, usd: float, average_usd: float, at_ms: UnixMs) -> dict[str, Any]:
    """Return the message by which Hermes tells a price; `average_usd` stands for its moving average."""
    scale, expo = 10.0 ** -exponent(token), exponent(token)

    def price(value: float) -> dict[str, Any]:
        conf = max(1, round(value * CONFIDENCE * scale))
        return {"price": str(round(value * scale)), "conf": str(conf), "expo": expo, "publish_time": at_ms // 1000}

    feed = {"id": feed_id(token), "price": price(usd), "ema_price": price(average_usd)}
    return {"type": "price_update", "price_feed": feed}


def described(token: Token) -> dict[str, Any]:
    """Return one entry of Hermes' list of feeds."""
    attributes = {
        "asset_type": "Crypto",
        "base": token.symbol,
        "description": f"{token.name} / US DOLLAR",
        "quote_currency": "USD",
        "symbol": f"Crypto.{token.symbol}/USD",
    }
    return {"id": feed_id(token), "attributes": attributes}
