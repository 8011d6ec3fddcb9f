"""Genesis: mints, pools, vaults, lookup tables and the traders' accounts, at addresses that follow from the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import BaseUnits, Bps, Slot
from tradingbot_engine.localnet.market import accounts
from tradingbot_engine.localnet.market.ports import Bank
from tradingbot_engine.localnet.market.tokens import SOL, USDC, Token
from tradingbot_engine.localnet.program import pool_elf
from tradingbot_engine.market.layouts import (
    POOL_PROGRAM_ID,
    POOL_SIZE,
    TOKEN_PROGRAM_ID,
    PoolState,
    encode_pool,
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


def write_genesis(world: World, bank: Bank) -> None:
    """Put the program and every account of `world` into the bank; mints may be minted by the faucet's key."""
    bank.add_program(POOL_PROGRAM_ID, pool_elf())
    issued: dict[Pubkey, BaseUnits] = {}

    def hold(owner: Pubkey, token: Token, amount: BaseUnits) -> None:
        issued[token.mint] = issued.get(token.mint, 0) + amount
        account = accounts.token_account(
            rent=bank.rent(165), mint=token.mint, owner=owner, amount=amount, native=token == SOL
        )
        bank.set_account(accounts.associated(owner, token.mint), account)

    deepest: dict[Token, BaseUnits] = {}
    for pool in world.pools:
        hold(pool.authority, pool.base, pool.opening_base)
        hold(pool.authority, pool.quote, pool.opening_quote)
        bank.set_account(
            pool.address, Account(bank.rent(POOL_SIZE), encode_pool(pool.state), POOL_PROGRAM_ID, False, 0)
        )
        size = accounts.lookup_table_size(len(pool.lookup_addresses))
        table = accounts.lookup_table(
            rent=bank.rent(size),
            authority=pool.creator,
            addresses=pool.lookup_addresses,
            last_extended_slot=max(0, bank.slot - 1),  # addresses count from the slot after their extension
        )
        bank.set_account(pool.lookup_table, table)
        for token, amount in ((pool.base, pool.opening_base), (pool.quote, pool.opening_quote)):
            deepest[token] = max(deepest.get(token, 0), amount)
    for trader in (*world.traders, world.creator):
        bank.set_account(trader.pubkey(), Account(TRADER_LAMPORTS, b"", accounts.SYSTEM_PROGRAM_ID, False, 0))
        for token, amount in deepest.items():
            hold(trader.pubkey(), token, amount * TRADER_DEPTH)
    for token in world.by_mint.values():
        authority = None if token == SOL else bank.faucet.pubkey()
        supply = 0 if token == SOL else issued[token.mint]  # the native mint's supply is always shown as 0
        bank.set_account(
            token.mint, accounts.mint(rent=bank.rent(82), decimals=token.decimals, supply=supply, authority=authority)
        )


def reserves(bank: Bank, pool: Pool, slot: Slot | None = None) -> tuple[BaseUnits, BaseUnits]:
    """Return what the pool's vaults hold, (base, quote); (0, 0) where it does not exist at `slot`."""
    base, quote = bank.account(pool.vault_base, slot), bank.account(pool.vault_quote, slot)
    if base is None or quote is None:
        return 0, 0
    return token_amount(bytes(base.data)), token_amount(bytes(quote.data))
