"""Transactions on their way to a leader."""

from __future__ import annotations

from dataclasses import dataclass

from solders.signature import Signature
from solders.transaction import VersionedTransaction


@dataclass(frozen=True, slots=True)
class Pending:
    """One transaction; `not_before` is the first slot that may hold it."""

    transaction: VersionedTransaction
    not_before: int
    verified: bool


class Mempool:
    """What waits for its slot, in order of arrival; what is queued twice lands once, at the earlier slot."""

    def __init__(self) -> None:
        self._pending: dict[Signature, Pending] = {}

    def __contains__(self, signature: object) -> bool:
        return signature in self._pending

    def add(self, transaction: VersionedTransaction, *, not_before: int, verified: bool) -> None:
        """Queue a transaction."""
        signature = transaction.signatures[0]
        known = self._pending.get(signature)
        if known is None or known.not_before > not_before:
            self._pending[signature] = Pending(transaction, not_before, verified)

    def take(self, slot: int) -> list[Pending]:
        """Take what may land in `slot`."""
        due = [(signature, one) for signature, one in self._pending.items() if one.not_before <= slot]
        for signature, _ in due:
            del self._pending[signature]
        return [one for _, one in due]
