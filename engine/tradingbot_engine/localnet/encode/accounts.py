"""Accounts in every encoding of validators: binary, base58, base64, base64+zstd, jsonParsed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import based58
import zstandard
from solders.account import Account
from solders.pubkey import Pubkey

from tradingbot_engine.localnet.encode.parsed_accounts import parse_account

AccountEncoding = Literal["binary", "base58", "base64", "base64+zstd", "jsonParsed"]
MAX_BASE58 = 128
"""Bytes of data up to which validators write base58."""

_compress = zstandard.ZstdCompressor(level=1)


@dataclass(frozen=True, slots=True)
class DataSlice:
    """Part of an account's data: `length` bytes from `offset`."""

    offset: int
    length: int

    def of(self, data: bytes) -> bytes:
        """The part, as far as the data reaches."""
        return data[self.offset : self.offset + self.length]


class DataTooLarge(Exception):
    """Base58 was asked for data that validators only write in base64."""


def base58(data: bytes) -> str:
    """Base58 of arbitrary bytes."""
    return based58.b58encode(data).decode()


def encode_data(data: bytes, encoding: AccountEncoding) -> str | list[str]:
    """
    Write account data.

    Raises:
        DataTooLarge: Base58 of more than 128 bytes.
    """
    if encoding in ("binary", "base58"):
        if len(data) > MAX_BASE58:
            raise DataTooLarge
        text = base58(data)
        return text if encoding == "binary" else [text, "base58"]
    if encoding == "base64+zstd":
        return [base64.b64encode(_compress.compress(data)).decode(), "base64+zstd"]
    return [base64.b64encode(data).decode(), "base64"]


def encode_account(
    account: Account,
    encoding: AccountEncoding,
    data_slice: DataSlice | None,
    decimals: Callable[[Pubkey], int],
) -> dict[str, Any]:
    """
    Write an account as `UiAccount`.

    Args:
        account: The account.
        encoding: How; jsonParsed falls back to base64 for programs that it does not know.
        data_slice: The part of the data wanted; ignored when the data is parsed.
        decimals: Looks up a mint's decimals.

    Raises:
        DataTooLarge: Base58 of more than 128 bytes.
    """
    data = bytes(account.data)
    written: Any = None
    if encoding == "jsonParsed":
        written = parse_account(account, decimals)
        encoding = "base64"
    if written is None:
        written = encode_data(data_slice.of(data) if data_slice is not None else data, encoding)
    return {
        "lamports": account.lamports,
        "data": written,
        "owner": str(account.owner),
        "executable": account.executable,
        "rentEpoch": account.rent_epoch,
        "space": len(data),
    }
