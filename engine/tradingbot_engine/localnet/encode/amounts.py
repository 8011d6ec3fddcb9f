"""Token amounts as RPC nodes write them."""

from __future__ import annotations

from typing import Any


def ui_amount(amount: int, decimals: int) -> dict[str, Any]:
    """A `UiTokenAmount`: `amount` in base units, and the same in whole tokens as float and as exact string."""
    whole, part = divmod(amount, 10**decimals)
    digits = str(part).zfill(decimals).rstrip("0") if decimals else ""
    return {
        "uiAmount": amount / 10**decimals,
        "decimals": decimals,
        "amount": str(amount),
        "uiAmountString": f"{whole}.{digits}" if digits else str(whole),
    }
