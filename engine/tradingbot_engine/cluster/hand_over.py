"""
Which shards to take, to stop, to release and to forget now.

Pure: what the ledger's `shards` table says, who lives, and what we hold become steps; doing them is another's. Each step is a
compare-and-set in the ledger, so that a step that comes too late changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tradingbot_engine.cluster.membership import Deed, Membership
from tradingbot_engine.cluster.shares import owners
from tradingbot_engine.ledger.records import Ownership, ShardRow


@dataclass(frozen=True, slots=True)
class Held:
    """A shard that this process has taken."""

    ownership: Ownership
    idle: bool = True
    """Whether nothing of it is under way: no open intent, no signal that waits."""
    stopping: bool = False
    """Whether it takes no more signals."""


@dataclass(frozen=True, slots=True)
class Take:
    """Take the shard by this sight of its row; then resolve what is open, and only then take signals."""

    row: ShardRow


@dataclass(frozen=True, slots=True)
class Stop:
    """Take no more signals of this shard, and finish what is in flight."""

    shard: int


@dataclass(frozen=True, slots=True)
class LetGo:
    """Release the shard, of which nothing is under way."""

    ownership: Ownership


@dataclass(frozen=True, slots=True)
class Forget:
    """End every task of the shard: the ledger shows that it is another's."""

    ownership: Ownership


Step = Take | Stop | LetGo | Forget


class HandOver:
    """Remembers since when each row is as it is, and says what is to be done."""

    def __init__(self, *, bot_id: str, membership: Membership) -> None:
        self._bot_id, self._membership = bot_id, membership
        self._since_s: dict[tuple[int, str, int], float] = {}

    def steps(
        self, rows: Sequence[ShardRow], *, now_s: float, in_use: Collection[int], held: Mapping[int, Held]
    ) -> list[Step]:
        """
        Return what is to be done, by shard.

        Args:
            rows: All rows of the `shards` table, newly read.
            now_s: When they came, by the clock that the membership goes by.
            in_use: Shards that have tokens, positions or open intents; no others are taken.
            held: What this process holds, by shard.
        """
        known = self._since_s
        self._since_s = {key: known.get(key, now_s) for key in ((r.shard, r.holder, r.epoch) for r in rows)}
        choice = owners(self._bot_id, in_use, self._membership.sharers())
        record = self._membership.record
        out: list[Step] = []
        for row in sorted(rows, key=lambda r: r.shard):
            mine = held.get(row.shard)
            wanted = record is not None and choice.get(row.shard) == record.name
            if mine is not None:
                out += _of_ours(mine, row, wanted=wanted)
            elif wanted and self._membership.may(Deed.TAKE, now_s) and self._may_be_taken(row):
                out.append(Take(row))
            elif not wanted and row.holder == self._membership.incarnation:
                # A take whose answer was lost, and by now it is another's turn: as long as we live, nobody else would touch it.
                out.append(LetGo(Ownership(row.shard, row.holder, row.epoch)))
        return out

    def _may_be_taken(self, row: ShardRow) -> bool:
        """Free, ours by a take whose answer was lost, or of a process that is no member."""
        if row.holder in ("", self._membership.incarnation):
            return True
        # Whoever takes a shard is a member before. So a holder that stood in the row before the records were asked for, and is
        # none of them, is gone; one that took it since may just not have been among them yet.
        before = self._since_s[row.shard, row.holder, row.epoch] < self._membership.looked_s
        return before and row.holder not in self._membership.incarnations()


def _of_ours(mine: Held, row: ShardRow, *, wanted: bool) -> list[Step]:
    if (row.holder, row.epoch) != (mine.ownership.holder, mine.ownership.epoch):
        return [Forget(mine.ownership)]
    if mine.stopping:  # also if it is wanted again by now: freed and taken anew, its tasks are of one epoch
        return [LetGo(mine.ownership)] if mine.idle else []
    return [] if wanted else [Stop(row.shard)]
