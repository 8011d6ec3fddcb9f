# ruff: noqa: S608  (texts are put together from constants of this package; values travel as parameters)
"""
What a ledger may forget, in small batches.

For ever stay, at about a kilobyte a trade: intents, attempts and fills with their positions. The chain keeps every transaction that we
signed, the audit walks all of them, and a mark that the ledger did not know would be told as lost, a backup as LedgerBehindChain; and
one signal has one intent for ever. The outbox empties itself, bars are kept for a day.

After `keep_days` go: the journal of intents that have ended (who wrote which step under which epoch; all steps of an intent at once),
takes and releases of shards under older epochs than the newest, money that others moved, changes of the tier but for the last one, and the
bytes of attempts that failed or expired, since they can never be sent again. Those of trades that succeeded stay: what is still to be
fetched back on their strength (a guard's rent) is read from them.
"""

from __future__ import annotations

from tradingbot_engine.core.intents import TERMINAL
from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.ledger.program import Program, execute
from tradingbot_engine.ledger.rows import placeholders

KEEP_DAYS = 400
"""A year, and time to look at it."""
DAY_MS = 86_400_000
BATCH = 200
"""Rows looked at in each table at a time: a few milliseconds, seldom, so that no trade waits for it."""

_ENDED = f"i.state IN ({', '.join(repr(str(s)) for s in sorted(TERMINAL))}) AND i.updated_at_ms < $1"
_OLDEST = f"SELECT seq, shard, epoch, event, intent_id, at_ms FROM transitions ORDER BY seq LIMIT {BATCH}"
ENDED_SQL = f"SELECT DISTINCT i.id FROM ({_OLDEST}) t JOIN intents i ON i.id = t.intent_id WHERE {_ENDED} ORDER BY i.id"
CLAIMS_SQL = (
    # Whoever has a step among the oldest has its claim there as well: it came first.
    f"DELETE FROM transitions WHERE seq IN (SELECT t.seq FROM ({_OLDEST}) t WHERE t.event = 'CLAIM' AND t.intent_id IN ({{}})) "
    "RETURNING 1"
)
STEPS_SQL = "DELETE FROM transitions WHERE event <> 'CLAIM' AND intent_id IN ({}) RETURNING 1"
OWNERS_SQL = (
    f"DELETE FROM transitions WHERE seq IN (SELECT t.seq FROM ({_OLDEST}) t WHERE t.intent_id IS NULL AND t.at_ms < $1 "
    # What tells of the epoch in force stays.
    "AND t.epoch < (SELECT s.epoch FROM shards s WHERE s.shard = t.shard)) RETURNING 1"
)
FLOWS_SQL = f"DELETE FROM flows WHERE id IN (SELECT id FROM flows ORDER BY id LIMIT {BATCH}) AND at_ms < $1 RETURNING 1"
TIERS_SQL = (
    f"DELETE FROM tier_journal WHERE id IN (SELECT id FROM tier_journal ORDER BY id LIMIT {BATCH}) AND at_ms < $1 "
    "AND id < (SELECT max(id) FROM tier_journal) RETURNING 1"
)


def forget(before_ms: UnixMs) -> Program[int]:
    """Remove a batch of what ended before a moment (wall time); return how many rows went, 0 when there is no more."""
    ended = [row[0] for row in (yield from execute(ENDED_SQL, before_ms))]
    gone = 0
    if ended:
        names = placeholders(len(ended))
        for sql in (CLAIMS_SQL, STEPS_SQL):  # in this order: the first looks at the oldest
            gone += len((yield from execute(sql.format(names), *ended)))
        yield from execute(
            f"UPDATE attempts SET wire = ${len(ended) + 1} WHERE intent_id IN ({names}) AND state IN ('FAILED', 'EXPIRED')",
            *ended,
            b"",
        )
    for sql in (OWNERS_SQL, FLOWS_SQL, TIERS_SQL):
        gone += len((yield from execute(sql, before_ms)))
    return gone
