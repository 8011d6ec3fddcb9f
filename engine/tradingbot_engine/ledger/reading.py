# ruff: noqa: S608  (texts are put together from constants of this package; values travel as parameters)
"""What is read from the ledger, as programs; each is one consistent look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tradingbot_engine.core.intents import OPEN
from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.intents import IntentRecord, IntentState
from tradingbot_engine.domain.portfolio import Position
from tradingbot_engine.domain.units import IntentId, Mint, UnixMs
from tradingbot_engine.ledger.port import FillRow, Holding, OutboxRow, TierChange
from tradingbot_engine.ledger.program import Program, Row, execute, one
from tradingbot_engine.ledger.rows import (
    ATTEMPT_COLUMNS,
    BAR_COLUMNS,
    FILL_COLUMNS,
    INTENT_COLUMNS,
    POSITION_COLUMNS,
    bar_of,
    fill_row_of,
    outbox_of,
    placeholders,
    position_of,
    record_of,
    tier_change_of,
)

_OPEN = f"state IN ({', '.join(repr(str(s)) for s in sorted(OPEN))})"
_FILL_FIELDS = ", ".join(f"f.{name}" for name in FILL_COLUMNS.split(", "))
_PAGE = 500
"""Signatures asked for in one statement."""


def record_by_id(intent_id: IntentId) -> Program[IntentRecord | None]:
    row = yield from one(f"SELECT {INTENT_COLUMNS} FROM intents WHERE id = $1", intent_id)
    if row is None:
        return None
    attempts = yield from execute(f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE intent_id = $1 ORDER BY n", intent_id)
    return record_of(row, attempts)


def open_intents(shard: int | None) -> Program[Sequence[IntentRecord]]:
    where, params = (f"{_OPEN} AND shard = $1", [shard]) if shard is not None else (_OPEN, [])
    rows = yield from execute(f"SELECT {INTENT_COLUMNS} FROM intents WHERE {where} ORDER BY created_at_ms, id", *params)
    found = yield from execute(
        f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE intent_id IN (SELECT id FROM intents WHERE {where}) "
        "ORDER BY intent_id, n",
        *params,
    )
    attempts: defaultdict[str, list[Row]] = defaultdict(list)
    for attempt in found:
        attempts[attempt[0]].append(attempt)
    return [record_of(row, attempts[row[0]]) for row in rows]


def intent_counts() -> Program[Mapping[IntentState, int]]:
    rows = yield from execute("SELECT state, count(*) FROM intents GROUP BY state")
    counts = dict.fromkeys(IntentState, 0)
    return counts | {IntentState(state): count for state, count in rows}


def positions(shard: int | None, *, closed: bool) -> Program[Sequence[Position]]:
    conditions, params = [] if closed else ["state <> 'CLOSED'"], []
    if shard is not None:
        conditions.append("shard = $1")
        params.append(shard)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = yield from execute(f"SELECT {POSITION_COLUMNS} FROM positions{where} ORDER BY opened_at_ms, id", *params)
    return [position_of(row) for row in rows]


def holding(position_id: IntentId) -> Program[Holding | None]:
    """See `Ledger.holding`."""
    row = yield from one(
        "SELECT p.bought - p.sold, e.state, p.exit_failures > 0 OR p.sold <> 0, "
        "(SELECT coalesce(max(f.slot), 0) FROM fills f WHERE f.position_id = p.id) "
        "FROM positions p JOIN intents e ON e.id = p.id WHERE p.id = $1",
        position_id,
    )
    return None if row is None else Holding(row[0], row[1] in OPEN, bool(row[2]), row[3])


def closed_since(since_ms: UnixMs) -> Program[Sequence[Position]]:
    """See `Ledger.closed_since`."""
    sales = yield from execute(
        "SELECT position_id, MAX(signal_at_ms) FROM intents WHERE purpose = 'EXIT' AND state = 'DONE' "
        "GROUP BY position_id HAVING MAX(signal_at_ms) >= $1 ORDER BY 2, 1",
        since_ms,
    )
    found = []
    for position_id, closed_at_ms in sales:
        row = yield from one(
            f"SELECT {POSITION_COLUMNS} FROM positions WHERE id = $1 AND state = 'CLOSED'", position_id
        )
        if row is not None:
            found.append(replace(position_of(row), closed_at_ms=closed_at_ms))
    return found


def tier_changes(limit: int) -> Program[Sequence[TierChange]]:
    rows = yield from execute(
        "SELECT at_ms, old, new, reason, actor FROM tier_journal ORDER BY id DESC LIMIT $1", limit
    )
    return [tier_change_of(row) for row in rows]


def bars(mint: Mint, *, since_ms: UnixMs) -> Program[Sequence[Bar]]:
    rows = yield from execute(
        f"SELECT {BAR_COLUMNS} FROM bars WHERE mint = $1 AND start_ms >= $2 ORDER BY start_ms", mint, since_ms
    )
    return [bar_of(row) for row in rows]


def outbox(limit: int) -> Program[Sequence[OutboxRow]]:
    rows = yield from execute("SELECT id, key, kind, payload, at_ms FROM outbox ORDER BY id LIMIT $1", limit)
    return [outbox_of(row) for row in rows]


def fills(limit: int) -> Program[Sequence[FillRow]]:
    rows = yield from execute(
        f"SELECT {_FILL_FIELDS}, i.strategy, i.mint, a.quoted_out, i.created_at_ms, a.signed_at_ms, i.purpose "
        "FROM fills f JOIN intents i ON i.id = f.intent_id "
        "JOIN attempts a ON a.intent_id = f.intent_id AND a.n = f.attempt "
        "ORDER BY f.slot DESC, a.signed_at_ms DESC, f.intent_id LIMIT $1",
        limit,
    )
    return [fill_row_of(row) for row in rows]


def signatures_known(signatures: Sequence[str]) -> Program[set[str]]:
    known: set[str] = set()
    for start in range(0, len(signatures), _PAGE):
        page = signatures[start : start + _PAGE]
        asked = placeholders(len(page))
        rows = yield from execute(
            f"SELECT signature FROM attempts WHERE signature IN ({asked}) "
            f"UNION ALL SELECT signature FROM reclaims WHERE signature IN ({asked})",
            *page,
        )
        known.update(row[0] for row in rows)
    return known
