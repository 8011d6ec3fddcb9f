"""Reading the parameters of a call, with the errors that validators give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import based58
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature

from tradingbot_engine.localnet.chain import Commitment
from tradingbot_engine.localnet.encode.accounts import AccountEncoding, DataSlice
from tradingbot_engine.localnet.encode.transactions import TransactionEncoding
from tradingbot_engine.localnet.rpc.errors import invalid_params

Config = dict[str, Any]

_COMMITMENTS: dict[str, Commitment] = {
    "processed": "processed",
    "confirmed": "confirmed",
    "finalized": "finalized",
    "recent": "processed",
    "single": "confirmed",
    "singleGossip": "confirmed",
    "root": "finalized",
    "max": "finalized",
}
_ACCOUNT_ENCODINGS = ("binary", "base58", "base64", "base64+zstd", "jsonParsed")
_TRANSACTION_ENCODINGS = ("binary", "base64", "base58", "json", "jsonParsed")


def need(params: Sequence[Any], count: int) -> None:
    """Refuse a call with fewer than `count` parameters."""
    if len(params) < count:
        plural = "" if count == 1 else "s"
        raise invalid_params(f"`params` should have at least {count} argument{plural}")


def text(params: Sequence[Any], at: int) -> str:
    """The string at `at`."""
    need(params, at + 1)
    value = params[at]
    if not isinstance(value, str):
        raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected a string.")
    return value


def number(params: Sequence[Any], at: int) -> int:
    """The unsigned integer at `at`."""
    need(params, at + 1)
    return unsigned(params[at])


def unsigned(value: Any) -> int:
    """An unsigned 64-bit integer."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected u64.")
    return value


def strings(params: Sequence[Any], at: int) -> list[str]:
    """The list of strings at `at`."""
    need(params, at + 1)
    value = params[at]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected a sequence of strings.")
    return value


def config(params: Sequence[Any], at: int) -> Config:
    """The optional object at `at`; empty if it is absent or null."""
    if len(params) <= at or params[at] is None:
        return {}
    value = params[at]
    if not isinstance(value, dict):
        raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected a configuration object.")
    return value


def pubkey(value: str) -> Pubkey:
    """A public key in base58."""
    return Pubkey(_bytes58(value, 32))


def signature(value: str) -> Signature:
    """A signature in base58."""
    return Signature(_bytes58(value, 64))


def blockhash(value: str) -> Hash:
    """A blockhash in base58."""
    return Hash(_bytes58(value, 32))


def _bytes58(value: str, size: int) -> bytes:
    if len(value) > size * 2:
        raise invalid_params("Invalid param: WrongSize")
    try:
        data = based58.b58decode(value.encode())
    except ValueError as error:
        raise invalid_params("Invalid param: Invalid") from error
    if len(data) != size:
        raise invalid_params("Invalid param: WrongSize")
    return data


def commitment(options: Config, default: Commitment = "finalized", key: str = "commitment") -> Commitment:
    """The commitment asked for."""
    value = options.get(key)
    if value is None:
        return default
    known = _COMMITMENTS.get(value) if isinstance(value, str) else None
    if known is None:
        expected = ", ".join(f"`{name}`" for name in ("processed", "confirmed", "finalized"))
        raise invalid_params(f"Invalid params: unknown variant `{value}`, expected one of {expected}.")
    return known


def at_least_confirmed(options: Config) -> Commitment:
    """The commitment asked for, where validators have no answer for processed."""
    level = commitment(options)
    if level == "processed":
        raise invalid_params("Method does not support commitment below `confirmed`")
    return level


def account_encoding(options: Config, default: AccountEncoding) -> AccountEncoding:
    """The encoding of accounts asked for."""
    return cast(AccountEncoding, _variant(options.get("encoding"), _ACCOUNT_ENCODINGS, default))


def transaction_encoding(value: Any, default: TransactionEncoding = "json") -> TransactionEncoding:
    """The encoding of transactions asked for."""
    return cast(TransactionEncoding, _variant(value, _TRANSACTION_ENCODINGS, default))


def _variant(value: Any, known: Sequence[str], default: str) -> str:
    if value is None:
        return default
    if value not in known:
        expected = ", ".join(f"`{name}`" for name in known)
        raise invalid_params(f"Invalid params: unknown variant `{value}`, expected one of {expected}.")
    return cast(str, value)


def data_slice(options: Config) -> DataSlice | None:
    """The part of the account data asked for."""
    value = options.get("dataSlice")
    if value is None:
        return None
    if not isinstance(value, dict) or "offset" not in value or "length" not in value:
        raise invalid_params("Invalid params: missing field `offset` or `length`.")
    return DataSlice(unsigned(value["offset"]), unsigned(value["length"]))


def flag(options: Config, key: str, default: bool = False) -> bool:
    """A boolean option."""
    value = options.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise invalid_params(f"Invalid params: invalid type: {_kind(value)}, expected a boolean.")
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"boolean `{str(value).lower()}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    if isinstance(value, float):
        return f"floating point `{value}`"
    if isinstance(value, str):
        return f'string "{value}"'
    return "sequence" if isinstance(value, list) else "map"
