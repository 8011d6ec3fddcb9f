"""Methods about what happened: statuses, transactions, blocks, signatures of an address."""

from __future__ import annotations

from typing import Any

from tradingbot_engine.localnet.chain import Block, Record
from tradingbot_engine.localnet.encode.instructions import memo_of
from tradingbot_engine.localnet.encode.transactions import (
    TransactionEncoding,
    account_keys,
    encode_meta,
    encode_transaction,
    status,
)
from tradingbot_engine.localnet.rpc.errors import (
    block_cleaned_up,
    block_not_available,
    invalid_params,
    slot_skipped,
    version_not_supported,
)
from tradingbot_engine.localnet.rpc.node import Method, Node
from tradingbot_engine.localnet.rpc.params import (
    Config,
    at_least_confirmed,
    config,
    flag,
    number,
    pubkey,
    signature,
    strings,
    text,
    transaction_encoding,
    unsigned,
)
from tradingbot_engine.localnet.view import commitment_of

MAX_STATUSES = 256
MAX_SIGNATURES = 1000
MAX_BLOCKS = 500_000


def get_signature_statuses(node: Node, params: list[Any]) -> Any:
    names = strings(params, 0)
    if len(names) > MAX_STATUSES:
        raise invalid_params(f"Too many inputs provided; max {MAX_STATUSES}")
    signatures = [signature(name) for name in names]
    search = flag(config(params, 1), "searchTransactionHistory")
    view = node.view
    slot = view.slot("processed")  # validators answer from their processed bank, whatever fork it is on
    blind = node.faults.status_blind
    values = []
    for each in signatures:
        record = None if blind else view.recent(each)
        if record is None and search and not blind:
            record = view.find(each)
        values.append(_status(node, record) if record is not None else None)
    return node.with_context(slot, values)


def _status(node: Node, record: Record) -> dict[str, Any]:
    commitment = commitment_of(node.view, record.slot)
    return {
        "slot": record.slot,
        "confirmations": None if commitment == "finalized" else node.view.confirmations(record.slot),
        "err": record.error,
        "status": status(record.error),
        "confirmationStatus": commitment,
    }


def get_signatures_for_address(node: Node, params: list[Any]) -> Any:
    address = pubkey(text(params, 0))
    options = config(params, 1)
    limit = unsigned(options.get("limit") if options.get("limit") is not None else MAX_SIGNATURES)
    if not 1 <= limit <= MAX_SIGNATURES:
        raise invalid_params(f"Invalid limit; max {MAX_SIGNATURES}")
    before = signature(text([options["before"]], 0)) if options.get("before") is not None else None
    until = signature(text([options["until"]], 0)) if options.get("until") is not None else None
    at_least_confirmed(options)
    newest = node.slot(options)
    view = node.view
    found: list[dict[str, Any]] = []
    if before is not None and view.find(before) is None:
        return found
    waiting = before is not None
    until_record = view.find(until) if until is not None else None
    before_record = view.find(before) if before is not None else None
    for record in view.of_address(address):
        if waiting:
            # `before` need not mention the address: then everything in older slots follows it
            assert before_record is not None
            if record.signature == before:
                waiting = False
                continue
            if record.slot >= before_record.slot:
                continue
            waiting = False
        if until is not None and (
            record.signature == until or (until_record is not None and record.slot < until_record.slot)
        ):
            break
        if record.slot > newest:
            continue
        message = record.transaction.message
        found.append(
            {
                "signature": str(record.signature),
                "slot": record.slot,
                "err": record.error,
                "memo": memo_of(record.keys, message.instructions),
                "blockTime": _block_time(node, record.slot),
                "confirmationStatus": commitment_of(view, record.slot),
            }
        )
        if len(found) == limit:
            break
    return found


def _block_time(node: Node, slot: int) -> int | None:
    time_ms = node.view.time_ms(slot)
    return time_ms // 1000 if time_ms is not None else None


def _version(record: Record, options: Config) -> Any:
    highest = options.get("maxSupportedTransactionVersion")
    if record.is_v0 and highest is None:
        raise version_not_supported(0)
    if highest is None:
        return None
    return 0 if record.is_v0 else "legacy"


def _with_meta(record: Record, encoding: TransactionEncoding, options: Config) -> dict[str, Any]:
    version = _version(record, options)
    written = {"transaction": encode_transaction(record, encoding), "meta": encode_meta(record, encoding)}
    return written if version is None else {**written, "version": version}


def _options(params: list[Any], at: int) -> Config:
    """A configuration object, or only the encoding, as the oldest clients send it."""
    if len(params) > at and isinstance(params[at], str):
        return {"encoding": params[at]}
    return config(params, at)


def get_transaction(node: Node, params: list[Any]) -> Any:
    wanted = signature(text(params, 0))
    options = _options(params, 1)
    encoding = transaction_encoding(options.get("encoding"))
    newest = node.view.slot(at_least_confirmed(options))
    record = node.view.find(wanted)
    if record is None or record.slot > newest:
        return None
    return {
        "slot": record.slot,
        "blockTime": _block_time(node, record.slot),
        **_with_meta(record, encoding, options),
    }


def _block(node: Node, slot: int, options: Config) -> Block:
    newest = node.view.slot(at_least_confirmed(options))
    if slot > newest:
        raise block_not_available(slot)
    if slot < node.view.first_block():
        raise block_cleaned_up(slot, node.view.first_block())
    block = node.view.block(slot)
    if block is None:
        raise slot_skipped(slot)
    return block


def get_block(node: Node, params: list[Any]) -> Any:
    slot = number(params, 0)
    options = _options(params, 1)
    encoding = transaction_encoding(options.get("encoding"))
    block = _block(node, slot, options)
    written: dict[str, Any] = {
        "previousBlockhash": str(block.parent_hash),
        "blockhash": str(block.hash),
        "parentSlot": block.parent_slot,
        "blockTime": block.time_ms // 1000,
        "blockHeight": block.height,
    }
    details = options.get("transactionDetails") or "full"
    if details == "full":
        written["transactions"] = [_with_meta(record, encoding, options) for record in block.records]
    elif details == "accounts":
        written["transactions"] = [_accounts_only(record, options) for record in block.records]
    elif details == "signatures":
        written["signatures"] = [str(record.signature) for record in block.records]
    elif details != "none":
        expected = "`full`, `accounts`, `signatures`, `none`"
        raise invalid_params(f"Invalid params: unknown variant `{details}`, expected one of {expected}.")
    if flag(options, "rewards", True):
        written["rewards"] = []
    return written


def _accounts_only(record: Record, options: Config) -> dict[str, Any]:
    version = _version(record, options)
    full = encode_meta(record, "json")
    kept = ("err", "status", "fee", "preBalances", "postBalances", "preTokenBalances", "postTokenBalances")
    written = {
        "transaction": {
            "signatures": [str(s) for s in record.transaction.signatures],
            "accountKeys": account_keys(record),
        },
        "meta": {name: full[name] for name in kept},
    }
    return written if version is None else {**written, "version": version}


def get_blocks(node: Node, params: list[Any]) -> Any:
    start = number(params, 0)
    has_end = len(params) > 1 and isinstance(params[1], int)
    options = config(params, 2 if has_end or (len(params) > 1 and params[1] is None) else 1)
    newest = node.view.slot(at_least_confirmed(options))
    end = min(unsigned(params[1]), newest) if has_end else newest
    if end < start:
        return []
    if end - start > MAX_BLOCKS:
        raise invalid_params(f"Slot range too large; max {MAX_BLOCKS}")
    return node.view.block_slots(start, end, MAX_BLOCKS + 1)


def get_blocks_with_limit(node: Node, params: list[Any]) -> Any:
    start, limit = number(params, 0), number(params, 1)
    if limit > MAX_BLOCKS:
        raise invalid_params(f"Limit too large; max {MAX_BLOCKS}")
    newest = node.view.slot(at_least_confirmed(config(params, 2)))
    return node.view.block_slots(start, newest, limit)


def get_block_time(node: Node, params: list[Any]) -> Any:
    slot = number(params, 0)
    if slot > node.view.slot("confirmed"):
        raise block_not_available(slot)
    return _block(node, slot, {"commitment": "confirmed"}).time_ms // 1000


METHODS: dict[str, Method] = {
    "getSignatureStatuses": get_signature_statuses,
    "getSignaturesForAddress": get_signatures_for_address,
    "getTransaction": get_transaction,
    "getBlock": get_block,
    "getBlocks": get_blocks,
    "getBlocksWithLimit": get_blocks_with_limit,
    "getBlockTime": get_block_time,
}
