"""A fork that the cluster left and one node did not: its slots grow, nothing on it ever becomes final."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature

from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.chain import MAX_AGE, STATUS_SLOTS, Block, Branch, Commitment, Record
from tradingbot_engine.localnet.store import Store
from tradingbot_engine.localnet.view import LiveView


class DeadForkView:
    """
    The view of a node that stays behind on `branch`, or that leaves the live chain now and builds on its tip alone.

    Processed slots go on in step with the live chain's numbers; confirmed and finalized stand still, because no
    supermajority votes here. Statuses come from the processed bank, so that what landed on the live chain since is null
    under a `context.slot` that looks current.
    """

    def __init__(self, bank: Bank, store: Store | None, branch: Branch | None) -> None:
        self._bank = bank
        self._live = LiveView(bank, store)
        self._base = list(bank.blocks)
        self._own = list(branch.blocks) if branch is not None else []
        self._split = branch.parent_slot if branch is not None else bank.slot
        self._accounts = dict(branch.accounts) if branch is not None else {}
        self._hashes = dict(branch.hashes if branch is not None else bank.hashes)
        self._records = {record.signature: record for record in (branch.records if branch is not None else [])}
        self._number = bank.number
        chain = self._base + self._own
        self._tip = chain[-1]
        self._confirmed = chain[max(0, len(chain) - 1 - bank.confirm_depth)].slot
        self._finalized = bank.finalized_slot
        self._salt = f"{bank.genesis_hash}/dead/{bank.forks}/{self._split}"
        bank.pin(self, self._finalized)

    def close(self) -> None:
        """Let the bank forget the views that this one needed."""
        self._bank.unpin(self)

    def slot(self, commitment: Commitment) -> int:
        if commitment == "finalized":
            return self._finalized
        if commitment == "confirmed":
            return self._confirmed
        return self._tip.slot + self._bank.number - self._number

    def height(self, slot: int) -> int:
        if slot >= self._tip.slot:
            return self._tip.height + slot - self._tip.slot
        for block in reversed(self._base + self._own):
            if block.slot <= slot:
                return block.height
        return self._live.height(slot)

    def account(self, key: Pubkey, slot: int) -> Account | None:
        if slot > self._split and key in self._accounts:
            return self._accounts[key]
        return self._bank.account(key, min(slot, self._split))

    def blockhash(self, slot: int) -> tuple[Hash, int]:
        height = self.height(slot)
        if slot > self._tip.slot:
            value = Hash(hashlib.sha256(f"{self._salt}/{slot}".encode()).digest())
            self._hashes[value] = height
            return value, height
        for block in reversed(self._base + self._own):
            if block.slot <= slot:
                return block.hash, block.height
        return self._live.blockhash(slot)

    def hash_is_valid(self, blockhash: Hash, slot: int) -> bool:
        height = self._hashes.get(blockhash)
        return height is not None and height <= self.height(slot) <= height + MAX_AGE

    def confirmations(self, slot: int) -> int:
        return max(0, self.height(self.slot("processed")) - self.height(slot))

    def recent(self, signature: Signature) -> Record | None:
        record = self.find(signature)
        return record if record is not None and record.slot >= self.slot("processed") - STATUS_SLOTS else None

    def find(self, signature: Signature) -> Record | None:
        record = self._records.get(signature)
        if record is not None:
            return record
        record = self._bank.history.find(signature)
        return record if record is not None and record.slot <= self._split else None

    def of_address(self, address: Pubkey) -> Iterator[Record]:
        for record in reversed(self._records.values()):
            if address in record.keys:
                yield record
        for record in self._bank.history.of_address(address):
            if record.slot <= self._split:
                yield record

    def block(self, slot: int) -> Block | None:
        for block in self._own:
            if block.slot == slot:
                return block
        return self._live.block(slot) if slot <= self._split else None

    def time_ms(self, slot: int) -> int | None:
        block = self.block(slot)
        return block.time_ms if block is not None else None

    def block_slots(self, start: int, end: int, limit: int) -> list[int]:
        base = self._live.block_slots(start, min(end, self._split), limit)
        return [*base, *(b.slot for b in self._own if start <= b.slot <= end)][:limit]

    def first_block(self) -> int:
        return self._bank.first_slot
