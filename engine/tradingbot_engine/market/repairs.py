"""Which pools have to be read to know them again, and at which slot at least; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tradingbot_engine.domain.units import Mint, Slot
from tradingbot_engine.market.discovery import Pool


@dataclass(frozen=True, slots=True)
class Repair:
    """Pools to read at `min_slot` or later (None: as soon as possible, which proves nothing about what was missed)."""

    pools: tuple[Pool, ...]
    min_slot: Slot | None
    generation: int


class Repairs(dict[Mint, Slot | None]):
    """
    The least slot at which each pool has to be read, by token; None: any.

    A fork or a lost connection begins a new generation: what was asked before it may speak of a chain that is no more.
    """

    generation = 0

    def want(self, mint: Mint, min_slot: Slot | None) -> None:
        """Note that a pool has to be read, at the later slot if it had to be before."""
        known = self.get(mint)
        self[mint] = min_slot if known is None else max(known, min_slot or 0)

    def begin_anew(self) -> None:
        """Slots are counted anew: the next node may be behind this one, or the chain may return from an older state."""
        self.generation += 1
        self.update(dict.fromkeys(self))

    def return_to(self, slot: Slot) -> None:
        """A fork made `slot` the newest: no read of a slot that was told and is no more will ever be answered."""
        self.update({mint: None if at is None else min(at, slot) for mint, at in self.items()})

    def next(self, limit: int, pool: Callable[[Mint], Pool]) -> Repair | None:
        """Take up to `limit` pools off; those that may be read at any slot first."""
        if not self:
            return None
        hasty = [mint for mint, slot in self.items() if slot is None]
        chosen = (hasty or list(self))[:limit]
        slots = [slot for mint in chosen if (slot := self.pop(mint)) is not None]
        return Repair(tuple(pool(mint) for mint in chosen), max(slots) if slots else None, self.generation)

    def holds(self, repair: Repair) -> bool:
        """Whether a repair was asked in this generation."""
        return repair.generation == self.generation

    def give_back(self, repair: Repair) -> None:
        """A repair could not be done: it is still wanted, unless the chain it was meant for is gone."""
        for pool in repair.pools:
            if self.holds(repair):
                self.want(pool.mint, repair.min_slot)
            else:
                self.setdefault(pool.mint, None)
