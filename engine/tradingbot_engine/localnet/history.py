"""Transactions by signature and by address: the recent ones in memory, the older ones in the store."""

from __future__ import annotations

from collections.abc import Iterator

from solders.pubkey import Pubkey
from solders.signature import Signature

from tradingbot_engine.localnet.chain import STATUS_SLOTS, Record
from tradingbot_engine.localnet.store import Store


class History:
    """Indexes over the records of the live chain."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._by_signature: dict[Signature, Record] = {}
        self._by_address: dict[Pubkey, dict[Signature, Record]] = {}

    def add(self, record: Record) -> None:
        """List a record that entered the newest block."""
        self._by_signature[record.signature] = record
        for key in record.keys:
            self._by_address.setdefault(key, {})[record.signature] = record

    def remove(self, record: Record) -> None:
        """Take back a record whose block was abandoned."""
        self._by_signature.pop(record.signature, None)
        for key in record.keys:
            listed = self._by_address.get(key)
            if listed is not None:
                listed.pop(record.signature, None)
                if not listed:
                    del self._by_address[key]

    evict = remove
    """Drop a record from memory that the store holds."""

    def in_status_cache(self, signature: Signature, slot: int) -> bool:
        """Whether a bank at `slot` remembers that `signature` landed."""
        record = self._by_signature.get(signature)
        return record is not None and record.slot >= slot - STATUS_SLOTS

    def recent(self, signature: Signature) -> Record | None:
        """The record, if it is in memory."""
        return self._by_signature.get(signature)

    def find(self, signature: Signature) -> Record | None:
        """The record, from memory or from the store."""
        record = self._by_signature.get(signature)
        if record is None and self._store is not None:
            record = self._store.record(signature)
        return record

    def of_address(self, address: Pubkey) -> Iterator[Record]:
        """Records that mention `address`, newest first."""
        oldest: int | None = None
        seen: set[Signature] = set()
        for record in reversed(self._by_address.get(address, {}).values()):
            oldest = record.slot
            seen.add(record.signature)
            yield record
        if self._store is not None:
            for record in self._store.of_address(address, at_most=oldest):
                if record.signature not in seen:
                    yield record
