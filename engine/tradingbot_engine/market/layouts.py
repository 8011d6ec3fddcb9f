"""
Where things stand in the accounts of a pool: the one description of those bytes.

The pool program itself is `localnet/program/pool.c`; the engine decodes its accounts with this module and needs nothing
else of localnet.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from solders.pubkey import Pubkey

POOL_PROGRAM_ID = Pubkey.from_string("TBPoo1swapLoca1netConstantProduct1111111111")
"""Address of localnet's constant-product pool program. It has no owner and is on no public cluster."""
TOKEN_PROGRAM_ID = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")

POOL_MAGIC = b"TBPOOL01"
POOL_SIZE = 176
MINT_A_AT = 16
"""Offset of the token's mint, for memcmp filters of getProgramAccounts."""
MINT_B_AT = 48
"""Offset of the quote currency's mint."""
TOKEN_ACCOUNT_SIZE = 165
_POOL = struct.Struct("<8sBxH4x32s32s32s32s32s")


class NotAPool(ValueError):
    """The account's data are not those of an open pool."""


class NotATokenAccount(ValueError):
    """The account's data are not those of an SPL token account."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """
    An open pool. By convention of localnet `a` is the token and `b` the currency that prices are quoted in.

    Reserves are what the vaults hold; the pool account itself never changes after it was opened.
    """

    mint_a: Pubkey
    mint_b: Pubkey
    vault_a: Pubkey
    vault_b: Pubkey
    fee_bps: int
    """Taken from what goes in, and left in the pool."""
    creator: Pubkey
    """Who may withdraw liquidity."""
    bump: int


def decode_pool(data: bytes) -> PoolState:
    """
    Decode the data of a pool account.

    Raises:
        NotAPool: Too short, or not opened by the pool program.
    """
    if len(data) < POOL_SIZE or data[:8] != POOL_MAGIC:
        raise NotAPool(f"{len(data)} bytes that do not start with {POOL_MAGIC.decode()}")
    _, bump, fee_bps, mint_a, mint_b, vault_a, vault_b, creator = _POOL.unpack_from(data)
    return PoolState(
        mint_a=Pubkey(mint_a),
        mint_b=Pubkey(mint_b),
        vault_a=Pubkey(vault_a),
        vault_b=Pubkey(vault_b),
        fee_bps=fee_bps,
        creator=Pubkey(creator),
        bump=bump,
    )


def encode_pool(pool: PoolState) -> bytes:
    """Return the data of a pool account, as the program would have written it."""
    keys = (pool.mint_a, pool.mint_b, pool.vault_a, pool.vault_b, pool.creator)
    return _POOL.pack(POOL_MAGIC, pool.bump, pool.fee_bps, *(bytes(key) for key in keys))


def pool_authority(pool: Pubkey) -> tuple[Pubkey, int]:
    """Return the address that owns the vaults of `pool`, and its bump seed; nobody has its key."""
    return Pubkey.find_program_address([bytes(pool)], POOL_PROGRAM_ID)


def token_amount(data: bytes) -> int:
    """
    Return the amount that a token account holds, in base units.

    Raises:
        NotATokenAccount: The data are shorter than a token account.
    """
    if len(data) < TOKEN_ACCOUNT_SIZE:
        raise NotATokenAccount(f"{len(data)} bytes, {TOKEN_ACCOUNT_SIZE} expected")
    return int.from_bytes(data[64:72], "little")
