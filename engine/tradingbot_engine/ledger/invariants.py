# ruff: noqa: S608  (texts are put together from constants of this package)
"""
What must be true of every ledger at every moment; a list of what is not.

Each check works a number out anew from the rows it comes from. Used by tests and chaos runs, under whatever load.
"""

from __future__ import annotations

from collections import defaultdict

from tradingbot_engine.core.intents import LIVE, OPEN, TERMINAL
from tradingbot_engine.domain.intents import IntentState
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.domain.units import SOL_MINT, UnixMs
from tradingbot_engine.ledger.base import ProgramLedger
from tradingbot_engine.ledger.book import NONE, Adjustment, position_view
from tradingbot_engine.ledger.moving import INTENTS_OF_POSITION_SQL, intent_view
from tradingbot_engine.ledger.port import Ledger
from tradingbot_engine.ledger.program import Program, Row, execute, one

_ALL_INTENTS_SQL = INTENTS_OF_POSITION_SQL.replace("SELECT ", "SELECT i.position_id, ", 1).rpartition(" WHERE ")[0]
_POSITIONS_SQL = (
    "SELECT id, state, bought, sold, cost, proceeds, realized, exposure, exit_open, exit_failures, exit_slips, "
    "exit_failed_at_ms, strategy FROM positions"
)


async def violations(ledger: Ledger, *, forgotten_ms: UnixMs = 0) -> list[str]:
    """
    Return one line per broken invariant, from one consistent look at the ledger.

    Args:
        forgotten_ms: Wall time before which the journal may have been forgotten (`ledger.retention`).
    """
    assert isinstance(ledger, ProgramLedger)
    return await ledger.look(lambda: _violations(forgotten_ms))


def _violations(forgotten_ms: UnixMs) -> Program[list[str]]:
    found: list[str] = []
    bot = yield from one("SELECT open_intents, reserved_quote, reserved_lamports, quote_mint, realized FROM bots")
    if bot is None:
        return found
    found += yield from _reserves(bot)
    found += yield from _positions(quote_is_sol=bot[3] == SOL_MINT)
    found += yield from _adjustments()
    found += yield from _attempts()
    found += yield from _epochs()
    found += yield from _journal(forgotten_ms)
    return found


def _reserves(bot: Row) -> Program[list[str]]:
    """The bot's row holds back what its open intents do."""
    names = ", ".join(repr(str(s)) for s in OPEN)
    row = yield from one(
        "SELECT count(*), coalesce(sum(reserve_quote), 0), coalesce(sum(reserve_lamports), 0) "
        f"FROM intents WHERE state IN ({names})"
    )
    assert row is not None
    held, open_ones = tuple(bot[:3]), tuple(int(v) for v in row)
    return [] if held == open_ones else [f"the bot's row holds back {held}, its open intents {open_ones}"]


def _positions(*, quote_is_sol: bool) -> Program[list[str]]:
    """Every position says what its intents and fills say, and every strategy the sum of its positions."""
    found = []
    of_position: defaultdict[str, list[Row]] = defaultdict(list)
    for row in (yield from execute(_ALL_INTENTS_SQL)):
        of_position[row[0]].append(row[1:])
    adjusted = {
        row[0]: Adjustment(int(row[1]), int(row[2]))
        for row in (
            yield from execute(
                "SELECT position_id, sum(base_delta), sum(quote_delta) FROM adjustments GROUP BY position_id"
            )
        )
    }
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in (yield from execute(_POSITIONS_SQL)):
        sums[row[12]][0] += row[7]
        sums[row[12]][1] += row[6]
        view = position_view(
            [intent_view(r) for r in of_position.pop(row[0], [])],
            quote_is_sol=quote_is_sol,
            adjusted=adjusted.get(row[0], NONE),
        )
        amounts = (view.bought, view.sold, view.cost, view.proceeds, view.realized, view.exposure)
        said = (
            str(view.state),
            *amounts,
            int(view.exit_open),
            view.exit_failures,
            view.exit_slips,
            view.exit_failed_at_ms,
        )
        if tuple(row[1:12]) != said:
            found.append(f"position {row[0]} says {tuple(row[1:12])}, its fills {said}")
    found += [f"intents name position {identity}, which is not there" for identity in of_position]
    for strategy, exposure, realized in (yield from execute("SELECT strategy, exposure, realized FROM strategies")):
        if [exposure, realized] != sums.pop(strategy, [0, 0]):
            found.append(f"strategy {strategy} has exposure {exposure}, realized {realized}: not its positions' sums")
    found += [f"strategy {name} has positions, but no row" for name, total in sums.items() if any(total)]
    return found


def _adjustments() -> Program[list[str]]:
    """What one position sold of another's is gone from that one; nobody holds tokens that a position of the mint oversold."""
    rows = yield from execute(
        "SELECT p.mint, sum(a.base_delta), sum(a.quote_delta) FROM adjustments a JOIN positions p ON p.id = a.position_id "
        "WHERE a.kind = 'OVERSOLD' GROUP BY p.mint HAVING sum(a.base_delta) <> 0 OR sum(a.quote_delta) <> 0"
    )
    found = [f"what positions of {r[0]} sold of each other's leaves {r[1]} tokens and {r[2]} quote units" for r in rows]
    rows = yield from execute(
        "SELECT a.position_id FROM adjustments a JOIN positions p ON p.id = a.position_id "
        "WHERE a.kind = 'SHORT' AND (a.base_delta >= 0 OR a.quote_delta <> 0 OR p.state <> 'CLOSED')"
    )
    found += [f"position {r[0]} lost its tokens, and is not closed with them lost for nothing" for r in rows]
    rows = yield from execute(
        "SELECT o.id, h.id FROM positions o JOIN positions h ON h.mint = o.mint JOIN intents e ON e.id = h.id "
        "WHERE o.sold > o.bought AND o.state = 'CLOSED' AND h.state <> 'CLOSED' AND h.bought > h.sold AND e.state = 'DONE'"
    )
    return found + [f"position {r[0]} sold tokens of position {r[1]}, which still counts them" for r in rows]


def _attempts() -> Program[list[str]]:
    """An intent has at most one live attempt, the newest, and stands where that stands."""
    found = []
    rows = yield from execute(
        "SELECT i.id, i.state, i.attempt, count(a.n), coalesce(max(a.n), 0), "
        f"coalesce(sum(CASE WHEN a.state IN ({', '.join(repr(str(s)) for s in LIVE)}) THEN 1 ELSE 0 END), 0), "
        "coalesce(max(CASE WHEN a.n = i.attempt THEN a.state END), ''), "
        "coalesce(max(CASE WHEN a.state = 'DONE' THEN a.n END), 0) "
        "FROM intents i LEFT JOIN attempts a ON a.intent_id = i.id GROUP BY i.id, i.state, i.attempt"
    )
    for identity, state, attempt, count, newest, live, stands, done in rows:
        if count != attempt or newest != attempt:
            found.append(f"intent {identity} is at attempt {attempt}, but has {count} up to {newest}")
        if live != (state in LIVE):
            found.append(f"intent {identity} is {state} with {live} live attempts")
        if bool(done) != (state == IntentState.DONE):
            found.append(f"intent {identity} is {state}, its attempt {done} is DONE")
        elif done and done < attempt and stands not in (IntentState.EXPIRED, IntentState.FAILED):
            found.append(f"intent {identity} is DONE by attempt {done}, its attempt {attempt} {stands}")
        elif not done and attempt and state not in (stands, IntentState.ABANDONED):
            found.append(f"intent {identity} is {state}, its attempt {stands}")
    rows = yield from execute(
        "SELECT f.intent_id, i.state, f.finalized FROM fills f JOIN intents i ON i.id = f.intent_id "
        "WHERE NOT (i.state = 'DONE' AND f.finalized = 1 OR i.state = 'CONFIRMED' AND f.finalized = 0)"
    )
    found += [f"intent {r[0]} is {r[1]}, but has a fill with finalized = {r[2]}" for r in rows]
    rows = yield from execute(
        "SELECT i.id, i.state FROM intents i WHERE i.state IN ('DONE', 'CONFIRMED') "
        "AND NOT EXISTS (SELECT 1 FROM fills f JOIN attempts a ON a.intent_id = f.intent_id AND a.n = f.attempt "
        "WHERE f.intent_id = i.id AND a.state = i.state)"
    )
    return found + [f"intent {r[0]} is {r[1]} without a fill" for r in rows]


def _epochs() -> Program[list[str]]:
    """No row of a shard is written under epoch e once e + 1 was issued."""
    found = []
    newest: dict[int, int] = {}
    for seq, shard, epoch, event, identity in (
        yield from execute("SELECT seq, shard, epoch, event, intent_id FROM transitions ORDER BY seq")
    ):
        if epoch < newest.get(shard, 0):
            found.append(f"{event} of {identity} (seq {seq}) was written under epoch {epoch} after {newest[shard]}")
        newest[shard] = max(epoch, newest.get(shard, 0))
    for shard, epoch in (yield from execute("SELECT shard, epoch FROM shards")):
        if newest.get(shard, 0) != epoch:
            found.append(f"shard {shard} is at epoch {epoch}, its journal at {newest.get(shard, 0)}")
    return found


def _journal(forgotten_ms: UnixMs) -> Program[list[str]]:
    """Each intent's steps join up, from its claim to where it stands; those of one that ended before `forgotten_ms` may be gone, all at once."""
    found = []
    stands: dict[str, str] = {}
    for identity, before, after in (
        yield from execute(
            "SELECT intent_id, from_state, to_state FROM transitions WHERE intent_id IS NOT NULL ORDER BY seq"
        )
    ):
        if stands.get(identity) != before:
            found.append(f"intent {identity} moved from {before}, but stood at {stands.get(identity)}")
        stands[identity] = after
    for identity, state, purpose, at_ms in (
        yield from execute("SELECT id, state, purpose, updated_at_ms FROM intents")
    ):
        old = state in TERMINAL and at_ms < forgotten_ms
        if stands.pop(identity, state if old else None) != state:
            found.append(f"{Purpose(purpose)} {identity} is {state}, which its journal does not say")
    return found + [f"the journal knows intent {identity}, the ledger does not" for identity in stands]
