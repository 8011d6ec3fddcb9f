"""Older versions of accounts: what views of older slots read, and what a rollback puts back."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from solders.account import Account
from solders.pubkey import Pubkey

Version = tuple[int, Account | None]


def _slot_of(version: Version) -> int:
    return version[0]


class Journal:
    """
    For every account and every slot that changed it, the value from before that slot.

    A value as of slot v is the oldest journalled value from a slot after v, or else the current one: a look-up by
    bisection in the versions of one account; nothing is scanned.
    """

    def __init__(self) -> None:
        self._versions: dict[Pubkey, list[Version]] = {}
        self._changed: dict[int, set[Pubkey]] = {}

    def note(self, slot: int, key: Pubkey, before: Account | None) -> None:
        """Remember the value from before `slot`, the first time the slot changes `key`."""
        changed = self._changed.setdefault(slot, set())
        if key not in changed:
            changed.add(key)
            self._versions.setdefault(key, []).append((slot, before))

    def as_of(self, key: Pubkey, slot: int) -> Version | None:
        """The version that held at the end of `slot`; None if the current value did."""
        versions = self._versions.get(key)
        if not versions:
            return None
        at = bisect_right(versions, slot, key=_slot_of)
        return versions[at] if at < len(versions) else None

    def changed(self, slot: int) -> frozenset[Pubkey] | set[Pubkey]:
        """Accounts that `slot` changed."""
        return self._changed.get(slot, frozenset())

    def undo_after(self, slot: int) -> Iterator[tuple[Pubkey, Account | None]]:
        """Forget all slots after `slot`, newest first, yielding the values to put back."""
        for newer in sorted((s for s in self._changed if s > slot), reverse=True):
            for key in self._changed.pop(newer):
                versions = self._versions[key]
                yield key, versions.pop()[1]
                if not versions:
                    del self._versions[key]

    def prune(self, slot: int) -> list[Pubkey]:
        """Forget the versions that only views older than `slot` would need; returns the keys that have none left."""
        settled = []
        for old in [s for s in self._changed if s <= slot]:
            for key in self._changed.pop(old):
                versions = self._versions[key]
                while versions and versions[0][0] <= old:
                    versions.pop(0)
                if not versions:
                    del self._versions[key]
                    settled.append(key)
        return settled
