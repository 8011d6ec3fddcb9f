"""The pool program's arithmetic in integers: what `swap` in program/pool.c computes, and what quotes are made of."""

from __future__ import annotations

from math import isqrt

from tradingbot_engine.domain.units import BPS_ONE, BaseUnits, Bps

U64_MAX = 2**64 - 1


def amount_out(amount_in: BaseUnits, reserve_in: BaseUnits, reserve_out: BaseUnits, fee_bps: Bps) -> BaseUnits | None:
    """
    Return what a swap of `amount_in` gives, rounded down.

    None where the program refuses the amount: nothing goes in or comes out, a reserve is empty, or a number would pass 64 bits.
    """
    net = amount_in * (BPS_ONE - fee_bps) // BPS_ONE
    if net <= 0 or reserve_in <= 0 or reserve_out <= 0 or amount_in > U64_MAX - reserve_in:
        return None
    return net * reserve_out // (reserve_in + net) or None


def amount_in(out: BaseUnits, reserve_in: BaseUnits, reserve_out: BaseUnits, fee_bps: Bps) -> BaseUnits | None:
    """Return the least amount that buys at least `out`; None where the pool cannot give that much."""
    if out <= 0 or out >= reserve_out or reserve_in <= 0:
        return None
    net = -(-reserve_in * out // (reserve_out - out))
    gross = -(-net * BPS_ONE // (BPS_ONE - fee_bps))
    return gross if gross <= U64_MAX - reserve_in else None


def price(base_reserve: BaseUnits, quote_reserve: BaseUnits, base_decimals: int, quote_decimals: int) -> float:
    """Return the pool's price in whole units of quote per whole unit of base, before fee and impact."""
    return quote_reserve / base_reserve * 10.0 ** (base_decimals - quote_decimals)


def trade_to(
    target_quote: BaseUnits, base_reserve: BaseUnits, quote_reserve: BaseUnits, fee_bps: Bps
) -> tuple[BaseUnits, BaseUnits]:
    """
    Return (quote to pay, base to pay), one of them 0, that moves the quote reserve to about `target_quote`.

    The product of the reserves stays what it is but for the fee, so the quote reserve alone says where the price goes.
    """
    if target_quote >= quote_reserve:
        return target_quote - quote_reserve, 0
    net = base_reserve * quote_reserve // max(1, target_quote) - base_reserve
    return 0, net * BPS_ONE // (BPS_ONE - fee_bps)


def quote_reserve_at(price_ratio: float, base_reserve: BaseUnits, quote_reserve: BaseUnits) -> BaseUnits:
    """Return the quote reserve at which quote base units per base unit are `price_ratio`, the product being kept."""
    return int(isqrt(base_reserve * quote_reserve) * price_ratio**0.5)
