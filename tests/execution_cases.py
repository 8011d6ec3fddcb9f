"""Intents, quotes and plans that the execution tests share."""

from __future__ import annotations

import base64
import struct
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from tradingbot_engine.domain.intents import Attempt, IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.signals import Priority, Purpose, Side
from tradingbot_engine.domain.units import SOL_MINT
from tradingbot_engine.execution.programs import ASSOCIATED_TOKEN, SYSTEM, TOKEN, WRAPPED_SOL, associated_token_account
from tradingbot_engine.market.layouts import POOL_PROGRAM_ID

BONK = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
WALLET = Keypair.from_seed(bytes(range(32)))
OWNER = WALLET.pubkey()
INTENT_ID = "0123456789abcdef0123456789abcdef"


def intent(**changes: Any) -> OrderIntent:
    values: dict[str, Any] = {
        "id": INTENT_ID,
        "strategy": "momentum",
        "mint": BONK,
        "side": Side.BUY,
        "purpose": Purpose.ENTRY,
        "priority": Priority.NORMAL,
        "position_id": INTENT_ID,
        "amount_in": 1_000_000_000,
        "reserve_quote": 1_000_000_000,
        "reserve_lamports": 5_000_000,
        "max_slippage_bps": 100,
        "max_priority_fee_lamports": 100_000,
        "signal_at_ms": 1_700_000_000_000,
        "created_at_ms": 1_700_000_000_000,
        "price": 1e-7,
        "reason": "test",
    }
    return OrderIntent(**{**values, **changes})


def attempt(n: int = 1, **changes: Any) -> Attempt:
    values: dict[str, Any] = {
        "intent_id": INTENT_ID,
        "n": n,
        "signature": f"sig{n}",
        "wire": b"wire%d" % n,
        "blockhash": "11111111111111111111111111111111",
        "blockhash_slot": 1000,
        "last_valid_block_height": 1150,
        "epoch": 1,
        "signed_at_ms": 1_700_000_000_000,
        "quoted_out": 5_000_000,
    }
    return Attempt(**{**values, **changes})


def record(state: IntentState = IntentState.INTENT, n: int = 0, **changes: Any) -> IntentRecord:
    attempts = tuple(attempt(i + 1) for i in range(n))
    values: dict[str, Any] = {
        "intent": intent(),
        "shard": 0,
        "epoch": 1,
        "state": state,
        "attempt": n,
        "attempts": attempts,
        "updated_at_ms": 1_700_000_000_000,
    }
    return IntentRecord(**{**values, **changes})


def quote_body(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "inputMint": SOL_MINT,
        "inAmount": "1000000000",
        "outputMint": BONK,
        "outAmount": "5000000",
        "otherAmountThreshold": "4950000",
        "swapMode": "ExactIn",
        "slippageBps": 100,
        "platformFee": None,
        "priceImpactPct": "0.0012",
        "routePlan": [],
        "contextSlot": 1000,
    }
    return {**values, **changes}


def create_token_account(owner: Pubkey, mint: Pubkey, payer: Pubkey = OWNER) -> Instruction:
    metas = [
        AccountMeta(payer, True, True),
        AccountMeta(associated_token_account(owner, mint), False, True),
        AccountMeta(owner, False, False),
        AccountMeta(mint, False, False),
        AccountMeta(SYSTEM, False, False),
        AccountMeta(TOKEN, False, False),
    ]
    return Instruction(ASSOCIATED_TOKEN, b"\1", metas)


def wrap(lamports: int, to: Pubkey | None = None) -> Instruction:
    target = associated_token_account(OWNER, WRAPPED_SOL) if to is None else to
    return transfer(TransferParams(from_pubkey=OWNER, to_pubkey=target, lamports=lamports))


def close_wrapped(to: Pubkey = OWNER) -> Instruction:
    account = associated_token_account(OWNER, WRAPPED_SOL)
    return Instruction(
        TOKEN,
        b"\x09",
        [AccountMeta(account, False, True), AccountMeta(to, False, True), AccountMeta(OWNER, True, False)],
    )


def own_account(mint: str, owner: Pubkey = OWNER) -> Pubkey:
    return associated_token_account(owner, Pubkey.from_string(mint))


def swap_instruction(
    destination: Pubkey | None = None,
    *,
    source: Pubkey | None = None,
    signer: Pubkey = OWNER,
    program: Pubkey = POOL_PROGRAM_ID,
    amount: int = 1_000_000_000,
    min_out: int = 4_950_000,
    accounts: int = 0,
) -> Instruction:
    """A swap of SOL for BONK as localnet's pool program reads it; `accounts` more are of no meaning to it."""
    metas = [
        AccountMeta(signer, True, False),
        AccountMeta(TOKEN, False, False),
        AccountMeta(own_account(SOL_MINT) if source is None else source, False, True),
        *(AccountMeta(Pubkey.new_unique(), False, True) for _ in range(accounts + 4)),
        AccountMeta(own_account(BONK) if destination is None else destination, False, True),
    ]
    return Instruction(program, struct.pack("<BQQ", 1, amount, min_out), metas)


def as_json(instruction: Instruction) -> dict[str, Any]:
    return {
        "programId": str(instruction.program_id),
        "accounts": [
            {"pubkey": str(a.pubkey), "isSigner": a.is_signer, "isWritable": a.is_writable}
            for a in instruction.accounts
        ],
        "data": base64.b64encode(bytes(instruction.data)).decode(),
    }
