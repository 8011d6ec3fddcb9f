"""What the store forgets: transactions that concern nobody but the market itself, once they are old."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import orjson
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

SLOTS_AT_ONCE = 4
"""Slots that are cleared with each new one: the work of a slot stays small, and a long backlog still shrinks."""


class Retention:
    """
    Drops transactions that only `passing` keys signed, a few slots at a time.

    Whatever anybody else signed stays from the first slot on, so that the history of any wallet is whole and
    `getFirstAvailableBlock` stays true of it; and so do all blocks, emptied or not: a list of blocks with holes would say
    that a wallet's transaction may have been lost with them. Freed pages of the file are used again.

    Args:
        db: The store's connection; the caller's transaction holds each step.
        keep_slots: Age in slots at which a transaction may go; None keeps all.
    """

    def __init__(self, db: sqlite3.Connection, keep_slots: int | None) -> None:
        self._db = db
        self._keep_slots = keep_slots
        self._passing: set[Pubkey] = set()

    def add(self, keys: Iterable[Pubkey]) -> None:
        """Count `keys` among those whose transactions pass."""
        self._passing.update(keys)

    def step(self, *, cleared_slot: int, newest_slot: int) -> int:
        """Clear the next slots after `cleared_slot` that are old enough; returns the last slot that is cleared now."""
        if self._keep_slots is None:
            return cleared_slot
        last = min(newest_slot - self._keep_slots, cleared_slot + SLOTS_AT_ONCE)
        if last <= cleared_slot:
            return cleared_slot
        span = (cleared_slot, last)
        gone: list[tuple[int, int]] = []
        mentions: list[tuple[bytes, int, int]] = []
        query = "SELECT slot, place, wire, detail FROM transactions WHERE slot > ? AND slot <= ?"
        for slot, place, wire, detail in self._db.execute(query, span):
            message = VersionedTransaction.from_bytes(wire).message
            keys = message.account_keys
            if self._passing.issuperset(keys[: message.header.num_required_signatures]):
                gone.append((slot, place))
                keys += map(Pubkey.from_string, orjson.loads(detail)["loaded_keys"])
                mentions += ((bytes(key), slot, place) for key in keys)
        self._db.executemany("DELETE FROM mentions WHERE pubkey = ? AND slot = ? AND place = ?", mentions)
        self._db.executemany("DELETE FROM transactions WHERE slot = ? AND place = ?", gone)
        return last
