"""Records of members as rows of the ledger's database; every write compares the row with what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.ledger.program import Program, each, execute, one

ALL_SQL = "SELECT name, version, holder, incarnation, takes_shards FROM members ORDER BY name"
NEW_SQL = "INSERT INTO members (name) VALUES ($1) ON CONFLICT (name) DO NOTHING"
# The version alone would do, but for a row that somebody deleted and made again: it begins anew.
WRITE_SQL = (
    "UPDATE members SET version = version + 1, holder = $1, incarnation = $2, takes_shards = $3, renewed_at_ms = $4 "
    "WHERE name = $5 AND version = $6 AND holder = $7 AND incarnation = $8 "
    "RETURNING name, version, holder, incarnation, takes_shards"
)


class MemberRow(NamedTuple):
    """One row, see `cluster.port.Member`."""

    name: str
    version: int
    holder: str
    incarnation: str
    takes_shards: bool


def all_members() -> Program[Sequence[MemberRow]]:
    rows = yield from execute(ALL_SQL)
    return [_row(*row) for row in rows]


def add_members(names: Iterable[str]) -> Program[None]:
    """Make the rows that are not there yet, free."""
    yield from each(NEW_SQL, ((name,) for name in names))


def write_member(
    seen: MemberRow, *, holder: str, incarnation: str, takes_shards: bool, now_ms: UnixMs
) -> Program[MemberRow | None]:
    """Write a row if it is still what was seen; None if it is not."""
    compared = (seen.name, seen.version, seen.holder, seen.incarnation)
    row = yield from one(WRITE_SQL, holder, incarnation, int(takes_shards), now_ms, *compared)
    return None if row is None else _row(*row)


def _row(name: str, version: int, holder: str, incarnation: str, takes_shards: int) -> MemberRow:
    return MemberRow(name, version, holder, incarnation, bool(takes_shards))
