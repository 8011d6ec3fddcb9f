"""
The on-chain guard: which attempts carry one, what its refusal looks like, and who made the account.

The guard is instruction 0 of its transaction and makes the account whose address follows from wallet and intent. Only one
transaction can, so "account in use" means *already executed*: by whom, the chain itself says.

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from tradingbot_engine.clock import Clock
from tradingbot_engine.core.risk.approve import GUARD_RENT_LAMPORTS
from tradingbot_engine.domain.intents import Attempt
from tradingbot_engine.domain.units import Address, IntentId, Lamports, Signature
from tradingbot_engine.execution.port import Creator, QuoteUnavailable
from tradingbot_engine.execution.programs import SYSTEM, guard_account
from tradingbot_engine.execution.wallet_change import FillUnbalanced, account_keys
from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.methods import Rpc

ACCOUNT_IN_USE = 0
"""`SystemError::AccountAlreadyInUse`."""
RENT_GOOD_S = 3600.0
"""The cluster may vote on rent: what a node said is asked again after this."""
_CREATE_WITH_SEED, _TRANSFER_WITH_SEED = 3, 11


def carries_guard(attempt: Attempt) -> bool:
    """Return whether the attempt makes its intent's guard account: settings may change, journalled bytes do not."""
    return wire_carries_guard(attempt.wire, attempt.intent_id)


def wire_carries_guard(wire: bytes, intent_id: IntentId) -> bool:
    """Return whether instruction 0 of a transaction is the guard of the intent."""
    try:
        message = VersionedTransaction.from_bytes(wire).message
        first = message.instructions[0]
        payer, program = message.account_keys[0], message.account_keys[first.program_id_index]
    except (ValueError, IndexError):
        return False  # a paper attempt, or a message that needs tables to be read: none of ours does
    return program == SYSTEM and seed_of_guard(bytes(first.data), payer) == intent_id


def seed_of_guard(data: bytes, base: Pubkey) -> str | None:
    """Return the seed of a `createAccountWithSeed` from `base` into the System program; None if it is anything else."""
    if len(data) < 44 or int.from_bytes(data[:4], "little") != _CREATE_WITH_SEED or data[4:36] != bytes(base):
        return None
    length = int.from_bytes(data[36:44], "little")
    if len(data) != 44 + length + 48 or data[-32:] != bytes(SYSTEM):
        return None
    return data[44 : 44 + length].decode("utf-8", "replace")


def seed_of_reclaim(data: bytes) -> str | None:
    """Return the seed of a `transferWithSeed` out of an account of the System program; None if it is anything else."""
    if len(data) < 20 or int.from_bytes(data[:4], "little") != _TRANSFER_WITH_SEED:
        return None
    length = int.from_bytes(data[12:20], "little")
    if len(data) != 20 + length + 32 or data[-32:] != bytes(SYSTEM):
        return None
    return data[20 : 20 + length].decode("utf-8", "replace")


def refused_by_guard(error: Any) -> bool:
    """Return whether a transaction error, as an object or as JSON, is instruction 0 saying that the account is in use."""
    if isinstance(error, str):
        try:
            error = orjson.loads(error)
        except orjson.JSONDecodeError:
            return False
    return bool(error == {"InstructionError": [0, {"Custom": ACCOUNT_IN_USE}]})


def maker_of(shown: Mapping[str, Any], *, guard: Address, wallet: Address) -> bool | None:
    """
    Return whether the wallet signed the transaction that made `guard`; None if this transaction did not make it.

    Anybody may send lamports to an address that is known, and then no guard can be made there; that is no execution.

    Raises:
        FillUnbalanced: The node shows no whole transaction.
    """
    try:
        meta, message = shown["meta"], shown["transaction"]["message"]
        keys = account_keys(message, meta)
        if meta["err"] is not None or guard not in keys:
            return None
        at = keys.index(guard)
        if int(meta["preBalances"][at]) != 0 or int(meta["postBalances"][at]) == 0:
            return None
        return wallet in keys[: int(message["header"]["numRequiredSignatures"])]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise FillUnbalanced(f"unreadable transaction ({type(error).__name__})") from error


class Guards:
    """Asks the chain about guard accounts of one wallet; holds nothing but the rent."""

    def __init__(self, rpc: Rpc, *, wallet: Pubkey, clock: Clock) -> None:
        self._rpc, self._wallet, self._clock = rpc, wallet, clock
        self._rent: Lamports = 0
        self._rent_until_s = 0.0

    def address(self, intent_id: IntentId) -> Address:
        """Return the address of the intent's guard."""
        return str(guard_account(self._wallet, intent_id))

    async def rent(self) -> Lamports:
        """
        Return what an account without data must hold, as the chain says.

        Raises:
            QuoteUnavailable: More than what is reserved for it: one node is wrong, or the cluster has changed its rent.
            RpcError: No node says.
        """
        if self._clock.monotonic_s() >= self._rent_until_s:
            rent = await self._rpc.get_minimum_balance_for_rent_exemption(0)
            if not 0 < rent <= GUARD_RENT_LAMPORTS:
                raise QuoteUnavailable(f"a node asks {rent} lamports for a guard, {GUARD_RENT_LAMPORTS} are reserved")
            self._rent, self._rent_until_s = rent, self._clock.monotonic_s() + RENT_GOOD_S
        return self._rent

    async def creator(self, intent_id: IntentId, *, providers: Sequence[str]) -> Creator | None:
        """Return the finalized transaction that made the intent's guard, from the first provider that shows it; None if none does."""
        for name in providers:
            try:
                found = await self._creator(self._rpc.pinned(name), self.address(intent_id))
            except (RpcError, FillUnbalanced):
                continue  # this node does not show it readably
            if found is not None:
                return found
        return None

    async def _creator(self, rpc: Rpc, guard: Address) -> Creator | None:
        succeeded: list[Signature] = []
        before: Signature | None = None
        while page := (await rpc.get_signatures_for_address(guard, before=before)).result:
            succeeded += [row.signature for row in page if not row.failed]
            before = page[-1].signature
        for signature in reversed(succeeded):  # the oldest that made it: after a reclaim it could be made again
            shown = (await rpc.get_transaction(signature, "finalized")).result
            if shown is None:
                return None  # an older one may be it: this node cannot say
            ours = maker_of(shown, guard=guard, wallet=str(self._wallet))
            if ours is not None:
                return Creator(signature, ours)
        return None
