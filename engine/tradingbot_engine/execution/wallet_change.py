"""
What a transaction did to the wallet, from `getTransaction`: exact, to the lamport. Pure.

Token amounts come from the balances before and after; lamports must add up, or the fill is refused as a whole.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import based58
from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import SOL_MINT, Address, BaseUnits, IntentId, Lamports, Mint, Slot, UnixMs
from tradingbot_engine.errors import FatalError
from tradingbot_engine.execution.programs import JITO_TIP_ACCOUNTS, SYSTEM, guard_account

LAMPORTS_PER_SIGNATURE: Lamports = 5000


class FillUnbalanced(FatalError):
    """
    The chain's own numbers do not add up to what we understand of the transaction: do not trade on a wrong fill.

    From one provider it is that provider's word only; the executor raises it once nothing speaks for another reading.
    """

    reason = "FillUnbalanced"


@dataclass(frozen=True, slots=True)
class WalletChange:
    """
    What one transaction did to one wallet; every number is a change of what the wallet has.

    lamports = swap_lamports - base_fee - priority_fee - tip - rent, exactly; `rent` is what moved from the wallet into
    accounts of its own (negative: came back). `swap_lamports` counts wrapped SOL as SOL.
    """

    slot: Slot
    block_time_ms: UnixMs
    failed: bool
    lamports: Lamports
    swap_lamports: Lamports
    base_fee: Lamports
    priority_fee: Lamports
    tip: Lamports
    rent: Lamports
    tokens: Mapping[Mint, BaseUnits]
    """Change by mint, wrapped SOL left out (it is in `swap_lamports`); zero changes left out."""

    def of(self, mint: Mint) -> int:
        """Return the swap's change of `mint`, in base units."""
        return self.swap_lamports if mint == SOL_MINT else self.tokens.get(mint, 0)


def read_change(transaction: Mapping[str, Any], *, wallet: Address, intent_id: IntentId | None = None) -> WalletChange:
    """
    Return what a transaction did to `wallet`.

    Args:
        transaction: The result of `getTransaction`, encoding json or jsonParsed.
        wallet: Must be the fee payer.
        intent_id: If given, its guard account counts as the wallet's own.

    Raises:
        FillUnbalanced: The numbers contradict each other.
    """
    try:
        return _read(transaction, wallet, intent_id)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
        raise FillUnbalanced(f"unreadable transaction ({type(error).__name__}: {str(error)[:100]})") from error


def _read(transaction: Mapping[str, Any], wallet: Address, intent_id: IntentId | None) -> WalletChange:
    meta, message = transaction["meta"], transaction["transaction"]["message"]
    keys = account_keys(message, meta)
    before, after = _amounts(meta["preBalances"]), _amounts(meta["postBalances"])
    fee = int(meta["fee"])
    if not len(keys) == len(before) == len(after):
        raise FillUnbalanced(f"{len(keys)} accounts, but {len(before)} and {len(after)} balances")
    if keys[0] != wallet:
        raise FillUnbalanced(f"the fee payer is {keys[0]}, not the wallet")
    if sum(before) - sum(after) != fee:
        raise FillUnbalanced(f"{sum(before) - sum(after)} lamports vanished, the fee is {fee}")
    failed = meta["err"] is not None
    base_fee = LAMPORTS_PER_SIGNATURE * len(transaction["transaction"]["signatures"])
    if fee < base_fee:
        raise FillUnbalanced(f"the fee of {fee} is below {base_fee} for the signatures")
    priority_fee = fee - base_fee

    token_before = _tokens(meta.get("preTokenBalances") or [], wallet)
    token_after = _tokens(meta.get("postTokenBalances") or [], wallet)
    own = set(token_before) | set(token_after)
    if intent_id is not None:
        guard = str(guard_account(Pubkey.from_string(wallet), intent_id))
        own |= {i for i, key in enumerate(keys) if key == guard}
    tokens: dict[Mint, int] = {}
    for balances, sign in ((token_after, 1), (token_before, -1)):
        for mint, amount in balances.values():
            tokens[mint] = tokens.get(mint, 0) + sign * amount
    tokens.pop(SOL_MINT, None)  # its amount is lamports of the account, which are counted below

    lamports = after[0] - before[0]
    rent = sum(after[i] - before[i] for i in own)
    tip = 0 if failed else _tips(transaction, keys, wallet)
    swap_lamports = lamports + base_fee + priority_fee + tip + rent
    if failed and (lamports != -fee or rent or any(tokens.values())):
        raise FillUnbalanced(f"a failed transaction moved {lamports} lamports, its fee is {fee}")
    at = transaction.get("blockTime")
    return WalletChange(
        slot=int(transaction["slot"]),
        block_time_ms=0 if at is None else int(at) * 1000,
        failed=failed,
        lamports=lamports,
        swap_lamports=swap_lamports,
        base_fee=base_fee,
        priority_fee=priority_fee,
        tip=tip,
        rent=rent,
        tokens={mint: change for mint, change in tokens.items() if change},
    )


def account_keys(message: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Address]:
    """Return all accounts of a transaction in the order of its balances: its own, then those of lookup tables."""
    keys = [str(k["pubkey"]) if isinstance(k, dict) else str(k) for k in message["accountKeys"]]
    parsed = any(isinstance(k, dict) for k in message["accountKeys"])  # jsonParsed lists the looked-up ones already
    loaded = meta.get("loadedAddresses") or {}
    return keys if parsed else [*keys, *loaded.get("writable", ()), *loaded.get("readonly", ())]


def _amounts(balances: Sequence[Any]) -> list[Lamports]:
    return [int(b) for b in balances]


def _tokens(balances: Sequence[Mapping[str, Any]], wallet: Address) -> dict[int, tuple[Mint, BaseUnits]]:
    """Return account index → (mint, amount) of the wallet's own token accounts."""
    return {
        int(b["accountIndex"]): (str(b["mint"]), int(b["uiTokenAmount"]["amount"]))
        for b in balances
        if b.get("owner") == wallet
    }


def _program_and_data(instruction: Mapping[str, Any], keys: Sequence[Address]) -> tuple[Address, bytes]:
    program = instruction.get("programId")
    data = instruction.get("data")
    return (
        keys[instruction["programIdIndex"]] if program is None else str(program),
        based58.b58decode(data.encode()) if isinstance(data, str) and data else b"",
    )


def _tips(transaction: Mapping[str, Any], keys: Sequence[Address], wallet: Address) -> Lamports:
    """Return what top-level transfers of the wallet gave to block builders."""
    total = 0
    for instruction in transaction["transaction"]["message"]["instructions"]:
        parsed = instruction.get("parsed")
        if isinstance(parsed, Mapping):
            info = parsed.get("info", {})
            if parsed.get("type") == "transfer" and instruction.get("program") == "system":
                total += int(info["lamports"]) if _is_tip(info["source"], info["destination"], wallet) else 0
            continue
        program, data = _program_and_data(instruction, keys)
        if program == str(SYSTEM) and len(data) == 12 and data[:4] == b"\2\0\0\0":
            source, destination = (keys[i] for i in instruction["accounts"][:2])
            total += struct.unpack("<Q", data[4:])[0] if _is_tip(source, destination, wallet) else 0
    return total


def _is_tip(source: Address, destination: Address, wallet: Address) -> bool:
    return source == wallet and destination in JITO_TIP_ACCOUNTS
