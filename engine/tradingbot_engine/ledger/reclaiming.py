# ruff: noqa: S608  (texts are put together from constants of this package; values travel as parameters)
"""The rent of guard accounts on its way back: which are due, the transactions that fetch it, and the money they moved."""

from __future__ import annotations

from collections.abc import Sequence

from tradingbot_engine.core.intents import TERMINAL
from tradingbot_engine.domain.units import SOL_MINT, BlockHeight, IntentId, Slot, UnixMs
from tradingbot_engine.ledger.owning import fence
from tradingbot_engine.ledger.port import GuardDue, GuardRent, Ownership, Reclaim, ReclaimEnd
from tradingbot_engine.ledger.program import Program, each, execute, one

_ENDED = ", ".join(repr(str(s)) for s in sorted(TERMINAL))
DUE_SQL = (
    "SELECT f.intent_id, a.wire, f.slot, i.updated_at_ms FROM fills f "
    "JOIN intents i ON i.id = f.intent_id JOIN attempts a ON a.intent_id = f.intent_id AND a.n = f.attempt "
    f"WHERE f.finalized = 1 AND f.paper = 0 AND f.slot >= $4 AND i.shard = $1 AND i.state IN ({_ENDED}) "
    "AND NOT EXISTS (SELECT 1 FROM guards g WHERE g.intent_id = f.intent_id) "
    "AND NOT EXISTS (SELECT 1 FROM attempts b WHERE b.intent_id = f.intent_id AND b.last_valid_block_height >= $2) "
    "ORDER BY f.slot LIMIT $3"
)
NEXT_SQL = (
    "SELECT min(f.slot) FROM fills f WHERE f.slot >= $1 "
    "AND NOT EXISTS (SELECT 1 FROM guards g WHERE g.intent_id = f.intent_id)"
)
RENT_SQL = (
    "SELECT (SELECT count(*) FROM fills f WHERE f.finalized = 1 AND f.paper = 0 AND f.slot >= $1 "
    "AND NOT EXISTS (SELECT 1 FROM guards g WHERE g.intent_id = f.intent_id)), "
    "(SELECT count(*) FROM reclaims WHERE state = 'SENT'), "
    "(SELECT coalesce(sum(fee_lamports), 0) FROM reclaims WHERE state = 'FAILED' AND signed_at_ms >= $2)"
)
_COLUMNS = "signature, wire, blockhash_slot, last_valid_block_height, guards, signed_at_ms"
INSERT_SQL = f"INSERT INTO reclaims ({_COLUMNS}, state) VALUES ($1, $2, $3, $4, $5, $6, 'SENT')"
GUARD_SQL = "INSERT INTO guards (intent_id, signature) VALUES ($1, $2) ON CONFLICT (intent_id) DO NOTHING"
END_SQL = (
    "UPDATE reclaims SET state = $1, landed_slot = $2, lamport_delta = $3, fee_lamports = $4 "
    "WHERE signature = $5 AND state = 'SENT' RETURNING 1"
)
WALLET_SQL = (
    "UPDATE bots SET wallet_lamports = wallet_lamports + $1, "
    f"wallet_quote = wallet_quote + CASE WHEN quote_mint = '{SOL_MINT}' THEN $1 ELSE 0 END, "
    f"realized = realized - CASE WHEN quote_mint = '{SOL_MINT}' THEN $2 ELSE 0 END"
)


def guards_due(
    ownership: Ownership, *, height: BlockHeight, since: Slot, limit: int
) -> Program[tuple[Sequence[GuardDue], Slot]]:
    """See `Ledger.guards_due`."""
    rows = yield from execute(DUE_SQL, ownership.shard, height, limit, since)
    waiting = yield from one(NEXT_SQL, since)
    newest = yield from one("SELECT coalesce(max(slot), 0) FROM fills")
    assert waiting is not None and newest is not None  # noqa: PT018  (an aggregate is one row)
    return [GuardDue(row[0], bytes(row[1]), row[2], row[3]) for row in rows], (
        newest[0] if waiting[0] is None else waiting[0]
    )


def guard_rent(since: Slot, since_ms: UnixMs) -> Program[GuardRent]:
    """See `Ledger.guard_rent`."""
    row = yield from one(RENT_SQL, since, since_ms)
    assert row is not None  # three aggregates are one row
    return GuardRent(row[0], row[1], int(row[2]))


def guards_gone(intents: Sequence[IntentId], *, ownership: Ownership) -> Program[None]:
    """See `Ledger.guards_gone`."""
    yield from fence(ownership)
    yield from each(GUARD_SQL, [(intent_id, "") for intent_id in intents])


def reclaim(wanted: Reclaim, *, ownership: Ownership) -> Program[None]:
    """See `Ledger.reclaim`."""
    yield from fence(ownership)
    at: tuple[str, bytes, int, int] = (
        wanted.signature,
        wanted.wire,
        wanted.blockhash_slot,
        wanted.last_valid_block_height,
    )
    yield from execute(INSERT_SQL, *at, ",".join(wanted.intents), wanted.signed_at_ms)
    yield from each(GUARD_SQL, [(intent_id, wanted.signature) for intent_id in wanted.intents])


def open_reclaims() -> Program[Sequence[Reclaim]]:
    """See `Ledger.open_reclaims`."""
    rows = yield from execute(f"SELECT {_COLUMNS} FROM reclaims WHERE state = 'SENT' ORDER BY signed_at_ms")
    return [Reclaim(r[0], bytes(r[1]), r[2], r[3], tuple(r[4].split(",")), r[5]) for r in rows]


def reclaim_ended(signature: str, end: ReclaimEnd | None, *, ownership: Ownership) -> Program[bool]:
    """See `Ledger.reclaim_ended`."""
    yield from fence(ownership)
    state = "EXPIRED" if end is None else "FAILED" if end.failed else "DONE"
    landed = (None, None, None) if end is None else (end.slot, end.lamport_delta, end.fee_lamports)
    if (yield from one(END_SQL, state, *landed, signature)) is None:
        return False
    if state != "DONE":
        yield from execute("DELETE FROM guards WHERE signature = $1", signature)  # due again
    if end is not None:
        yield from execute(WALLET_SQL, end.lamport_delta, end.fee_lamports)
    return True
