"""From a route to instructions, and to an unsigned transaction: setup, swap, cleanup, priority fee."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from tradingbot_engine.domain.units import Lamports
from tradingbot_engine.localnet.market import instructions
from tradingbot_engine.localnet.market.accounts import SYSTEM_PROGRAM_ID, associated
from tradingbot_engine.localnet.market.orders import Order
from tradingbot_engine.localnet.market.routes import Route
from tradingbot_engine.localnet.market.tokens import SOL
from tradingbot_engine.localnet.market.world import ASSOCIATED_TOKEN_PROGRAM_ID, Pool
from tradingbot_engine.market.layouts import TOKEN_PROGRAM_ID

UNITS_WITHOUT_LIMIT = 1_400_000
"""Compute units of a transaction that asks for the most."""
UNITS_OF_HOP = 20_000
UNITS_OF_SETUP = 20_000
"""Generous, for each account that may have to be made."""
MICRO_LAMPORTS_PER_UNIT = {"medium": 10_000, "high": 50_000, "veryHigh": 200_000}
"""Price of a compute unit by the level that a client asks for."""


@dataclass(frozen=True, slots=True)
class PriorityFee:
    """What a client asks to pay for priority: an exact sum, or a level and a cap."""

    lamports: Lamports | None = None
    level: str = "medium"
    max_lamports: Lamports | None = None

    def for_units(self, units: int) -> Lamports:
        """Return the fee for a transaction of so many compute units."""
        if self.lamports is not None:
            return self.lamports
        asked = units * MICRO_LAMPORTS_PER_UNIT[self.level] // 1_000_000
        return asked if self.max_lamports is None else min(asked, self.max_lamports)


@dataclass(frozen=True, slots=True)
class BuiltSwap:
    """A swap as instructions, and what they cost."""

    compute_budget: tuple[Instruction, ...]
    setup: tuple[Instruction, ...]
    swap: Instruction
    cleanup: Instruction | None
    pools: tuple[Pool, ...]
    units: int
    priority_fee: Lamports

    @property
    def all_instructions(self) -> list[Instruction]:
        return [*self.compute_budget, *self.setup, self.swap, *((self.cleanup,) if self.cleanup else ())]


def create_account_idempotent(payer: Pubkey, owner: Pubkey, mint: Pubkey) -> Instruction:
    """Return the instruction that makes the owner's associated token account unless it exists."""
    return Instruction(
        ASSOCIATED_TOKEN_PROGRAM_ID,
        b"\1",
        [
            AccountMeta(payer, True, True),
            AccountMeta(associated(owner, mint), False, True),
            AccountMeta(owner, False, False),
            AccountMeta(mint, False, False),
            AccountMeta(SYSTEM_PROGRAM_ID, False, False),
            AccountMeta(TOKEN_PROGRAM_ID, False, False),
        ],
    )


def sync_native(account: Pubkey) -> Instruction:
    """Return the instruction that counts transferred lamports as wrapped SOL."""
    return Instruction(TOKEN_PROGRAM_ID, b"\x11", [AccountMeta(account, False, True)])


def close_account(account: Pubkey, owner: Pubkey) -> Instruction:
    """Return the instruction that closes a token account to its owner; wrapped SOL becomes SOL again."""
    metas = [AccountMeta(account, False, True), AccountMeta(owner, False, True), AccountMeta(owner, True, False)]
    return Instruction(TOKEN_PROGRAM_ID, b"\x09", metas)


def build(
    route: Route,
    *,
    user: Pubkey,
    order: Order,
    wrap_sol: bool,
    dynamic_units: bool,
    fee: PriorityFee,
    destination: Pubkey | None = None,
) -> BuiltSwap:
    """
    Return the instructions of a swap of `user` along `route`.

    Args:
        route: Pools and directions; the amounts are not looked at.
        user: Signer, payer, and owner of the accounts.
        order: What to spend or to get, and the limit beyond which it fails with 6001.
        wrap_sol: Wrap SOL that goes in, and unwrap what is wrapped in the end.
        dynamic_units: Ask for about the compute units that are used instead of the most.
        fee: Wish for priority.
        destination: Token account for what comes out, instead of the user's own.
    """
    mint_in, mint_out = route.hops[0].mint_in, route.hops[-1].mint_out
    source = associated(user, mint_in)
    hops = route.accounts(user)
    if destination is not None:
        last = hops[-1]
        hops[-1] = instructions.HopAccounts(last.pool, last.authority, last.vault_in, last.vault_out, destination)
    setup: list[Instruction] = []
    if mint_in == SOL.mint and wrap_sol:
        wrap = transfer(TransferParams(from_pubkey=user, to_pubkey=source, lamports=order.most_in))
        setup += [create_account_idempotent(user, user, mint_in), wrap, sync_native(source)]
    received = [hop.mint_out for hop in route.hops]
    for mint in received if destination is None else received[:-1]:
        setup.append(create_account_idempotent(user, user, mint))
    touched = {mint_in, *received[:-1], *({mint_out} if destination is None else ())}
    cleanup = close_account(associated(user, SOL.mint), user) if wrap_sol and SOL.mint in touched else None
    units = UNITS_OF_HOP * len(hops) + UNITS_OF_SETUP * (1 + len(setup)) if dynamic_units else UNITS_WITHOUT_LIMIT
    lamports = fee.for_units(units)
    budget = (set_compute_unit_limit(units), set_compute_unit_price(lamports * 1_000_000 // units))
    return BuiltSwap(
        compute_budget=budget,
        setup=tuple(setup),
        swap=order.instruction(user, source, hops),
        cleanup=cleanup,
        pools=tuple(hop.pool for hop in route.hops),
        units=units,
        priority_fee=lamports,
    )


def unsigned_transaction(built: BuiltSwap, *, user: Pubkey, blockhash: Hash) -> VersionedTransaction:
    """Return the swap as a transaction with an empty signature, the way Jupiter hands it out."""
    message = MessageV0.try_compile(user, built.all_instructions, lookup_tables(built.pools), blockhash)
    return VersionedTransaction.populate(message, [Signature.default()])


def lookup_tables(pools: Sequence[Pool]) -> list[AddressLookupTableAccount]:
    """Return the lookup tables of `pools`, as a message is compiled with them."""
    return [AddressLookupTableAccount(pool.lookup_table, list(pool.lookup_addresses)) for pool in pools]
