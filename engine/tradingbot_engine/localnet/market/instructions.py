"""The pool program's instructions."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import BaseUnits, Bps
from tradingbot_engine.market.layouts import POOL_PROGRAM_ID, TOKEN_PROGRAM_ID

SLIPPAGE_EXCEEDED = 6001
"""Custom error of a swap whose result is below its minimum; the same number as Jupiter's."""
MAX_HOPS = 3


@dataclass(frozen=True, slots=True)
class HopAccounts:
    """What one hop of a swap touches; `destination` receives what the hop gives."""

    pool: Pubkey
    authority: Pubkey
    vault_in: Pubkey
    vault_out: Pubkey
    destination: Pubkey


def swap(
    user: Pubkey, source: Pubkey, hops: Sequence[HopAccounts], amount: BaseUnits, min_out: BaseUnits
) -> Instruction:
    """Return a swap of `amount` from `source` along `hops` (1 to 3) that fails with 6001 below `min_out`."""
    return _swap(1, user, source, hops, amount, min_out)


def swap_out(
    user: Pubkey, source: Pubkey, hops: Sequence[HopAccounts], amount_out: BaseUnits, max_in: BaseUnits
) -> Instruction:
    """Return a swap of the least from `source` that gives at least `amount_out`; it fails with 6001 above `max_in`."""
    return _swap(3, user, source, hops, amount_out, max_in)


def _swap(
    number: int, user: Pubkey, source: Pubkey, hops: Sequence[HopAccounts], amount: BaseUnits, limit: BaseUnits
) -> Instruction:
    accounts = [
        AccountMeta(user, True, False),
        AccountMeta(TOKEN_PROGRAM_ID, False, False),
        AccountMeta(source, False, True),
    ]
    for hop in hops:
        accounts += [
            AccountMeta(hop.pool, False, False),
            AccountMeta(hop.authority, False, False),
            AccountMeta(hop.vault_in, False, True),
            AccountMeta(hop.vault_out, False, True),
            AccountMeta(hop.destination, False, True),
        ]
    return Instruction(POOL_PROGRAM_ID, struct.pack("<BQQ", number, amount, limit), accounts)


def open_pool(
    *, pool: Pubkey, authority: Pubkey, bump: int, vault_a: Pubkey, vault_b: Pubkey, creator: Pubkey, fee_bps: Bps
) -> Instruction:
    """Return the instruction that opens `pool`, an account of 176 zero bytes that the pool program owns."""
    return Instruction(
        POOL_PROGRAM_ID,
        struct.pack("<BBH", 0, bump, fee_bps),
        [
            AccountMeta(pool, False, True),
            AccountMeta(authority, False, False),
            AccountMeta(vault_a, False, False),
            AccountMeta(vault_b, False, False),
            AccountMeta(creator, True, False),
        ],
    )


def withdraw(
    *,
    creator: Pubkey,
    pool: Pubkey,
    authority: Pubkey,
    vault_a: Pubkey,
    vault_b: Pubkey,
    to_a: Pubkey,
    to_b: Pubkey,
    amount_a: BaseUnits,
    amount_b: BaseUnits,
) -> Instruction:
    """Return the instruction by which the creator takes liquidity out."""
    return Instruction(
        POOL_PROGRAM_ID,
        struct.pack("<BQQ", 2, amount_a, amount_b),
        [
            AccountMeta(creator, True, False),
            AccountMeta(TOKEN_PROGRAM_ID, False, False),
            AccountMeta(pool, False, False),
            AccountMeta(authority, False, False),
            *(AccountMeta(key, False, True) for key in (vault_a, vault_b, to_a, to_b)),
        ],
    )
