"""Finality: what is deep enough is written to disk first, and only then told as final; what is deeper still leaves the memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable

from solders.account import Account
from solders.pubkey import Pubkey

from tradingbot_engine.localnet.accounts import AccountIndex
from tradingbot_engine.localnet.chain import Block
from tradingbot_engine.localnet.history import History
from tradingbot_engine.localnet.journal import Journal
from tradingbot_engine.localnet.store import Store

VIEW_SLOTS = 600
"""How far behind the tip a lagging node's view may be."""
PRUNE_AT_ONCE = 64
"""Blocks leave memory in steps: deleting from the front moves the list."""


class Finality:
    """
    The boundary between what may still be forked away and what may not.

    Args:
        slot: The newest slot that is final.
        persisted_slot: The newest slot that is on disk, or below the chain's first if none is.
        depth: Blocks on top that make a block final.
        account: Returns an account as of the end of a slot.
        store: Where finalized blocks and accounts are kept, or None.
    """

    def __init__(
        self,
        *,
        slot: int,
        persisted_slot: int,
        depth: int,
        journal: Journal,
        index: AccountIndex,
        history: History,
        account: Callable[[Pubkey, int | None], Account | None],
        store: Store | None,
    ) -> None:
        self.slot = slot
        self.depth = depth
        self._persisted_slot = persisted_slot
        self._journal, self._index, self._history = journal, index, history
        self._account, self._store = account, store

    def advance(self, blocks: list[Block], *, number: int, pinned: Iterable[int]) -> None:
        """
        Persist what became final by the newest block, tell it, and forget what nobody can ask for any more.

        Args:
            blocks: The live chain in memory, oldest first; shortened from the front.
            number: Highest slot number that was ever used.
            pinned: Slots from which on views must stay readable.
        """
        final = blocks[: max(0, len(blocks) - self.depth)]
        newly = final[bisect_right(final, self._persisted_slot, key=slot_of) :]
        if self._store is not None:
            changed: set[Pubkey] = set()
            for block in newly:
                changed |= self._journal.changed(block.slot)
            last = newly[-1].slot if newly else self.slot
            self._store.commit(newly, {key: self._account(key, last) for key in changed}, number=number)
        if newly:
            self.slot = self._persisted_slot = newly[-1].slot
        self._prune(blocks, pinned)

    def _prune(self, blocks: list[Block], pinned: Iterable[int]) -> None:
        keep = len(blocks) - VIEW_SLOTS
        if keep <= 0:
            return
        oldest = min([blocks[keep].slot, *pinned])
        for key in self._journal.prune(oldest):
            self._index.settle(key, self._account(key, None))
        if self._store is not None and keep >= PRUNE_AT_ONCE:
            for block in blocks[:keep]:
                for record in block.records:
                    self._history.evict(record)
            del blocks[:keep]


def slot_of(block: Block) -> int:
    """Return the block's slot, as a key to search by."""
    return block.slot
