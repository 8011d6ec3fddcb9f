"""Transactions, their metadata and blocks in every encoding of validators."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Literal

from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet.chain import Record, TokenBalance
from tradingbot_engine.localnet.encode.accounts import base58
from tradingbot_engine.localnet.encode.amounts import ui_amount
from tradingbot_engine.localnet.encode.instructions import parse_instruction
from tradingbot_engine.localnet.encode.parsed_accounts import UPGRADEABLE_LOADER

TransactionEncoding = Literal["binary", "base58", "base64", "json", "jsonParsed"]


def encode_transaction(record: Record, encoding: TransactionEncoding) -> Any:
    """The transaction itself, without its metadata."""
    if encoding == "binary":
        return base58(record.wire)
    if encoding == "base58":
        return [base58(record.wire), "base58"]
    if encoding == "base64":
        return [base64.b64encode(record.wire).decode(), "base64"]
    transaction = record.transaction
    message = _parsed_message(record) if encoding == "jsonParsed" else _raw_message(transaction)
    return {"signatures": [str(s) for s in transaction.signatures], "message": message}


def encode_meta(record: Record, encoding: TransactionEncoding) -> dict[str, Any]:
    """`UiTransactionStatusMeta` of a landed transaction."""
    meta = record.meta
    parsed = encoding == "jsonParsed"
    written: dict[str, Any] = {
        "err": record.error,
        "status": status(record.error),
        "fee": meta.fee(),
        "preBalances": record.pre_lamports,
        "postBalances": record.post_lamports,
        "innerInstructions": inner_instructions(record.keys, meta.inner_instructions(), parsed=parsed),
        "logMessages": list(meta.logs()),
        "preTokenBalances": [_token_balance(b) for b in record.pre_tokens],
        "postTokenBalances": [_token_balance(b) for b in record.post_tokens],
        "rewards": [],
        "computeUnitsConsumed": meta.compute_units_consumed(),
    }
    if not parsed:
        static = len(record.keys) - sum(record.loaded)
        written["loadedAddresses"] = {
            "writable": [str(k) for k in record.keys[static : static + record.loaded[0]]],
            "readonly": [str(k) for k in record.keys[static + record.loaded[0] :]],
        }
    returned = return_data(meta)
    if returned is not None:
        written["returnData"] = returned
    return written


def status(error: Any) -> dict[str, Any]:
    """The old form of a result, which validators still send."""
    return {"Ok": None} if error is None else {"Err": error}


def return_data(meta: Any) -> dict[str, Any] | None:
    """What the last program returned, if anything."""
    returned = meta.return_data()
    data = bytes(returned.data)
    if not data:
        return None
    return {"programId": str(returned.program_id), "data": [base64.b64encode(data).decode(), "base64"]}


def inner_instructions(
    keys: Sequence[Pubkey], groups: Sequence[Sequence[Any]], *, parsed: bool
) -> list[dict[str, Any]]:
    """Instructions that programs called, grouped by the outer instruction that caused them."""
    written = []
    for index, group in enumerate(groups):
        if not group:
            continue
        instructions = [_instruction(keys, inner.instruction(), inner.stack_height(), parsed=parsed) for inner in group]
        written.append({"index": index, "instructions": instructions})
    return written


def account_keys(record: Record) -> list[dict[str, Any]]:
    """All keys with their roles, those from lookup tables included."""
    message = record.transaction.message
    header = message.header
    static = len(record.keys) - sum(record.loaded)
    signers = header.num_required_signatures
    called = {i.program_id_index for i in message.instructions} if UPGRADEABLE_LOADER not in record.keys else set()
    written = []
    for index, key in enumerate(record.keys):
        if index < signers:
            writable = index < signers - header.num_readonly_signed_accounts
        elif index < static:
            writable = index < static - header.num_readonly_unsigned_accounts and index not in called
        else:
            writable = index < static + record.loaded[0]
        written.append(
            {
                "pubkey": str(key),
                "writable": writable,
                "signer": index < signers,
                "source": "transaction" if index < static else "lookupTable",
            }
        )
    return written


def _raw_message(transaction: VersionedTransaction) -> dict[str, Any]:
    message = transaction.message
    header = message.header
    written: dict[str, Any] = {
        "header": {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        },
        "accountKeys": [str(key) for key in message.account_keys],
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": [_raw_instruction(i, 1) for i in message.instructions],
    }
    if isinstance(message, MessageV0):
        written["addressTableLookups"] = _lookups(message)
    return written


def _parsed_message(record: Record) -> dict[str, Any]:
    message = record.transaction.message
    written: dict[str, Any] = {
        "accountKeys": account_keys(record),
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": [_instruction(record.keys, i, 1, parsed=True) for i in message.instructions],
    }
    if isinstance(message, MessageV0):
        written["addressTableLookups"] = _lookups(message)
    return written


def _lookups(message: MessageV0) -> list[dict[str, Any]]:
    return [
        {
            "accountKey": str(lookup.account_key),
            "writableIndexes": list(bytes(lookup.writable_indexes)),
            "readonlyIndexes": list(bytes(lookup.readonly_indexes)),
        }
        for lookup in message.address_table_lookups
    ]


def _instruction(keys: Sequence[Pubkey], instruction: Any, stack_height: int | None, *, parsed: bool) -> dict[str, Any]:
    if parsed:
        return parse_instruction(keys, instruction, stack_height)
    return _raw_instruction(instruction, stack_height)


def _raw_instruction(instruction: Any, stack_height: int | None) -> dict[str, Any]:
    return {
        "programIdIndex": instruction.program_id_index,
        "accounts": list(bytes(instruction.accounts)),
        "data": base58(bytes(instruction.data)),
        "stackHeight": stack_height,
    }


def _token_balance(balance: TokenBalance) -> dict[str, Any]:
    return {
        "accountIndex": balance.account_index,
        "mint": str(balance.mint),
        "uiTokenAmount": ui_amount(balance.amount, balance.decimals),
        "owner": str(balance.owner),
        "programId": str(balance.program),
    }
