"""What is written into the bank without a transaction: the world at its birth, and tokens that are listed later."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping

from solders.account import Account
from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import BaseUnits, QuoteUnits
from tradingbot_engine.localnet.market import accounts
from tradingbot_engine.localnet.market.ports import Bank
from tradingbot_engine.localnet.market.tokens import SOL, BadToken, Token
from tradingbot_engine.localnet.market.world import TRADER_DEPTH, TRADER_LAMPORTS, Pool, World
from tradingbot_engine.market.layouts import POOL_PROGRAM_ID, POOL_SIZE, encode_pool

_SUPPLY_AT = 36
"""Offset of the supply in a mint's data."""


def write_genesis(world: World, bank: Bank) -> None:
    """Put every account of `world` into the bank; mints may be minted by the faucet's key."""
    writer = _Writer(world, bank)
    for pool in world.pools:
        writer.open_pool(pool, pool.opening_base, pool.opening_quote)
    for trader in (*world.traders, world.creator):
        bank.set_account(trader.pubkey(), Account(TRADER_LAMPORTS, b"", accounts.SYSTEM_PROGRAM_ID, False, 0))
    writer.equip_traders(world.by_mint.values())
    for token in world.by_mint.values():
        writer.make_mint(token)


def write_listing(
    world: World,
    bank: Bank,
    tokens: Collection[Token],
    opening: Mapping[Pubkey, tuple[BaseUnits, QuoteUnits]],
) -> None:
    """
    Put tokens of `world` into a bank that was born without them, all in the present slot: they become final together.

    Nothing that exists changes but the supply of the currencies that the new vaults hold.

    Args:
        world: The world with the tokens in it.
        bank: The bank.
        tokens: What is missing.
        opening: (base, quote) reserves of each pool of those tokens, by its address.

    Raises:
        BadToken: Somebody else has an account at a token's address; nothing was written.
    """
    for token in tokens:
        if bank.account(token.mint) is not None:
            raise BadToken(
                f"token {token.mint}: this localnet has an account there already, which is not a token of its market"
            )
    writer = _Writer(world, bank)
    for pool in world.pools:
        if pool.base in tokens:
            writer.open_pool(pool, *opening[pool.address])
    writer.equip_traders(tokens)
    for token in tokens:
        writer.make_mint(token)
    for token in world.by_mint.values():
        if token not in tokens and token != SOL:
            writer.raise_supply(token)


class _Writer:
    """Writes accounts, and counts what they hold of each token: that is what was issued of it."""

    def __init__(self, world: World, bank: Bank) -> None:
        self._world, self._bank = world, bank
        self._issued: dict[Pubkey, BaseUnits] = {}
        self._deepest: dict[Token, BaseUnits] = {}

    def open_pool(self, pool: Pool, base: BaseUnits, quote: QuoteUnits) -> None:
        bank = self._bank
        self._hold(pool.authority, pool.base, base)
        self._hold(pool.authority, pool.quote, quote)
        bank.set_account(
            pool.address, Account(bank.rent(POOL_SIZE), encode_pool(pool.state), POOL_PROGRAM_ID, False, 0)
        )
        table = accounts.lookup_table(
            rent=bank.rent(accounts.lookup_table_size(len(pool.lookup_addresses))),
            authority=pool.creator,
            addresses=pool.lookup_addresses,
            last_extended_slot=max(0, bank.slot - 1),  # addresses count from the slot after their extension
        )
        bank.set_account(pool.lookup_table, table)
        for token, amount in ((pool.base, base), (pool.quote, quote)):
            self._deepest[token] = max(self._deepest.get(token, 0), amount)

    def equip_traders(self, tokens: Collection[Token]) -> None:
        """Give the traders and the creator enough of `tokens`, whose pools are open, to trade for ever."""
        for trader in (*self._world.traders, self._world.creator):
            for token in tokens:
                self._hold(trader.pubkey(), token, self._deepest[token] * TRADER_DEPTH)

    def make_mint(self, token: Token) -> None:
        authority = None if token == SOL else self._bank.faucet.pubkey()
        supply = 0 if token == SOL else self._issued[token.mint]  # the native mint's supply is always shown as 0
        account = accounts.mint(rent=self._bank.rent(82), decimals=token.decimals, supply=supply, authority=authority)
        self._bank.set_account(token.mint, account)

    def raise_supply(self, token: Token) -> None:
        """Count what new vaults hold of a token that has a mint already."""
        issued, account = self._issued.get(token.mint, 0), self._bank.account(token.mint)
        if not issued or account is None:
            return
        data = bytearray(account.data)
        (supply,) = struct.unpack_from("<Q", data, _SUPPLY_AT)
        struct.pack_into("<Q", data, _SUPPLY_AT, supply + issued)
        raised = Account(account.lamports, bytes(data), account.owner, account.executable, account.rent_epoch)
        self._bank.set_account(token.mint, raised)

    def _hold(self, owner: Pubkey, token: Token, amount: BaseUnits) -> None:
        self._issued[token.mint] = self._issued.get(token.mint, 0) + amount
        account = accounts.token_account(
            rent=self._bank.rent(165), mint=token.mint, owner=owner, amount=amount, native=token == SOL
        )
        self._bank.set_account(accounts.associated(owner, token.mint), account)
