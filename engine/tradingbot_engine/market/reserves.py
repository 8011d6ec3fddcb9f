"""
Join the writes of a pool's two vaults into prices that are not torn; pure.

Notifications tell of one vault at a time. A price is made only of amounts that held at the same moment:

- A swap writes both vaults, so the writes of one slot are joined when both vaults were told equally often in it; when the
  slot is told again (several writes at `processed`), the join waits for the second vault again. The last write wins.
- A vault that is told alone may be half of a swap whose other half was lost, a deposit, or trades that cancelled out in
  the other vault. That cannot be told apart from here, so nothing is presumed: the write waits, is overtaken by the next
  joined slot, or is settled by reading both vaults from one bank (`wants_read`).
- A read of both vaults in one call is a join by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tradingbot_engine.domain.units import BaseUnits, QuoteUnits, Slot

SETTLE_SLOTS = 2
"""A lone write is read after so many newer slots: by then its other half would have been told."""


class Vault(IntEnum):
    """Which of a pool's two vaults."""

    BASE = 0
    QUOTE = 1


@dataclass(frozen=True, slots=True)
class Pair:
    """Both reserves of a pool at one moment."""

    slot: Slot
    base: BaseUnits
    quote: QuoteUnits


@dataclass(slots=True)
class _Write:
    slot: Slot
    amount: int
    times: int


class Reserves:
    """The joined reserves of one pool."""

    def __init__(self) -> None:
        self.pair: Pair | None = None
        self.late = 0
        """Writes that were older than what was known."""
        self._writes: list[_Write | None] = [None, None]
        self._lone_since: Slot | None = None

    def write(self, vault: Vault, slot: Slot, amount: BaseUnits) -> Pair | None:
        """Take a notification; return the new pair if it completes one."""
        known = self.pair
        mine, other = self._writes[vault], self._writes[1 - vault]
        if (known is not None and slot < known.slot) or (mine is not None and slot < mine.slot):
            self.late += 1
            return None
        if known is not None and slot == known.slot and mine is None and amount == (known.base, known.quote)[vault]:
            return None  # a read told it already
        if mine is not None and mine.slot == slot:
            mine.amount, mine.times = amount, mine.times + 1
        else:
            mine = self._writes[vault] = _Write(slot, amount, 1)
        if other is not None and other.slot == slot and other.times == mine.times:
            self._lone_since = None
            amounts = (amount, other.amount) if vault is Vault.BASE else (other.amount, amount)
            return self._join(Pair(slot, *amounts))
        if self._lone_since is None:
            self._lone_since = slot
        return None

    def read(self, slot: Slot, base: BaseUnits, quote: QuoteUnits) -> Pair | None:
        """Take both vaults as one bank held them; return the pair if it is news."""
        if self.pair is not None and slot < self.pair.slot:
            self.late += 1
            return None
        if all(write is None or write.slot <= slot for write in self._writes):
            self._writes = [None, None]
            self._lone_since = None
        return self._join(Pair(slot, base, quote))

    def wants_read(self, newest: Slot) -> Slot | None:
        """Return the slot from which a read would settle a lone write, if it has waited long enough; `newest` slot seen."""
        if self._lone_since is None or newest - self._lone_since < SETTLE_SLOTS:
            return None
        return max(write.slot for write in self._writes if write is not None)

    @property
    def lone(self) -> bool:
        """Whether a write waits for its other half."""
        return self._lone_since is not None

    @property
    def newest(self) -> Slot:
        """The newest slot of which anything is known; 0 if nothing is."""
        return max((known.slot for known in (self.pair, *self._writes) if known is not None), default=0)

    def forget(self) -> None:
        """The chain went back: what was known may never have been."""
        self.pair = None
        self._writes = [None, None]
        self._lone_since = None

    def _join(self, pair: Pair) -> Pair | None:
        old, self.pair = self.pair, pair
        return None if old is not None and (old.base, old.quote) == (pair.base, pair.quote) else pair
