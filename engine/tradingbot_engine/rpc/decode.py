"""Strict readers of what nodes answer: the wanted shape, or `MalformedAnswer` (the node is to blame, another is asked)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import orjson

from tradingbot_engine.core.proof import Commitment, SignatureStatus
from tradingbot_engine.domain.units import Address, BlockHeight, Lamports, Signature, Slot
from tradingbot_engine.rpc.pool import MalformedAnswer
from tradingbot_engine.rpc.wire import is_count, is_slot

_COMMITMENTS: dict[str, Commitment] = {"processed": "processed", "confirmed": "confirmed", "finalized": "finalized"}


@dataclass(frozen=True, slots=True)
class Blockhash:
    """A recent blockhash, the last block height at which it is good, and the slot of the bank that said so."""

    blockhash: str
    last_valid_block_height: BlockHeight
    context_slot: Slot


@dataclass(frozen=True, slots=True)
class EpochInfo:
    """Where a node stands at a commitment, in one answer: slot and block height belong together."""

    slot: Slot
    block_height: BlockHeight


@dataclass(frozen=True, slots=True)
class Account:
    """An account's raw state."""

    lamports: Lamports
    owner: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class BlockSignatures:
    """A block's place and the signatures in it."""

    slot: Slot
    block_height: BlockHeight | None
    blockhash: str
    signatures: tuple[Signature, ...]
    parent_slot: Slot | None = None


@dataclass(frozen=True, slots=True)
class AddressSignature:
    """One row of `getSignaturesForAddress`."""

    signature: Signature
    slot: Slot
    failed: bool
    memo: str | None
    block_time: int | None


def integer(value: Any) -> int:
    """Return a non-negative integer that fits the 63 bits that ledgers have for it."""
    if not is_count(value):
        raise MalformedAnswer("not a count")
    return value


def text(value: Any) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise MalformedAnswer("not a text")
    return value


def mapping(value: Any) -> dict[str, Any]:
    """Return an object."""
    if not isinstance(value, dict):
        raise MalformedAnswer("not an object")
    return value


def sequence(value: Any) -> list[Any]:
    """Return an array."""
    if not isinstance(value, list):
        raise MalformedAnswer("not an array")
    return value


def context(value: Any) -> tuple[Slot, Any]:
    """Return slot and value of an answer with context."""
    slot = mapping(mapping(value)["context"])["slot"]
    if not is_slot(slot):
        raise MalformedAnswer("not a slot")
    return slot, value["value"]


def blockhash(value: Any) -> Blockhash:
    """Read `getLatestBlockhash`."""
    slot, inner = context(value)
    return Blockhash(text(inner["blockhash"]), integer(inner["lastValidBlockHeight"]), slot)


def epoch_info(value: Any) -> EpochInfo:
    """Read `getEpochInfo`."""
    inner = mapping(value)
    return EpochInfo(integer(inner["absoluteSlot"]), integer(inner["blockHeight"]))


def signature_status(value: Any) -> SignatureStatus | None:
    """Read one entry of `getSignatureStatuses`."""
    if value is None:
        return None
    inner = mapping(value)
    shown = inner.get("confirmationStatus")
    if shown is None:  # old rows of history carry only `confirmations`, null once rooted
        shown = "finalized" if inner["confirmations"] is None else "processed"
    error = inner["err"]
    told = "" if error is None else orjson.dumps(error).decode()[:200]
    return SignatureStatus(integer(inner["slot"]), _COMMITMENTS[shown], error is not None, told)


def statuses(count: int, value: Any) -> tuple[Slot, tuple[SignatureStatus | None, ...]]:
    """Read `getSignatureStatuses` of `count` signatures."""
    slot, inner = context(value)
    rows = sequence(inner)
    if len(rows) != count:
        raise MalformedAnswer("another number of statuses than was asked for")
    return slot, tuple(signature_status(row) for row in rows)


def account(value: Any) -> Account | None:
    """Read an account in encoding base64."""
    if value is None:
        return None
    inner = mapping(value)
    data, encoding = sequence(inner["data"])
    if encoding != "base64":
        raise MalformedAnswer("another encoding than was asked for")
    return Account(integer(inner["lamports"]), text(inner["owner"]), base64.b64decode(text(data), validate=True))


def block_signatures(slot: Slot, value: Any) -> BlockSignatures | None:
    """Read `getBlock` with transactionDetails `signatures`; null is a block that the node has not got."""
    if value is None:
        return None
    inner = mapping(value)
    height, parent = inner.get("blockHeight"), inner.get("parentSlot")
    return BlockSignatures(
        slot=slot,
        block_height=None if height is None else integer(height),
        blockhash=text(inner["blockhash"]),
        signatures=tuple(text(s) for s in sequence(inner.get("signatures", []))),
        parent_slot=None if parent is None else integer(parent),
    )


def address_signature(value: Any) -> AddressSignature:
    """Read one row of `getSignaturesForAddress`."""
    inner = mapping(value)
    memo, at, error = inner.get("memo"), inner.get("blockTime"), inner["err"]
    if error is not None and not isinstance(error, str | dict):
        raise MalformedAnswer("err is no transaction error")
    return AddressSignature(
        signature=text(inner["signature"]),
        slot=integer(inner["slot"]),
        failed=error is not None,
        memo=None if memo is None else text(memo),
        block_time=None if at is None else integer(at),
    )


def optional_object(value: Any) -> dict[str, Any] | None:
    """Return an object or None."""
    return None if value is None else mapping(value)
