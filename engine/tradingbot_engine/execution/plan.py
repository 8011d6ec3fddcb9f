"""
What the swap API wants executed, read strictly and checked against what a trade of ours may do.

The API is trusted with the route, never with the wallet: instructions are taken one by one, and each must be of a kind
that cannot move anything to anybody else.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import Lamports
from tradingbot_engine.execution.port import QuoteRefused, QuoteUnavailable
from tradingbot_engine.execution.programs import (
    ASSOCIATED_TOKEN,
    COMPUTE_BUDGET,
    SYSTEM,
    TOKEN,
    TOKEN_2022,
    WRAPPED_SOL,
    associated_token_account,
)
from tradingbot_engine.execution.swap_terms import SwapTerms, read_terms

_SET_UNIT_LIMIT, _SET_UNIT_PRICE = 2, 3
_SYSTEM_TRANSFER = struct.Struct("<IQ")
_TRANSFER = 2
_CLOSE_ACCOUNT, _SYNC_NATIVE = 9, 17
MAX_UNITS = 1_400_000


@dataclass(frozen=True, slots=True)
class SwapPlan:
    """Instructions of a swap in the order of execution; compute units and their price are the API's advice."""

    setup: tuple[Instruction, ...]
    swap: Instruction
    cleanup: tuple[Instruction, ...]
    compute_unit_limit: int | None
    compute_unit_price_micro_lamports: int
    lookup_table_addresses: tuple[str, ...]
    """Only where tables are: what is in them comes from our own nodes, or the API could rename what is checked here."""

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        return (*self.setup, self.swap, *self.cleanup)


def read_plan(body: dict[str, Any]) -> SwapPlan:
    """
    Read the answer of `swap-instructions` (v1) or `build` (v2).

    A tip is left out: it is not part of the swap, and no setting allows one.

    Raises:
        QuoteUnavailable: The answer is malformed, or says that the transaction would fail.
    """
    simulation = body.get("simulationError")
    if simulation:
        text = simulation.get("error", "") if isinstance(simulation, dict) else simulation
        raise QuoteUnavailable(f"the swap API's own simulation fails: {str(text)[:200]}")
    try:
        limit, price = _budget([_instruction(i) for i in body.get("computeBudgetInstructions") or []])
        other = [_instruction(i) for i in body.get("otherInstructions") or []]
        cleanup = body.get("cleanupInstruction")
        tables = body.get("addressLookupTableAddresses") or body.get("addressesByLookupTableAddress") or ()
        return SwapPlan(
            setup=tuple(_instruction(i) for i in body.get("setupInstructions") or []) + tuple(other),
            swap=_instruction(body["swapInstruction"]),
            cleanup=() if cleanup is None else (_instruction(cleanup),),
            compute_unit_limit=limit,
            compute_unit_price_micro_lamports=price,
            lookup_table_addresses=tuple(str(Pubkey.from_string(address)) for address in tables),
        )
    except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise QuoteUnavailable(f"malformed instructions ({type(error).__name__}: {str(error)[:100]})") from error


def _instruction(raw: dict[str, Any]) -> Instruction:
    accounts = []
    for account in raw["accounts"]:
        signer, writable = account["isSigner"], account["isWritable"]
        if not isinstance(signer, bool) or not isinstance(writable, bool):
            raise ValueError("account flags must be booleans")
        accounts.append(AccountMeta(Pubkey.from_string(account["pubkey"]), signer, writable))
    return Instruction(Pubkey.from_string(raw["programId"]), base64.b64decode(raw["data"], validate=True), accounts)


def _budget(instructions: Sequence[Instruction]) -> tuple[int | None, int]:
    limit, price = None, 0
    for instruction in instructions:
        if instruction.program_id != COMPUTE_BUDGET:
            raise ValueError("a compute budget instruction of another program")
        data = bytes(instruction.data)
        if data[0] == _SET_UNIT_LIMIT:
            limit = min(MAX_UNITS, struct.unpack("<I", data[1:])[0])
        elif data[0] == _SET_UNIT_PRICE:
            price = struct.unpack("<Q", data[1:])[0]
    return limit, price


def check_plan(
    plan: SwapPlan,
    *,
    wallet: Pubkey,
    input_mint: Pubkey,
    output_mint: Pubkey,
    amount_in: int,
    min_amount_out: int,
    swap_programs: Set[Pubkey],
    other_mints: Collection[Pubkey] = (),
) -> None:
    """
    Refuse a plan that could do anything but this swap.

    Args:
        plan: As the API sent it.
        wallet: The only signer that there may be.
        input_mint: What is spent, from the wallet's own account of it; SOL is wrapped for it, up to `amount_in`.
        output_mint: What is bought; the swap must pay into the wallet's own account of it.
        amount_in: Base units that the swap must spend, no more and no less.
        min_amount_out: Base units below which the swap itself must fail.
        swap_programs: Programs that may be called for the swap.
        other_mints: Tokens that the wallet may hold and that this trade is not about: a route leads past our accounts of
            them, since markets along it are given the wallet's signature.

    Raises:
        QuoteRefused: With the first offence.
    """
    for instruction in plan.instructions:
        for account in instruction.accounts:
            if account.is_signer and account.pubkey != wallet:
                raise QuoteRefused(f"ForeignSigner: {account.pubkey} would have to sign")
    if plan.swap.program_id not in swap_programs:
        raise QuoteRefused(f"ForeignProgram: the swap calls {plan.swap.program_id}")
    untouchable = {
        account
        for mint in other_mints
        if mint not in (input_mint, output_mint)
        for account in _accounts_of(wallet, mint)
    }
    for account in plan.swap.accounts:
        if account.pubkey in untouchable:
            raise QuoteRefused(f"ForeignAccount: the swap names {account.pubkey}, where another token of ours is kept")
    _check_terms(
        read_terms(plan.swap),
        wallet=wallet,
        input_mint=input_mint,
        output_mint=output_mint,
        amount_in=amount_in,
        min_amount_out=min_amount_out,
    )
    wrapped = associated_token_account(wallet, WRAPPED_SOL)
    moved = sum(
        _check_helper(instruction, wallet=wallet, wrapped=wrapped) for instruction in (*plan.setup, *plan.cleanup)
    )
    wrap_at_most = amount_in if input_mint == WRAPPED_SOL else 0
    if moved > wrap_at_most:
        raise QuoteRefused(f"TooMuchWrapped: {moved} lamports would be wrapped, at most {wrap_at_most} are spent")


def _check_terms(
    terms: SwapTerms,
    *,
    wallet: Pubkey,
    input_mint: Pubkey,
    output_mint: Pubkey,
    amount_in: int,
    min_amount_out: int,
) -> None:
    """Refuse a swap of other amounts, accounts or fees than were agreed to."""
    if terms.signer != wallet:
        raise QuoteRefused(f"ForeignSigner: the swap spends what {terms.signer} owns")
    if terms.source not in _accounts_of(wallet, input_mint) or terms.mints[0] not in (None, input_mint):
        raise QuoteRefused(f"ForeignSource: the swap spends from {terms.source}, not from our account of {input_mint}")
    if terms.destination not in _accounts_of(wallet, output_mint) or terms.mints[1] not in (None, output_mint):
        raise QuoteRefused(
            f"ForeignDestination: the swap pays to {terms.destination}, not to our account of {output_mint}"
        )
    if terms.amount_in != amount_in:
        raise QuoteRefused(f"WrongAmount: the swap spends {terms.amount_in}, {amount_in} was asked for")
    if terms.min_out < min_amount_out:
        raise QuoteRefused(f"WrongMinimum: the swap accepts {terms.min_out}, the quote guarantees {min_amount_out}")
    if terms.fees_bps:
        raise QuoteRefused(f"PlatformFee: the swap takes {terms.fees_bps} bps that were not agreed to")


def _accounts_of(wallet: Pubkey, mint: Pubkey) -> frozenset[Pubkey]:
    return frozenset(associated_token_account(wallet, mint, program) for program in (TOKEN, TOKEN_2022))


def _check_helper(instruction: Instruction, *, wallet: Pubkey, wrapped: Pubkey) -> Lamports:
    """Refuse whatever is not needed around a swap; return the lamports that it wraps."""
    program, data = instruction.program_id, bytes(instruction.data)
    keys = [account.pubkey for account in instruction.accounts]
    if program == ASSOCIATED_TOKEN:
        if data not in (b"", b"\0", b"\1") or len(keys) < 6 or keys[0] != wallet:
            raise QuoteRefused("ForeignInstruction: not a plain creation of a token account")
        if keys[2] != wallet:
            raise QuoteRefused(f"ForeignAccount: a token account for {keys[2]} would be paid for")
        return 0
    if program == SYSTEM:
        if len(data) != _SYSTEM_TRANSFER.size or len(keys) < 2:
            raise QuoteRefused("ForeignInstruction: a system instruction that is no transfer")
        kind, lamports = _SYSTEM_TRANSFER.unpack(data)
        if kind != _TRANSFER or keys[:2] != [wallet, wrapped]:
            raise QuoteRefused("ForeignTransfer: lamports may only go into the wallet's wrapped SOL")
        return int(lamports)
    if program in (TOKEN, TOKEN_2022):
        if data == bytes([_SYNC_NATIVE]) and keys[:1] == [wrapped]:
            return 0
        if data == bytes([_CLOSE_ACCOUNT]) and keys[:3] == [wrapped, wallet, wallet]:
            return 0
        raise QuoteRefused("ForeignInstruction: a token instruction that a swap does not need")
    raise QuoteRefused(f"ForeignProgram: {program} is not needed for a swap")
