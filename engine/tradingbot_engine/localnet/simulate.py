"""Running a transaction without effect, as preflight and `simulateTransaction` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, SimulatedTransactionInfo

from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.encode.transactions import inner_instructions, return_data
from tradingbot_engine.localnet.view import View
from tradingbot_engine.localnet.vm import error_of


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a transaction would do; `err` in the JSON form of validators, None for success."""

    err: Any
    logs: list[str] = field(default_factory=list)
    units: int = 0
    loaded_bytes: int = 0
    return_data: dict[str, Any] | None = None
    inner_instructions: list[dict[str, Any]] = field(default_factory=list)
    accounts: Sequence[tuple[Pubkey, Account]] = ()


def simulate(bank: Bank, view: View, transaction: VersionedTransaction, slot: int) -> Simulation:
    """
    Check the transaction in the bank of `slot` as `view` has it, then run it on the live state without keeping it.

    A node on a dead fork judges age and duplicates by its own fork; accounts are the live ones (the SVM holds one state).
    """
    signature = transaction.signatures[0]
    if (
        not view.hash_is_valid(transaction.message.recent_blockhash, slot)
        and bank.vm.nonce_account(transaction) is None
    ):
        return Simulation(err="BlockhashNotFound")
    landed = view.recent(signature)
    if landed is not None and landed.slot <= slot:
        return Simulation(err="AlreadyProcessed")
    keys = bank.vm.keys_of(transaction)
    if keys is None:
        return Simulation(err="AddressLookupTableNotFound")
    result = bank.vm.svm.simulate_transaction(transaction)
    err, accounts = None, []
    if isinstance(result, FailedTransactionMetadata):
        err = error_of(result)
    elif isinstance(result, SimulatedTransactionInfo):
        accounts = result.post_accounts()
    meta = result.meta()
    loaded = (bank.vm.account(key) for key in set(keys.all))
    return Simulation(
        err=err,
        logs=list(meta.logs()),
        units=meta.compute_units_consumed(),
        loaded_bytes=sum(len(account.data) for account in loaded if account is not None),
        return_data=return_data(meta),
        inner_instructions=inner_instructions(keys.all, meta.inner_instructions(), parsed=True),
        accounts=accounts,
    )
