"""Methods about the node and the chain: health, slots, heights, blockhashes, epochs, fees."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from solders.message import from_bytes_versioned

from tradingbot_engine.localnet.chain import MAX_AGE
from tradingbot_engine.localnet.fees import compute_budget, writable_keys
from tradingbot_engine.localnet.rpc.errors import invalid_params
from tradingbot_engine.localnet.rpc.node import FEATURE_SET, VERSION, Method, Node
from tradingbot_engine.localnet.rpc.params import blockhash, config, number, pubkey, strings, text
from tradingbot_engine.localnet.vm import SLOTS_PER_EPOCH

LAMPORTS_PER_SIGNATURE = 5000
MAX_FEE_KEYS = 128


def get_version(node: Node, params: list[Any]) -> Any:
    return {"feature-set": FEATURE_SET, "solana-core": VERSION}


def get_health(node: Node, params: list[Any]) -> Any:
    node.faults.check_health()
    return "ok"


def get_genesis_hash(node: Node, params: list[Any]) -> Any:
    return node.faults.genesis_hash


def get_identity(node: Node, params: list[Any]) -> Any:
    return {"identity": str(node.identity)}


def get_slot(node: Node, params: list[Any]) -> Any:
    return node.slot(config(params, 0))


def get_block_height(node: Node, params: list[Any]) -> Any:
    return node.view.height(node.slot(config(params, 0)))


def get_epoch_info(node: Node, params: list[Any]) -> Any:
    slot = node.slot(config(params, 0))
    return {
        "absoluteSlot": slot,
        "blockHeight": node.view.height(slot),
        "epoch": slot // SLOTS_PER_EPOCH,
        "slotIndex": slot % SLOTS_PER_EPOCH,
        "slotsInEpoch": SLOTS_PER_EPOCH,
        "transactionCount": _transaction_count(node, slot),
    }


def get_epoch_schedule(node: Node, params: list[Any]) -> Any:
    return {
        "slotsPerEpoch": SLOTS_PER_EPOCH,
        "leaderScheduleSlotOffset": SLOTS_PER_EPOCH,
        "warmup": False,
        "firstNormalEpoch": 0,
        "firstNormalSlot": 0,
    }


def get_transaction_count(node: Node, params: list[Any]) -> Any:
    return _transaction_count(node, node.slot(config(params, 0)))


def _transaction_count(node: Node, slot: int) -> int:
    newer = 0
    for block in reversed(node.bank.blocks):
        if block.slot <= slot:
            break
        newer += len(block.records)
    return node.bank.transaction_count - newer


def get_first_available_block(node: Node, params: list[Any]) -> Any:
    return node.view.first_block()


def get_max_shred_insert_slot(node: Node, params: list[Any]) -> Any:
    return max(node.bank.slot, node.view.slot("processed"))  # shreds arrive even where replay stands still


def get_latest_blockhash(node: Node, params: list[Any]) -> Any:
    slot = node.slot(config(params, 0))
    value, height = node.view.blockhash(slot)
    return node.with_context(slot, {"blockhash": str(value), "lastValidBlockHeight": height + MAX_AGE})


def is_blockhash_valid(node: Node, params: list[Any]) -> Any:
    value = blockhash(text(params, 0))
    slot = node.slot(config(params, 1))
    return node.with_context(slot, node.view.hash_is_valid(value, slot))


def get_rent_exemption(node: Node, params: list[Any]) -> Any:
    return node.bank.rent(number(params, 0))


def get_fee_for_message(node: Node, params: list[Any]) -> Any:
    options = config(params, 1)
    slot = node.slot(options)
    try:
        message = from_bytes_versioned(base64.b64decode(text(params, 0), validate=True))
    except (ValueError, binascii.Error) as error:
        raise invalid_params(f"invalid base64 or message: {error}") from error
    if not node.view.hash_is_valid(message.recent_blockhash, slot):
        return node.with_context(slot, None)
    budget = compute_budget(message)
    fee = LAMPORTS_PER_SIGNATURE * message.header.num_required_signatures + budget.priority_fee_lamports
    return node.with_context(slot, fee)


def get_recent_prioritization_fees(node: Node, params: list[Any]) -> Any:
    wanted = {pubkey(key) for key in strings(params, 0)} if params and params[0] is not None else set()
    if len(wanted) > MAX_FEE_KEYS:
        raise invalid_params(f"Too many inputs provided; max {MAX_FEE_KEYS}")
    tip = node.view.slot("processed")
    fees = []
    for slot in node.view.block_slots(tip - MAX_AGE + 1, tip, MAX_AGE):
        block = node.view.block(slot)
        prices = [
            compute_budget(record.transaction.message).micro_lamports_per_unit
            for record in (block.records if block is not None else ())
            if not wanted or wanted & writable_keys(record)
        ]
        fees.append({"slot": slot, "prioritizationFee": min(prices, default=0)})
    return fees


METHODS: dict[str, Method] = {
    "getVersion": get_version,
    "getHealth": get_health,
    "getGenesisHash": get_genesis_hash,
    "getIdentity": get_identity,
    "getSlot": get_slot,
    "getBlockHeight": get_block_height,
    "getEpochInfo": get_epoch_info,
    "getEpochSchedule": get_epoch_schedule,
    "getTransactionCount": get_transaction_count,
    "getFirstAvailableBlock": get_first_available_block,
    "minimumLedgerSlot": get_first_available_block,
    "getMaxShredInsertSlot": get_max_shred_insert_slot,
    "getLatestBlockhash": get_latest_blockhash,
    "isBlockhashValid": is_blockhash_valid,
    "getMinimumBalanceForRentExemption": get_rent_exemption,
    "getFeeForMessage": get_fee_for_message,
    "getRecentPrioritizationFees": get_recent_prioritization_fees,
}
