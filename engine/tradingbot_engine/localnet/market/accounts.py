"""Bytes of the accounts that the market's genesis writes: mints, token accounts, lookup tables."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from solders.account import Account
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address

from tradingbot_engine.domain.units import BaseUnits, Lamports
from tradingbot_engine.market.layouts import TOKEN_PROGRAM_ID

LOOKUP_TABLE_PROGRAM_ID = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
SYSTEM_PROGRAM_ID = Pubkey.default()
RENT_EPOCH_NEVER = 2**64 - 1
"""What validators show as rent epoch of every rent-exempt account."""

_MINT = struct.Struct("<I32sQBBI32s")
_TOKEN_ACCOUNT = struct.Struct("<32s32sQI32sBIQQI32s")
_LOOKUP_TABLE = struct.Struct("<IQQBB32sH")


def mint(*, rent: Lamports, decimals: int, supply: BaseUnits, authority: Pubkey | None) -> Account:
    """Return an SPL Token mint; without an authority nobody can make more of it."""
    data = _MINT.pack(
        int(authority is not None), bytes(authority or Pubkey.default()), supply, decimals, 1, 0, bytes(32)
    )
    return Account(rent, data, TOKEN_PROGRAM_ID, False, RENT_EPOCH_NEVER)


def token_account(*, rent: Lamports, mint: Pubkey, owner: Pubkey, amount: BaseUnits, native: bool = False) -> Account:
    """Return an initialised SPL token account; a native one (wrapped SOL) holds its amount as lamports as well."""
    data = _TOKEN_ACCOUNT.pack(
        bytes(mint), bytes(owner), amount, 0, bytes(32), 1, int(native), rent if native else 0, 0, 0, bytes(32)
    )
    return Account(rent + (amount if native else 0), data, TOKEN_PROGRAM_ID, False, RENT_EPOCH_NEVER)


def lookup_table(*, rent: Lamports, authority: Pubkey, addresses: Sequence[Pubkey], last_extended_slot: int) -> Account:
    """Return an active address lookup table; its addresses may be used in slots after `last_extended_slot`."""
    head = _LOOKUP_TABLE.pack(1, 2**64 - 1, last_extended_slot, 0, 1, bytes(authority), 0)
    return Account(rent, head + b"".join(map(bytes, addresses)), LOOKUP_TABLE_PROGRAM_ID, False, RENT_EPOCH_NEVER)


def lookup_table_size(addresses: int) -> int:
    """Return the bytes of a lookup table of so many addresses."""
    return _LOOKUP_TABLE.size + 32 * addresses


@lru_cache(maxsize=16_384)
def associated(owner: Pubkey, mint: Pubkey) -> Pubkey:
    """Return the address of the owner's associated token account."""
    return get_associated_token_address(owner, mint)
