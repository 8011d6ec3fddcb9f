# ruff: noqa: S608  (texts are put together from constants of this package; values travel as parameters)
"""Who may write: shards taken and freed by compare-and-set, and the fence that every write under an epoch passes first."""

from __future__ import annotations

from collections.abc import Sequence

from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.errors import Fenced
from tradingbot_engine.ledger.port import Ownership, ShardRow
from tradingbot_engine.ledger.program import LOCK, Program, execute, one
from tradingbot_engine.ledger.rows import shard_of

FENCE_SQL = "SELECT 1 FROM shards WHERE shard = $1 AND holder = $2 AND epoch = $3" + LOCK
TAKE_SQL = (
    "UPDATE shards SET epoch = epoch + 1, holder = $1, since_ms = $2 "
    "WHERE shard = $3 AND holder = $4 AND epoch = $5 RETURNING epoch"
)
RELEASE_SQL = (
    "UPDATE shards SET holder = '', since_ms = $1 WHERE shard = $2 AND holder = $3 AND epoch = $4 RETURNING epoch"
)
JOURNAL_SQL = (
    "INSERT INTO transitions (shard, epoch, event, intent_id, attempt, from_state, to_state, at_ms) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
)


def fence(ownership: Ownership) -> Program[None]:
    """
    Lock the shard's row to the end of the transaction, if it is still ours.

    Raises:
        Fenced: Another holder or epoch stands there.
    """
    if (yield from one(FENCE_SQL, ownership.shard, ownership.holder, ownership.epoch)) is None:
        row = yield from one("SELECT holder, epoch FROM shards WHERE shard = $1", ownership.shard)
        now = f"held by {row[0] or 'nobody'} under epoch {row[1]}" if row else "unknown"
        raise Fenced(f"shard {ownership.shard} is {now}; this task read under epoch {ownership.epoch}")


def journal(
    ownership: Ownership,
    event: str,
    *,
    at_ms: UnixMs,
    intent_id: str | None = None,
    attempt: int | None = None,
    before: str | None = None,
    after: str | None = None,
) -> Program[None]:
    """Append to the order of writes; called with the shard's row locked."""
    yield from execute(JOURNAL_SQL, ownership.shard, ownership.epoch, event, intent_id, attempt, before, after, at_ms)


def take(seen: ShardRow, *, holder: str, now_ms: UnixMs) -> Program[Ownership | None]:
    row = yield from one(TAKE_SQL, holder, now_ms, seen.shard, seen.holder, seen.epoch)
    if row is None:
        return None
    ownership = Ownership(seen.shard, holder, row[0])
    yield from journal(ownership, "TAKE", at_ms=now_ms)
    return ownership


def release(ownership: Ownership, *, now_ms: UnixMs) -> Program[bool]:
    row = yield from one(RELEASE_SQL, now_ms, ownership.shard, ownership.holder, ownership.epoch)
    if row is None:
        return False
    yield from journal(ownership, "RELEASE", at_ms=now_ms)
    return True


def all_shards() -> Program[Sequence[ShardRow]]:
    rows = yield from execute("SELECT shard, holder, epoch, since_ms FROM shards ORDER BY shard")
    return [shard_of(row) for row in rows]
