"""Which pools a swap goes through, and what it gives: the best of all routes of up to two hops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import BaseUnits
from tradingbot_engine.localnet.market import amm
from tradingbot_engine.localnet.market.accounts import associated
from tradingbot_engine.localnet.market.instructions import HopAccounts
from tradingbot_engine.localnet.market.world import Pool, World

SECOND_HOP_COST = 0.005
"""By this share a route of two hops must be better than a direct one: it needs more accounts, and more can change under way."""

Reserves = Callable[[Pool], tuple[BaseUnits, BaseUnits]]
"""(base, quote) of a pool in the view that is quoted from."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One pool on the way: what goes in, what comes out, and what the price alone would have given."""

    pool: Pool
    sells_base: bool
    amount_in: BaseUnits
    amount_out: BaseUnits
    fee: BaseUnits
    """Part of `amount_in` that the pool keeps as its fee."""
    at_spot: float
    """Output without fee and impact, in base units."""

    @property
    def mint_in(self) -> Pubkey:
        return self.pool.base.mint if self.sells_base else self.pool.quote.mint

    @property
    def mint_out(self) -> Pubkey:
        return self.pool.quote.mint if self.sells_base else self.pool.base.mint


@dataclass(frozen=True, slots=True)
class Route:
    """One or two hops, in order."""

    hops: tuple[Hop, ...]

    @property
    def amount_in(self) -> BaseUnits:
        return self.hops[0].amount_in

    @property
    def amount_out(self) -> BaseUnits:
        return self.hops[-1].amount_out

    @property
    def impact(self) -> float:
        """Share of the price that the size of the swap costs, fees not counted."""
        kept = 1.0
        for hop in self.hops:
            after_fee = hop.at_spot * (1 - hop.pool.fee_bps / 10_000)
            kept *= min(1.0, hop.amount_out / after_fee) if after_fee else 1.0
        return 1 - kept

    def accounts(self, user: Pubkey) -> list[HopAccounts]:
        """Return what each hop touches when `user` swaps between associated accounts."""
        return [hop_accounts(hop.pool, sells_base=hop.sells_base, user=user) for hop in self.hops]


def hop_accounts(pool: Pool, *, sells_base: bool, user: Pubkey) -> HopAccounts:
    """Return what one hop through `pool` touches."""
    vaults = (pool.vault_base, pool.vault_quote) if sells_base else (pool.vault_quote, pool.vault_base)
    mint_out = pool.quote.mint if sells_base else pool.base.mint
    return HopAccounts(pool.address, pool.authority, *vaults, associated(user, mint_out))


def _ways(world: World, mint_in: Pubkey, mint_out: Pubkey) -> Iterator[tuple[tuple[Pool, bool], ...]]:
    for pool in world.pools_of(mint_in):
        sells_base = pool.base.mint == mint_in
        between = pool.quote.mint if sells_base else pool.base.mint
        if between == mint_out:
            yield ((pool, sells_base),)
            continue
        for second in world.pools_of(between):
            second_sells_base = second.base.mint == between
            if (second.quote.mint if second_sells_base else second.base.mint) == mint_out and second is not pool:
                yield ((pool, sells_base), (second, second_sells_base))


def _hop(pool: Pool, sells_base: bool, amount: BaseUnits, reserves: Reserves) -> Hop | None:
    base, quote = reserves(pool)
    reserve_in, reserve_out = (base, quote) if sells_base else (quote, base)
    out = amm.amount_out(amount, reserve_in, reserve_out, pool.fee_bps)
    if out is None:
        return None
    fee = amount - amount * (10_000 - pool.fee_bps) // 10_000
    return Hop(pool, sells_base, amount, out, fee, amount * reserve_out / reserve_in)


def best_exact_in(
    world: World, reserves: Reserves, *, mint_in: Pubkey, mint_out: Pubkey, amount: BaseUnits, direct_only: bool = False
) -> Route | None:
    """Return the route that gives most for `amount`, a second hop being worth its cost; None where no pool gives anything."""
    best: Route | None = None
    most = 0.0
    for way in _ways(world, mint_in, mint_out):
        if direct_only and len(way) > 1:
            continue
        hops = _hops(way, amount, reserves)
        worth = hops[-1].amount_out * (1 - SECOND_HOP_COST * (len(way) - 1)) if hops is not None else 0.0
        if hops is not None and (best is None or worth > most):
            best, most = Route(hops), worth
    return best


def best_exact_out(
    world: World, reserves: Reserves, *, mint_in: Pubkey, mint_out: Pubkey, amount: BaseUnits, direct_only: bool = False
) -> Route | None:
    """
    Return the route that gives at least `amount` for least, a second hop being worth its cost; None where no pool has it.

    Its hops give what the program will: as base units of the input cannot be divided, that may be a little more.
    """
    best: Route | None = None
    least = 0.0
    for way in _ways(world, mint_in, mint_out):
        if direct_only and len(way) > 1:
            continue
        wanted: BaseUnits | None = amount
        for pool, sells_base in reversed(way):
            base, quote = reserves(pool)
            sides = (base, quote) if sells_base else (quote, base)
            wanted = amm.amount_in(wanted, *sides, pool.fee_bps) if wanted is not None else None
        hops = _hops(way, wanted, reserves) if wanted is not None else None
        cost = (wanted or 0) * (1 + SECOND_HOP_COST * (len(way) - 1))
        if hops is not None and (best is None or cost < least):
            best, least = Route(hops), cost
    return best


def _hops(way: Sequence[tuple[Pool, bool]], spend: BaseUnits, reserves: Reserves) -> tuple[Hop, ...] | None:
    """Return the hops of a way that starts with `spend`; None where a pool gives nothing."""
    hops: list[Hop] = []
    for pool, sells_base in way:
        hop = _hop(pool, sells_base, spend, reserves)
        if hop is None:
            return None
        hops.append(hop)
        spend = hop.amount_out
    return tuple(hops)


def route_through(world: World, reserves: Reserves, pools: list[Pubkey], mint_in: Pubkey, amount: BaseUnits) -> Route:
    """
    Return the route through given pools, as a quote's `routePlan` names them.

    Raises:
        ValueError: A pool that is not of this world, or that does not trade what the hop before it gives.
    """
    hops: list[Hop] = []
    for address in pools:
        pool = world.by_address.get(address)
        if pool is None or mint_in not in (pool.base.mint, pool.quote.mint):
            raise ValueError(f"AMM was not found, amm_key: {address}")
        hop = _hop(pool, pool.base.mint == mint_in, amount, reserves)
        if hop is None:
            raise ValueError(f"amm_key {address}: no liquidity for the amount")
        hops.append(hop)
        mint_in, amount = hop.mint_out, hop.amount_out
    if not hops or any(left.mint_out != right.mint_in for left, right in pairwise(hops)):
        raise ValueError("routePlan is empty")
    return Route(tuple(hops))
