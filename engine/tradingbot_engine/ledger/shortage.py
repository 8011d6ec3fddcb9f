# ruff: noqa: S608  (texts are put together from constants of this package; values travel as parameters)
"""
Tokens that a position has sold or lost without having bought them, or bought without having them any more.

All positions of a mint share the wallet's one token account. A purchase that a fork undid may land again for fewer tokens
while the sale of the older amount is on its way: the difference comes out of another position's tokens. And a person may
move tokens out. Neither can be seen in a position's own fills; what is found out is written down as adjustments, beside the
fills, so that every number can still be worked out anew.
"""

from __future__ import annotations

from tradingbot_engine.domain.intents import IntentRecord
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.domain.units import IntentId
from tradingbot_engine.ledger.port import Shortage
from tradingbot_engine.ledger.program import Program, execute, one
from tradingbot_engine.ledger.schema import LIVE_SQL, OPEN_SQL

OVERSOLD = "Oversold"
"""How an ended intent's reason begins to tell of tokens that a position sold beyond what it bought."""
ADJUSTED_SQL = (
    "SELECT coalesce(sum(base_delta), 0), coalesce(sum(quote_delta), 0) FROM adjustments WHERE position_id = $1"
)
ADJUST_SQL = (
    "INSERT INTO adjustments (position_id, kind, intent_id, base_delta, quote_delta, at_ms) "
    "VALUES ($1, $2, $3, $4, $5, $6)"
)
OVERSOLD_SQL = (
    "SELECT id, sold - bought, sold, proceeds FROM positions "
    "WHERE mint = $1 AND sold > bought AND state = 'CLOSED' ORDER BY opened_at_ms, id"
)
"""Closed: neither its entry nor an exit of it is open, so all that it sold is final."""
HOLDERS_SQL = (
    "SELECT p.id, p.bought - p.sold FROM positions p JOIN intents e ON e.id = p.id "
    "WHERE p.mint = $1 AND p.state <> 'CLOSED' AND p.bought > p.sold AND e.state = 'DONE' ORDER BY p.opened_at_ms, p.id"
)
"""Whose tokens they can have been: an entry that is not final may not have bought any; it is asked again when it is."""
ALIVE_SQL = f"SELECT count(*) FROM intents WHERE shard = $1 AND mint = $2 AND {OPEN_SQL} AND {LIVE_SQL}"
NEWEST_FILL_SQL = (
    "SELECT coalesce(max(f.slot), 0) FROM fills f JOIN positions p ON p.id = f.position_id WHERE p.mint = $1"
)


def hand_over(ended: IntentRecord) -> Program[tuple[list[IntentId], str]]:
    """
    Give what positions of the ended intent's mint have sold beyond what they bought to those that hold some.

    Tokens go from the oldest holder first, for their share of what the sale brought. Returns the positions that must be
    worked out anew, and what to tell; a rest that nobody can have held stays where it is, and is told once.
    """
    intent = ended.intent
    oversold = yield from execute(OVERSOLD_SQL, intent.mint)
    if not oversold:
        return [], ""
    holders = [list(row) for row in (yield from execute(HOLDERS_SQL, intent.mint))]
    touched: dict[IntentId, None] = {}
    notes: list[str] = []
    for position_id, excess, sold, proceeds in oversold:
        left, money = excess, proceeds * excess // sold
        for holder in holders:
            part = min(left, holder[1])
            if part <= 0:
                continue
            share = money * part // left
            written = ("OVERSOLD", intent.id)
            yield from execute(ADJUST_SQL, holder[0], *written, -part, share, ended.updated_at_ms)
            yield from execute(ADJUST_SQL, position_id, *written, part, -share, ended.updated_at_ms)
            touched |= {position_id: None, holder[0]: None}
            holder[1] -= part
            left, money = left - part, money - share
        if left < excess or position_id == intent.position_id:
            whose = f"{excess - left} of them were other positions'" if left < excess else "no other position holds any"
            notes.append(f"{OVERSOLD}: {excess} base units more than position {position_id} bought; {whose}")
    return list(touched), "; ".join(notes)


def write_off(exit_: IntentRecord, short: Shortage) -> Program[bool]:
    """
    Count what the exit's position still holds as lost; return whether that was done.

    Not while it may still be somewhere: its entry must be final, no attempt of the mint alive (it may have sold them), and
    the reading no older than any fill of the mint.
    """
    intent = exit_.intent
    row = yield from one(
        "SELECT p.bought - p.sold, e.state FROM positions p JOIN intents e ON e.id = p.id WHERE p.id = $1",
        intent.position_id,
    )
    alive = yield from one(ALIVE_SQL, exit_.shard, intent.mint)
    newest = yield from one(NEWEST_FILL_SQL, intent.mint)
    assert alive is not None
    assert newest is not None
    if intent.purpose is not Purpose.EXIT or row is None or row[0] <= 0 or row[1] != "DONE":
        return False
    if alive[0] or newest[0] > short.slot:
        return False
    yield from execute(ADJUST_SQL, intent.position_id, "SHORT", intent.id, -row[0], 0, exit_.updated_at_ms)
    return True
