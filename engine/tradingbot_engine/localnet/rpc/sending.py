"""Methods that run transactions: send, simulate, airdrop."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import based58
from solders.hash import Hash
from solders.message import Message, MessageV0
from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet.chain import MAX_AGE, BankError
from tradingbot_engine.localnet.encode.errors import describe
from tradingbot_engine.localnet.rpc.errors import (
    internal_error,
    invalid_params,
    min_context_slot,
    preflight_failed,
    signature_failed,
)
from tradingbot_engine.localnet.rpc.node import Method, Node
from tradingbot_engine.localnet.rpc.params import (
    Config,
    account_encoding,
    commitment,
    config,
    flag,
    number,
    pubkey,
    strings,
    text,
    unsigned,
)
from tradingbot_engine.localnet.simulate import Simulation, simulate
from tradingbot_engine.localnet.vm import signatures_are_good

PACKET_BYTES = 1232
_MAX_TEXT = {"base58": 1683, "base64": 1644}
_TYPE = "solana_transaction::versioned::VersionedTransaction"


def decode_transaction(value: str, options: Config) -> VersionedTransaction:
    """
    Read a transaction as clients send it.

    Raises:
        RpcError: -32602 if it is not in the encoding named, too large, or no transaction.
    """
    encoding = options.get("encoding") or "base58"
    if encoding not in _MAX_TEXT:
        raise invalid_params(f"unsupported encoding: {encoding}. Supported encodings: base58, base64")
    limit = _MAX_TEXT[encoding]
    if len(value) > limit:
        message = f"{encoding} encoded {_TYPE} too large: {len(value)} bytes (max: encoded/raw {limit}/{PACKET_BYTES})"
        raise invalid_params(message)
    try:
        if encoding == "base64":
            wire = base64.b64decode(value, validate=True)
        else:
            wire = based58.b58decode(value.encode())
    except (ValueError, binascii.Error) as error:
        raise invalid_params(f"invalid {encoding} encoding: {error}") from error
    if len(wire) > PACKET_BYTES:
        raise invalid_params(f"decoded {_TYPE} too large: {len(wire)} bytes (max: {PACKET_BYTES} bytes)")
    try:
        transaction = VersionedTransaction.from_bytes(wire)
        if not isinstance(transaction.message, Message | MessageV0):
            raise ValueError("this message version is not supported")
        transaction.sanitize()
    except Exception as error:  # solders raises several kinds, none of them its own base
        raise invalid_params(f"failed to deserialize {_TYPE}: {error}") from error
    return transaction


def send_transaction(node: Node, params: list[Any]) -> Any:
    options = config(params, 1)
    transaction = decode_transaction(text(params, 0), options)
    least = options.get("minContextSlot")
    skip = flag(options, "skipPreflight")
    level = commitment(options, "finalized", "preflightCommitment")
    verified = False
    slot = node.view.slot(level)
    if least is not None and slot < unsigned(least):
        raise min_context_slot(slot)
    if not skip:
        node.faults.check_health()
        if not signatures_are_good(transaction):
            raise signature_failed()
        verified = True
        outcome = simulate(node.bank, node.view, transaction, slot)
        if outcome.err is not None:
            raise preflight_failed(describe(outcome.err), _simulation(node, outcome, slot, None, inner=False))
    node.faults.send(transaction, verified=verified)
    return str(transaction.signatures[0])


def simulate_transaction(node: Node, params: list[Any]) -> Any:
    options = config(params, 1)
    transaction = decode_transaction(text(params, 0), options)
    verify, replace = flag(options, "sigVerify"), flag(options, "replaceRecentBlockhash")
    if verify and replace:
        raise invalid_params("sigVerify may not be used with replaceRecentBlockhash")
    slot = node.slot(options)
    replacement = None
    if replace:
        fresh, height = node.view.blockhash(slot)
        replacement = {"blockhash": str(fresh), "lastValidBlockHeight": height + MAX_AGE}
        transaction = _with_blockhash(transaction, fresh)
    if verify and not signatures_are_good(transaction):
        raise signature_failed()
    outcome = simulate(node.bank, node.view, transaction, slot)
    accounts = options.get("accounts")
    value = _simulation(node, outcome, slot, accounts, inner=flag(options, "innerInstructions"))
    if replacement is not None:
        value["replacementBlockhash"] = replacement
    return node.with_context(slot, value)


def _with_blockhash(transaction: VersionedTransaction, fresh: Hash) -> VersionedTransaction:
    message = transaction.message
    if isinstance(message, MessageV0):
        changed: Any = MessageV0(
            message.header, message.account_keys, fresh, message.instructions, message.address_table_lookups
        )
    else:
        assert isinstance(message, Message)
        header = message.header
        changed = Message.new_with_compiled_instructions(
            header.num_required_signatures,
            header.num_readonly_signed_accounts,
            header.num_readonly_unsigned_accounts,
            message.account_keys,
            fresh,
            message.instructions,
        )
    return VersionedTransaction.populate(changed, transaction.signatures)


def _simulation(node: Node, outcome: Simulation, slot: int, wanted: Any, *, inner: bool) -> dict[str, Any]:
    accounts = None
    if isinstance(wanted, dict):
        encoding = account_encoding(wanted, "base64")
        if encoding in ("binary", "base58"):
            raise invalid_params("base58 encoding not supported")
        after = dict(outcome.accounts)
        accounts = []
        for name in strings([wanted.get("addresses")], 0):
            key = pubkey(name)
            account = after[key] if key in after else node.view.account(key, slot)
            accounts.append(node.encoded(account, slot, encoding, None))
    return {
        "err": outcome.err,
        "logs": outcome.logs,
        "accounts": accounts,
        "unitsConsumed": outcome.units,
        "loadedAccountsDataSize": outcome.loaded_bytes,
        "returnData": outcome.return_data,
        "innerInstructions": outcome.inner_instructions if inner else None,
        "replacementBlockhash": None,
    }


def request_airdrop(node: Node, params: list[Any]) -> Any:
    key, lamports = pubkey(text(params, 0)), number(params, 1)
    try:
        return str(node.bank.airdrop(key, lamports))
    except BankError as error:
        raise internal_error(f"Internal error: {error}") from error


METHODS: dict[str, Method] = {
    "sendTransaction": send_transaction,
    "simulateTransaction": simulate_transaction,
    "requestAirdrop": request_airdrop,
}
