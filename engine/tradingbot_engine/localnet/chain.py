"""What the chain is made of: blocks and the transactions recorded in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from solders.account import Account
from solders.hash import Hash
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import TransactionMetadata

Commitment = Literal["processed", "confirmed", "finalized"]

MAX_AGE = 150
"""A blockhash is good while the parent's height is at most this far above the hash's own."""
STATUS_SLOTS = 300
"""Depth of the status cache, and how many blockhashes the queue keeps."""


class TokenBalance(NamedTuple):
    """Balance of one token account before or after a transaction, in base units."""

    account_index: int
    mint: Pubkey
    owner: Pubkey
    program: Pubkey
    amount: int
    decimals: int


@dataclass(slots=True)
class Record:
    """One transaction in a block, with all that `getTransaction` tells of it."""

    signature: Signature
    wire: bytes
    slot: int
    error: Any
    """The transaction's error as validators write it in JSON; None for success."""
    meta: TransactionMetadata
    keys: tuple[Pubkey, ...]
    """Static keys, then keys loaded writable, then keys loaded read-only."""
    loaded: tuple[int, int]
    """How many keys were loaded from lookup tables: writable, read-only."""
    pre_lamports: tuple[int, ...]
    post_lamports: tuple[int, ...]
    pre_tokens: tuple[TokenBalance, ...]
    post_tokens: tuple[TokenBalance, ...]
    _transaction: VersionedTransaction | None = None

    @property
    def transaction(self) -> VersionedTransaction:
        """The decoded transaction (decoded once)."""
        if self._transaction is None:
            self._transaction = VersionedTransaction.from_bytes(self.wire)
        return self._transaction

    @property
    def is_v0(self) -> bool:
        """Whether the message is versioned (0) rather than legacy."""
        return isinstance(self.transaction.message, MessageV0)


@dataclass(slots=True)
class Block:
    """One block of the live chain; `height` counts blocks, `slot` also counts the skipped."""

    slot: int
    height: int
    parent_slot: int
    parent_hash: Hash
    hash: Hash
    time_ms: int
    records: list[Record] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Branch:
    """Blocks that a fork abandoned, with the account values at their tip."""

    parent_slot: int
    blocks: tuple[Block, ...]
    accounts: Mapping[Pubkey, Account | None]
    hashes: Mapping[Hash, int]

    @property
    def records(self) -> list[Record]:
        """Transactions that landed on the branch, oldest first."""
        return [record for block in self.blocks for record in block.records]


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """
    Outcome of executing one transaction.

    `err` is None for success; `record` is None when the transaction never entered a block (bad signature, unknown or
    old blockhash, already processed, fee not payable), so that no fee was paid.
    """

    err: Any
    record: Record | None
    meta: TransactionMetadata | None
    signature: Signature

    @property
    def landed(self) -> bool:
        """Whether it entered a block, be it with an error."""
        return self.record is not None


class BankError(Exception):
    """The bank cannot do what was asked (rolling back what is final, an airdrop larger than the faucet)."""
