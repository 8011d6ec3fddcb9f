"""The world of a seed: tokens, pools, vaults, lookup tables and traders, at addresses that follow from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import BaseUnits, Bps, Slot
from tradingbot_engine.localnet.market import accounts
from tradingbot_engine.localnet.market.ports import Bank
from tradingbot_engine.localnet.market.tokens import SOL, USDC, Token
from tradingbot_engine.market.layouts import (
    TOKEN_PROGRAM_ID,
    PoolState,
    pool_authority,
    token_amount,
)

TRADERS = 6
TRADER_DEPTH = 300
"""Each trader holds so many times what the deepest vault of a mint holds at birth: they never run dry."""
TRADER_LAMPORTS = 10**15
ASSOCIATED_TOKEN_PROGRAM_ID = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")


def derived_key(*parts: object) -> Keypair:
    """Return the key pair that follows from `parts`: the same for the same seed, on every machine."""
    return Keypair.from_seed(hashlib.sha256("/".join(map(str, ("tradingbot localnet", *parts))).encode()).digest())


@dataclass(frozen=True)
class Pool:
    """A pool of `base` (the token) priced in `quote`; everything but its reserves, which only the bank knows."""

    address: Pubkey
    base: Token
    quote: Token
    fee_bps: Bps
    opening_base: BaseUnits
    opening_quote: BaseUnits
    creator: Pubkey
    lookup_table: Pubkey

    @cached_property
    def name(self) -> str:
        """The address as text."""
        return str(self.address)

    @cached_property
    def authority(self) -> Pubkey:
        return pool_authority(self.address)[0]

    @cached_property
    def vault_base(self) -> Pubkey:
        return accounts.associated(self.authority, self.base.mint)

    @cached_property
    def vault_quote(self) -> Pubkey:
        return accounts.associated(self.authority, self.quote.mint)

    @cached_property
    def state(self) -> PoolState:
        return PoolState(
            mint_a=self.base.mint,
            mint_b=self.quote.mint,
            vault_a=self.vault_base,
            vault_b=self.vault_quote,
            fee_bps=self.fee_bps,
            creator=self.creator,
            bump=pool_authority(self.address)[1],
        )

    @cached_property
    def lookup_addresses(self) -> tuple[Pubkey, ...]:
        """What a swap through this pool names, whoever the user is."""
        return (
            self.address,
            self.authority,
            self.vault_base,
            self.vault_quote,
            self.base.mint,
            self.quote.mint,
            TOKEN_PROGRAM_ID,
            accounts.SYSTEM_PROGRAM_ID,
        )

    def price_ratio(self, usd: float, quote_usd: float) -> float:
        """Return quote base units per base unit at these dollar prices of a whole token."""
        return usd / quote_usd * 10.0 ** (self.quote.decimals - self.base.decimals)


@dataclass(frozen=True)
class World:
    """All that genesis makes. Pools are in a fixed order; SOL/USDC is the first."""

    seed: int
    tokens: tuple[Token, ...]
    """What trades against SOL and USDC, in the order in which scenarios count them."""
    pools: tuple[Pool, ...]
    traders: tuple[Keypair, ...]
    creator: Keypair

    @cached_property
    def trader_keys(self) -> tuple[Pubkey, ...]:
        """Public keys of the traders: deriving one costs as much as a signature."""
        return tuple(trader.pubkey() for trader in self.traders)

    @cached_property
    def by_mint(self) -> dict[Pubkey, Token]:
        return {token.mint: token for token in (SOL, USDC, *self.tokens)}

    @cached_property
    def by_address(self) -> dict[Pubkey, Pool]:
        return {pool.address: pool for pool in self.pools}

    @cached_property
    def sol_usdc(self) -> Pool:
        return self.pools[0]

    def pools_of(self, mint: Pubkey) -> Iterator[Pool]:
        """Yield the pools in which `mint` is traded."""
        return (pool for pool in self.pools if mint in (pool.base.mint, pool.quote.mint))


def lay_out(seed: int, tokens: Sequence[Token]) -> World:
    """Return the world of a seed; pure, so a restarted localnet finds its pools and traders again."""
    creator = derived_key(seed, "creator")

    def pool(base: Token, quote: Token, side_usd: float, fee_bps: Bps) -> Pool:
        return Pool(
            address=derived_key(seed, "pool", base.mint, quote.mint).pubkey(),
            base=base,
            quote=quote,
            fee_bps=fee_bps,
            opening_base=round(side_usd / base.opening_usd * base.unit),
            opening_quote=round(side_usd / quote.opening_usd * quote.unit),
            creator=creator.pubkey(),
            lookup_table=derived_key(seed, "lookup table", base.mint, quote.mint).pubkey(),
        )

    pools = [pool(SOL, USDC, 5_000_000, 4)]
    for token in tokens:
        side_usd, fee_bps = (2_000_000, 1) if token.stable else (400_000, 25)
        pools += [pool(token, SOL, side_usd, max(4, fee_bps)), pool(token, USDC, side_usd, fee_bps)]
    traders = tuple(derived_key(seed, "trader", number) for number in range(TRADERS))
    return World(seed, tuple(tokens), tuple(pools), traders, creator)


def reserves(bank: Bank, pool: Pool, slot: Slot | None = None) -> tuple[BaseUnits, BaseUnits]:
    """Return what the pool's vaults hold, (base, quote); (0, 0) where it does not exist at `slot`."""
    base, quote = bank.account(pool.vault_base, slot), bank.account(pool.vault_quote, slot)
    if base is None or quote is None:
        return 0, 0
    return token_amount(bytes(base.data)), token_amount(bytes(quote.data))
