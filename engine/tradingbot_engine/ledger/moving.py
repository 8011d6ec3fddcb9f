# ruff: noqa: S608  (texts are put together from constants of this package; values travel as parameters)
"""
One row of the state table, executed with everything that belongs to it, in one transaction.

Order of locks: the shard's row, the intent with what hangs on it, and last the bot's row and the strategy's, which all shards share
and only the ends of intents touch.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from tradingbot_engine.core.intents import TERMINAL, IntentEvent, next_state
from tradingbot_engine.core.risk.tiers import utc_day
from tradingbot_engine.core.steps import UNTRIED
from tradingbot_engine.domain.intents import Attempt, Fill, IntentRecord, IntentState
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.domain.units import SOL_MINT, IntentId, QuoteUnits
from tradingbot_engine.errors import LedgerCorrupt, PermanentError
from tradingbot_engine.ledger.book import Adjustment, IntentView, position_view
from tradingbot_engine.ledger.owning import fence, journal
from tradingbot_engine.ledger.port import Move, Ownership
from tradingbot_engine.ledger.program import Program, Row, execute, one
from tradingbot_engine.ledger.reading import record_by_id
from tradingbot_engine.ledger.rows import ATTEMPT_COLUMNS, FILL_COLUMNS, placeholders, values
from tradingbot_engine.ledger.shortage import ADJUSTED_SQL, hand_over, write_off

E = IntentEvent

COMPARE_SQL = (
    "UPDATE intents SET state = $1, attempt = $2, epoch = $3, confirmed_slot = $4, reason = $5, updated_at_ms = $6 "
    "WHERE id = $7 AND state = $8 AND attempt = $9 RETURNING 1"
)
"""State alone would do A-B-A: proof about attempt 1 would move attempt 2."""
NEW_ATTEMPT_SQL = (
    f"INSERT INTO attempts ({ATTEMPT_COLUMNS}, state) VALUES ({placeholders(len(ATTEMPT_COLUMNS.split(', ')) + 1)})"
)
ATTEMPT_STATE_SQL = "UPDATE attempts SET state = $1 WHERE intent_id = $2 AND n = $3"
LANDED_SQL = (
    "UPDATE attempts SET landed_slot = $1, lamport_delta = $2, fee_lamports = $3 WHERE intent_id = $4 AND n = $5"
)
UNFILL_SQL = "DELETE FROM fills WHERE intent_id = $1 AND attempt = $2 AND finalized = 0"
FILL_SQL = f"INSERT INTO fills ({FILL_COLUMNS}, position_id) VALUES ({placeholders(len(FILL_COLUMNS.split(', ')) + 1)})"
INTENTS_OF_POSITION_SQL = (
    "SELECT i.purpose, i.state, i.reserve_quote, "
    "(SELECT coalesce(sum(a.fee_lamports), 0) FROM attempts a WHERE a.intent_id = i.id), "
    "coalesce(f.base_delta, 0), coalesce(f.quote_delta, 0), f.intent_id IS NOT NULL, coalesce(f.finalized, 0), i.reason, i.signal_at_ms, i.created_at_ms, i.updated_at_ms "
    "FROM intents i LEFT JOIN fills f ON f.intent_id = i.id WHERE (i.id = $1 OR i.position_id = $1 AND i.purpose = 'EXIT')"
)
NOTE_SQL = "UPDATE intents SET reason = $1 WHERE id = $2"
POSITION_SQL = (
    "UPDATE positions SET state = $1, bought = $2, sold = $3, cost = $4, proceeds = $5, realized = $6, exposure = $7, "
    "exit_open = $8, exit_failures = $9, exit_slips = $10, exit_failed_at_ms = $11 WHERE id = $12"
)
BOT_SQL = (
    "UPDATE bots SET open_intents = open_intents - $8, reserved_quote = reserved_quote - $1, "
    "reserved_lamports = reserved_lamports - $2, wallet_lamports = wallet_lamports + $3, "
    "wallet_quote = wallet_quote + $4, realized = realized + $5, "
    "fees_failed = CASE WHEN fees_day >= $7 THEN fees_failed ELSE 0 END + $6, "
    "fees_day = CASE WHEN fees_day >= $7 THEN fees_day ELSE $7 END"
)
STRATEGY_SQL = (
    "UPDATE strategies SET exposure = exposure + $1, realized = realized + $2, "
    "peak = CASE WHEN realized + $2 > peak THEN realized + $2 ELSE peak END WHERE strategy = $3"
)
SLIPPED = re.compile(r'"Custom": ?6001\b')
"""How the error of a transaction (JSON, as a node words it) tells that less would have come out than the least that was accepted."""
OUTBOX_SQL = "INSERT INTO outbox (key, kind, payload, at_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (key) DO NOTHING"


def check_move(move: Move) -> IntentState:
    """
    Return the state after the move.

    Raises:
        PermanentError: The table has no such row, or the move lacks what its event must carry.
    """
    after = next_state(move.state, move.event)
    what = f"{move.event} from {move.state} of attempt {move.attempt}"
    if after is None:
        raise PermanentError(f"{what}: the state table has no such row")
    if move.event is E.SIGN:
        new = move.new_attempt
        if new is None or new.intent_id != move.intent_id or new.n != move.attempt + 1:
            raise PermanentError(f"{what}: must carry attempt {move.attempt + 1} of the same intent")
    elif move.new_attempt is not None:
        raise PermanentError(f"{what}: carries a new attempt")
    if move.event in (E.CONFIRM, E.FINALIZE, E.FAIL):
        fill = move.fill
        earlier = move.event is E.FINALIZE and fill is not None and 1 <= fill.attempt < move.attempt
        if fill is None or fill.intent_id != move.intent_id or not (earlier or fill.attempt == move.attempt):
            raise PermanentError(f"{what}: must carry the fill of this attempt")
        if fill.finalized != (move.event is not E.CONFIRM):
            raise PermanentError(f"{what}: a fill is final exactly when its block is")
        if move.event is E.FAIL and (fill.base_delta or fill.quote_delta):
            raise PermanentError(f"{what}: a failed transaction moves nothing but its fee")
    elif move.fill is not None:
        raise PermanentError(f"{what}: carries a fill")
    failed, by = move.failed, move.fill
    if failed is not None and (
        by is None
        or by.attempt >= move.attempt
        or (failed.intent_id, failed.attempt, failed.finalized) != (move.intent_id, move.attempt, True)
        or failed.base_delta
        or failed.quote_delta
    ):
        raise PermanentError(f"{what}: a failure beside a fill is the current attempt's, and only paid its fee")
    if move.short is not None and move.event is not E.ABANDON:
        raise PermanentError(f"{what}: only who gives up finds tokens gone")
    if move.event is E.CONFIRM and move.confirmed_slot is None:
        raise PermanentError(f"{what}: must carry the slot")
    return after


def move(step: Move, *, ownership: Ownership) -> Program[IntentRecord | None]:
    """See `Ledger.move`."""
    after = check_move(step)
    yield from fence(ownership)
    record = yield from record_by_id(step.intent_id)
    if record is None or record.shard != ownership.shard:
        raise PermanentError(f"intent {step.intent_id} is not one of shard {ownership.shard}")
    new = _after(record, step, after, ownership)
    compared = yield from execute(
        COMPARE_SQL,
        *(str(new.state), new.attempt, new.epoch, new.confirmed_slot, new.reason, new.updated_at_ms),
        *(step.intent_id, str(step.state), step.attempt),
    )
    if not compared:
        return None
    yield from journal(
        ownership,
        str(step.event),
        at_ms=step.at_ms,
        intent_id=step.intent_id,
        attempt=new.attempt,
        before=str(step.state),
        after=str(after),
    )
    yield from _attempt(new, step)
    if step.fill is not None:
        yield from _fill(new, step.fill, landed=after is IntentState.DONE)
        if step.failed is not None:
            yield from _fill(new, step.failed, landed=False)
    elif step.event is E.FORK:
        yield from execute(UNFILL_SQL, step.intent_id, step.attempt)
    if after in TERMINAL:
        yield from execute(OUTBOX_SQL, *_told(new, step))
    if step.event in (E.CONFIRM, E.FORK) or after in TERMINAL:
        note = yield from _rebook(new, step)
        if note:
            new = replace(new, reason=f"{new.reason}; {note}" if new.reason else note)
            yield from execute(NOTE_SQL, new.reason, new.intent.id)
    return new


def _after(record: IntentRecord, step: Move, after: IntentState, ownership: Ownership) -> IntentRecord:
    signed = step.new_attempt
    confirmed_slot = record.confirmed_slot
    if step.event is E.CONFIRM:
        confirmed_slot = step.confirmed_slot
    elif step.event in (E.FORK, E.SIGN):
        confirmed_slot = None
    return replace(
        record,
        state=after,
        attempt=signed.n if signed is not None else record.attempt,
        attempts=(*record.attempts, signed) if signed is not None else record.attempts,
        epoch=ownership.epoch,
        confirmed_slot=confirmed_slot,
        reason=step.reason,
        updated_at_ms=step.at_ms,
    )


def _attempt(new: IntentRecord, step: Move) -> Program[None]:
    if step.new_attempt is not None:
        yield from execute(NEW_ATTEMPT_SQL, *values(step.new_attempt), str(new.state))
    elif step.fill is not None and step.fill.attempt != step.attempt:
        # An earlier attempt was executed: the current one failed by the guard, or never landed.
        over = IntentState.FAILED if step.failed is not None else IntentState.EXPIRED
        yield from execute(UNFILL_SQL, step.intent_id, step.attempt)
        yield from execute(ATTEMPT_STATE_SQL, str(over), step.intent_id, step.attempt)
        yield from execute(ATTEMPT_STATE_SQL, str(new.state), step.intent_id, step.fill.attempt)
    elif new.state is not IntentState.ABANDONED:
        yield from execute(ATTEMPT_STATE_SQL, str(new.state), step.intent_id, step.attempt)


def _fill(new: IntentRecord, fill: Fill, *, landed: bool) -> Program[None]:
    """Replace the provisional fill by this one; of a failed transaction only fee and balance are kept, with the attempt."""
    attempt = _current(replace(new, attempts=new.attempts[: fill.attempt]))
    if fill.signature != attempt.signature:
        raise PermanentError(f"the fill is of {fill.signature}, attempt {attempt.n} was signed as {attempt.signature}")
    yield from execute(UNFILL_SQL, fill.intent_id, fill.attempt)
    if landed or not fill.finalized:
        yield from execute(FILL_SQL, *values(fill), new.intent.position_id)
    if fill.finalized:
        yield from execute(LANDED_SQL, fill.slot, fill.lamport_delta, _fees(fill), fill.intent_id, fill.attempt)


@dataclass(frozen=True, slots=True)
class _Change:
    """What a position adds to its strategy and the bot."""

    strategy: str
    realized: QuoteUnits
    exposure: QuoteUnits


def _restate(position_id: IntentId, *, quote_is_sol: bool) -> Program[_Change]:
    """Work out a position anew."""
    old = yield from one("SELECT realized, exposure, strategy FROM positions WHERE id = $1", position_id)
    if old is None:
        raise LedgerCorrupt(f"there is no position {position_id}, but an intent of it")
    rows = yield from execute(INTENTS_OF_POSITION_SQL, position_id)
    adjusted = yield from one(ADJUSTED_SQL, position_id)
    assert adjusted is not None
    sums = Adjustment(int(adjusted[0]), int(adjusted[1]))
    view = position_view([intent_view(row) for row in rows], quote_is_sol=quote_is_sol, adjusted=sums)
    amounts = (view.bought, view.sold, view.cost, view.proceeds, view.realized, view.exposure)
    exits = (int(view.exit_open), view.exit_failures, view.exit_slips, view.exit_failed_at_ms)
    yield from execute(POSITION_SQL, str(view.state), *amounts, *exits, position_id)
    return _Change(old[2], view.realized - old[0], view.exposure - old[1])


def _rebook(new: IntentRecord, step: Move) -> Program[str]:
    """Work out the position anew, and hand what changed to its strategy and the bot; return what a person should know."""
    intent, note = new.intent, ""
    bot = yield from one("SELECT quote_mint FROM bots")
    quote_is_sol = bot is not None and bot[0] == SOL_MINT
    ended = new.state in TERMINAL
    if step.short is not None:
        yield from write_off(new, step.short)
    changes = [(yield from _restate(intent.position_id, quote_is_sol=quote_is_sol))]
    if ended:
        touched, note = yield from hand_over(new)
        for position_id in touched:
            change = yield from _restate(position_id, quote_is_sol=quote_is_sol)
            changes.append(change)
    realized = sum(change.realized for change in changes)
    if not (ended or any(change.realized or change.exposure for change in changes)):
        return note
    fill = step.fill if ended else None
    refused = step.failed if ended else None
    lamports = (fill.lamport_delta if fill is not None else 0) + (refused.lamport_delta if refused is not None else 0)
    quote = lamports if quote_is_sol else (fill.quote_delta if fill is not None else 0)
    failed = fill if new.state is IntentState.FAILED else refused
    failed_fee = _fees(failed) if failed is not None else 0
    freed = (intent.reserve_quote, intent.reserve_lamports) if ended else (0, 0)
    yield from execute(BOT_SQL, *freed, lamports, quote, realized, failed_fee, utc_day(step.at_ms), int(ended))
    for change in changes:
        yield from execute(STRATEGY_SQL, change.exposure, change.realized, change.strategy)
    return note


def intent_view(row: Row) -> IntentView:
    """Return what a row of `INTENTS_OF_POSITION_SQL` says."""
    purpose, state, reserve_quote, fees, base, quote, filled, finalized, reason, *times = row
    stands = IntentState(state)
    return IntentView(
        Purpose(purpose),
        stands,
        reserve_quote,
        int(fees),
        base,
        quote,
        bool(filled),
        bool(finalized),
        stands is IntentState.FAILED and SLIPPED.search(reason) is not None,
        stands is IntentState.ABANDONED and reason.startswith(UNTRIED),
        *times,
    )


def _told(new: IntentRecord, step: Move) -> tuple[str, str, str, int]:
    """Return the outbox row: deduplicated by signature, or by the intent's id if nothing of it landed."""
    intent, fill = new.intent, step.fill
    payload = {
        "intent": intent.id,
        "strategy": intent.strategy,
        "mint": intent.mint,
        "side": str(intent.side),
        "purpose": str(intent.purpose),
        "state": str(new.state),
        "attempt": new.attempt,
        "reason": new.reason,
    }
    if fill is not None:
        payload |= {
            "signature": fill.signature,
            "slot": fill.slot,
            "base_delta": fill.base_delta,
            "quote_delta": fill.quote_delta,
            "fee_lamports": _fees(fill),
        }
    key = fill.signature if fill is not None else intent.id
    return key, str(new.state), json.dumps(payload, sort_keys=True), step.at_ms


def _fees(fill: Fill) -> int:
    return fill.base_fee_lamports + fill.priority_fee_lamports + fill.tip_lamports


def _current(record: IntentRecord) -> Attempt:
    if record.current is None:
        raise LedgerCorrupt(f"intent {record.intent.id} is {record.state} without an attempt")
    return record.current
