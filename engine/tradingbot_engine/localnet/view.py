"""What one node sees of the chain: its own tip, its holes, the fork that it sits on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature

from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.chain import MAX_AGE, STATUS_SLOTS, Block, Commitment, Record
from tradingbot_engine.localnet.store import Store


@dataclass(frozen=True, slots=True)
class Hole:
    """
    Slots, both ends included, whose history a node started from a snapshot does not have.

    The snapshot carries the status cache: whether something landed within `STATUS_SLOTS` is known all the same.
    """

    first: int
    last: int

    def __contains__(self, slot: object) -> bool:
        return isinstance(slot, int) and self.first <= slot <= self.last


class View(Protocol):
    """The chain as one node sees it; every slot argument is one that the view gave."""

    def slot(self, commitment: Commitment) -> int:
        """Slot of the newest block at `commitment`."""

    def height(self, slot: int) -> int:
        """Block height at `slot`."""

    def account(self, key: Pubkey, slot: int) -> Account | None:
        """The account as of `slot`."""

    def blockhash(self, slot: int) -> tuple[Hash, int]:
        """The hash of the newest block at or before `slot`, and the height of that block."""

    def hash_is_valid(self, blockhash: Hash, slot: int) -> bool:
        """Whether a transaction with `blockhash` passes in the bank of `slot`."""

    def confirmations(self, slot: int) -> int:
        """Blocks that the node has on top of the block of `slot`."""

    def recent(self, signature: Signature) -> Record | None:
        """The record, if the node's status cache holds it."""

    def find(self, signature: Signature) -> Record | None:
        """The record, from all of the node's history."""

    def of_address(self, address: Pubkey) -> Iterator[Record]:
        """Records that mention `address`, newest first."""

    def block(self, slot: int) -> Block | None:
        """The block of `slot`; None if the node has none."""

    def time_ms(self, slot: int) -> int | None:
        """Market time of the block of `slot`, unix milliseconds; None if the node has none."""

    def block_slots(self, start: int, end: int, limit: int) -> list[int]:
        """Slots of the blocks in [start, end], ascending."""

    def first_block(self) -> int:
        """The oldest block that the node claims to have."""


def commitment_of(view: View, slot: int) -> Commitment:
    """How final the block of `slot` is in that view."""
    if slot <= view.slot("finalized"):
        return "finalized"
    return "confirmed" if slot <= view.slot("confirmed") else "processed"


class LiveView:
    """A node on the live chain, `lag` blocks behind its tip."""

    def __init__(
        self,
        bank: Bank,
        store: Store | None,
        *,
        lag: int = 0,
        holes: Iterable[Hole] = (),
        first_block: int | None = None,
    ) -> None:
        self._bank = bank
        self._store = store
        self._lag = lag
        self._holes = tuple(holes)
        self._first = first_block

    def _tip(self) -> int:
        return max(0, len(self._bank.blocks) - 1 - self._lag)

    def _missing(self, slot: int) -> bool:
        return any(slot in hole for hole in self._holes)

    def slot(self, commitment: Commitment) -> int:
        bank = self._bank
        depth = {"processed": 0, "confirmed": bank.confirm_depth, "finalized": bank.finalize_depth}[commitment]
        tip = self._tip()
        slot = bank.blocks[max(0, tip - depth)].slot
        if tip == len(bank.blocks) - 1 and commitment == "finalized":
            return bank.finalized_slot
        # what was final before a restart is final for laggards too, as far as they have come
        settled = min(bank.settled_slot, bank.blocks[tip].slot)
        return min(max(slot, settled), bank.finalized_slot) if commitment == "finalized" else max(slot, settled)

    def height(self, slot: int) -> int:
        return self._bank.block_at(slot).height

    def account(self, key: Pubkey, slot: int) -> Account | None:
        return self._bank.account(key, slot)

    def blockhash(self, slot: int) -> tuple[Hash, int]:
        block = self._bank.block_at(slot)
        return block.hash, block.height

    def hash_is_valid(self, blockhash: Hash, slot: int) -> bool:
        height = self._bank.hashes.get(blockhash)
        return height is not None and height <= self.height(slot) <= height + MAX_AGE

    def confirmations(self, slot: int) -> int:
        blocks = self._bank.blocks
        return max(0, self._tip() - (bisect_right(blocks, slot, key=lambda b: b.slot) - 1))

    def recent(self, signature: Signature) -> Record | None:
        record = self._bank.history.recent(signature)
        tip = self.slot("processed")
        if record is None or not tip - STATUS_SLOTS <= record.slot <= tip:
            return None
        return record  # holes or not: a snapshot carries the status cache

    def find(self, signature: Signature) -> Record | None:
        record = self._bank.history.find(signature)
        if record is None or record.slot > self.slot("processed") or self._missing(record.slot):
            return None
        return record

    def of_address(self, address: Pubkey) -> Iterator[Record]:
        tip = self.slot("processed")
        for record in self._bank.history.of_address(address):
            if record.slot <= tip and not self._missing(record.slot):
                yield record

    def block(self, slot: int) -> Block | None:
        if slot > self.slot("processed") or self._missing(slot):
            return None
        block = self._bank.block_at(slot)
        if block.slot == slot:
            return block
        return self._store.block(slot) if self._store is not None and slot < block.slot else None

    def time_ms(self, slot: int) -> int | None:
        block = self._bank.block_at(slot)
        if block.slot == slot:
            return block.time_ms
        return self._store.time_ms(slot) if self._store is not None and slot < block.slot else None

    def block_slots(self, start: int, end: int, limit: int) -> list[int]:
        blocks = self._bank.blocks
        end = min(end, self.slot("processed"))
        oldest = blocks[0].slot
        found: list[int] = []
        if self._store is not None and start < oldest:
            missing = sum(hole.last - hole.first + 1 for hole in self._holes)
            stored = self._store.block_slots(start, min(end, oldest - 1), limit + missing)
            found = [slot for slot in stored if not self._missing(slot)][:limit]
        at = bisect_right(blocks, start - 1, key=lambda b: b.slot)
        while at < len(blocks) and blocks[at].slot <= end and len(found) < limit:
            if not self._missing(blocks[at].slot):
                found.append(blocks[at].slot)
            at += 1
        return found

    def first_block(self) -> int:
        return self._first if self._first is not None else self._bank.first_slot
