"""
From a checked plan to the message that is signed: guard or compute budget first, then mark, then swap. Pure.

Built from instructions only, so that the mark goes in and the priority fee is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import CreateAccountWithSeedParams, create_account_with_seed
from solders.transaction import VersionedTransaction

from tradingbot_engine.domain.units import IntentId, Lamports
from tradingbot_engine.execution.plan import MAX_UNITS, SwapPlan
from tradingbot_engine.execution.port import QuoteRefused, TransactionTooLarge
from tradingbot_engine.execution.programs import MEMO, SYSTEM, guard_account

Mark: TypeAlias = Literal["Memo", "Guard", "None"]

MAX_TRANSACTION_BYTES = 1232
"""One IPv6 packet without fragmentation."""
MEMO_PREFIX = "tb1:"
UNITS_OF_MARK = {"Memo": 25_000, "Guard": 5_000, "None": 0}
"""Compute units added to the API's advice: it does not know of the mark. The memo program needs about 400 a character."""


def memo_instruction(intent_id: IntentId) -> Instruction:
    """Return the memo that carries the intent's id; it names no signer: what counts is that the wallet signed the transaction."""
    return Instruction(MEMO, f"{MEMO_PREFIX}{intent_id}".encode(), [])


def guard_instruction(*, wallet: Pubkey, intent_id: IntentId, rent_lamports: Lamports) -> Instruction:
    """
    Return the making of the account whose address is derived from the id: a second landing fails by it, as a whole.

    The account is the System program's and empty: so nobody but the wallet can take its lamports out, which is how the
    rent comes back (`transferWithSeed`); an account of a program of its own would need that program to be emptied.
    """
    return create_account_with_seed(
        CreateAccountWithSeedParams(
            from_pubkey=wallet,
            to_pubkey=guard_account(wallet, intent_id),
            base=wallet,
            seed=intent_id,
            lamports=rent_lamports,
            space=0,
            owner=SYSTEM,
        )
    )


def unit_price(*, units: int, advised_micro_lamports: int, max_lamports: Lamports) -> int:
    """Return the price of a compute unit in micro-lamports: the advice, clamped so that the whole fee is at most `max_lamports`."""
    return max(0, min(advised_micro_lamports, max_lamports * 1_000_000 // units))


def priority_fee_lamports(*, units: int, price_micro_lamports: int) -> Lamports:
    """Return what validators charge for it: rounded up."""
    return -(-units * price_micro_lamports // 1_000_000)


def build_message(
    plan: SwapPlan,
    *,
    wallet: Pubkey,
    intent_id: IntentId,
    mark: Mark,
    max_priority_fee_lamports: Lamports,
    lookup_tables: Sequence[AddressLookupTableAccount],
    blockhash: str,
    guard_rent_lamports: Lamports = 0,
) -> bytes:
    """
    Return the v0 message to sign.

    Args:
        plan: Checked (`plan.check_plan`); besides its instructions only the mark and the compute budget go in.
        wallet: The only signer.
        intent_id: Carried by the mark.
        mark: How.
        max_priority_fee_lamports: The advised price is clamped to it.
        lookup_tables: As our own nodes show them.
        blockhash: With which the transaction is valid.
        guard_rent_lamports: What makes an account without data exempt from rent; for the mark Guard only.

    Raises:
        TransactionTooLarge: With a signature it would be longer than a packet; fewer accounts may help.
        QuoteRefused: The instructions cannot be compiled, or another signer would be needed.
    """
    units = min(MAX_UNITS, (plan.compute_unit_limit or MAX_UNITS) + UNITS_OF_MARK[mark])
    price = unit_price(
        units=units,
        advised_micro_lamports=plan.compute_unit_price_micro_lamports,
        max_lamports=max_priority_fee_lamports,
    )
    budget = [set_compute_unit_limit(units), set_compute_unit_price(price)]
    if mark == "Guard":
        # First of all: an error in instruction 0 then says that the guard refused, and nothing else can.
        guard = guard_instruction(wallet=wallet, intent_id=intent_id, rent_lamports=guard_rent_lamports)
        instructions = [guard, *budget, *plan.instructions]
    else:
        instructions = [*budget, *((memo_instruction(intent_id),) if mark == "Memo" else ()), *plan.instructions]
    try:
        message = MessageV0.try_compile(wallet, instructions, list(lookup_tables), Hash.from_string(blockhash))
    except Exception as error:  # solders raises its own classes for accounts beyond what indexes can name
        raise TransactionTooLarge(f"the message cannot be compiled ({type(error).__name__})") from error
    if message.header.num_required_signatures != 1:
        raise QuoteRefused("ForeignSigner: more than the wallet's signature would be needed")
    raw = to_bytes_versioned(message)
    size = 1 + 64 + len(raw)
    if size > MAX_TRANSACTION_BYTES:
        raise TransactionTooLarge(f"{size} bytes, {MAX_TRANSACTION_BYTES} is the limit")
    return raw


def assemble(message: bytes, signature: Signature) -> bytes:
    """Return the transaction's wire bytes."""
    return bytes(VersionedTransaction.populate(MessageV0.from_bytes(message[1:]), [signature]))
