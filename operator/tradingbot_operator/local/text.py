"""Numbers as an operator reads them."""

from datetime import UTC, datetime
from typing import Any

DECIMALS = {"SOL": 9, "USDC": 6}
MOST_DECIMALS = 18


def amount(base_units: Any, quote: str) -> str:
    """Return an amount in SOL or USDC with its unit, from lamports or millionths."""
    if not isinstance(base_units, int):
        return "–"
    return f"{base_units / 10 ** DECIMALS.get(quote, 9):,.4f} {quote}"


def token_amount(base_units: Any, decimals: Any) -> str:
    """Return an amount of a token as people write it; in base units, and said so, while the decimals are not known."""
    if not isinstance(base_units, int) or isinstance(base_units, bool):
        return "–"
    if not isinstance(decimals, int) or not 0 <= decimals <= MOST_DECIMALS:
        return f"{base_units:,} base units"
    whole = base_units / 10**decimals
    text = f"{whole:,.4f}" if abs(whole) >= 1 else f"{whole:.{min(decimals, MOST_DECIMALS)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def signed(base_units: Any, quote: str) -> str:
    """Return a profit or loss with its sign."""
    if not isinstance(base_units, int):
        return "–"
    return f"{base_units / 10 ** DECIMALS.get(quote, 9):+,.4f}"


def clock(ms: Any) -> str:
    """Return milliseconds since 1970 as date and time, UTC."""
    if not isinstance(ms, int | float) or ms <= 0 or ms > 4e12:
        return "–"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def lasting(seconds: float) -> str:
    """Return a duration: 42 s, 3 min 5 s, 2 h 4 min."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def price(value: Any) -> str:
    """Return a price with six significant digits."""
    return f"{value:.6g}" if isinstance(value, int | float) else "–"


def whole(value: Any, unit: str = "") -> str:
    """Return a number without fraction, or a dash."""
    return f"{value:,.0f}{unit}" if isinstance(value, int | float) and not isinstance(value, bool) else "–"
