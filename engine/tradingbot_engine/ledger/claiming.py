# ruff: noqa: S608  (texts are put together from constants of this package; values travel as parameters)
"""
A new intent, if the shard is ours, the id is new, and every limit of the whole bot allows it; all or nothing.

SQLite runs `claim`; PostgreSQL has the same steps as a function (`claim_function`), since a claim must be one round trip.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradingbot_engine.domain.intents import IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.errors import LedgerUnavailable, PermanentError
from tradingbot_engine.ledger.checks import FACTS, claim_values, refusal_message, verdict_sql
from tradingbot_engine.ledger.owning import fence, journal
from tradingbot_engine.ledger.port import ClaimLimits, ClaimOutcome, ClaimResult, Ownership
from tradingbot_engine.ledger.program import Program, execute, one
from tradingbot_engine.ledger.reading import record_by_id
from tradingbot_engine.ledger.rows import ORDER_COLUMNS, placeholders

VERDICT_NAMES = (
    "purpose",
    "strategy",
    "mint",
    "position_id",
    "amount_in",
    "reserve_quote",
    "reserve_lamports",
    "now_ms",
    "today",
    "marks_max_age_ms",
    "max_strategy_quote",
    "strategy_max_drawdown_quote",
    "max_open_intents",
    "fee_reserve_lamports",
    "failed_fee_budget_lamports",
)
VERDICT_SQL = verdict_sql(lambda name: f"${VERDICT_NAMES.index(name) + 1}")
ORDER_NAMES = tuple(ORDER_COLUMNS.split(", "))
INSERT_SQL = (
    f"INSERT INTO intents ({ORDER_COLUMNS}, shard, epoch, state, updated_at_ms) "
    f"VALUES ({placeholders(len(ORDER_NAMES) + 2)}, 'INTENT', ${len(ORDER_NAMES) + 3}) "
    "ON CONFLICT DO NOTHING RETURNING 1"
)
POSITION_SQL = (
    "INSERT INTO positions (id, shard, strategy, mint, state, exposure, opened_at_ms, entry_price) "
    "VALUES ($1, $2, $3, $4, 'PENDING', $5, $6, $7)"
)
EXIT_OPENS_SQL = "UPDATE positions SET exit_open = 1 WHERE id = $1"
RESERVE_SQL = (
    "UPDATE bots SET open_intents = open_intents + 1, reserved_quote = reserved_quote + $1, "
    "reserved_lamports = reserved_lamports + $2"
)
EXPOSE_SQL = (
    "INSERT INTO strategies (strategy, exposure) VALUES ($1, $2) "
    "ON CONFLICT (strategy) DO UPDATE SET exposure = strategies.exposure + excluded.exposure"
)


def check_intent(intent: OrderIntent) -> None:
    """
    Refuse what no ledger could hold.

    Raises:
        PermanentError: An amount is not positive, an id has not 32 characters, or an entry does not open its own position.
    """
    if len(intent.id) != 32 or intent.amount_in <= 0 or intent.reserve_quote < 0 or intent.reserve_lamports < 0:
        raise PermanentError(f"intent {intent.id} has an impossible id or amount")
    if (intent.purpose is Purpose.ENTRY) != (intent.position_id == intent.id):
        raise PermanentError(f"intent {intent.id}: an entry opens its own position, an exit closes another's")


def claim(intent: OrderIntent, *, ownership: Ownership, limits: ClaimLimits) -> Program[ClaimResult]:
    """See `Ledger.claim`."""
    yield from fence(ownership)
    if (yield from one("SELECT 1 FROM intents WHERE id = $1", intent.id)) is not None:
        return ClaimResult(ClaimOutcome.KNOWN, (yield from record_by_id(intent.id)))
    values = claim_values(intent, limits)
    row = yield from one(VERDICT_SQL, *(values[name] for name in VERDICT_NAMES))
    if row is None:
        raise LedgerUnavailable("the ledger holds no bot yet")
    if row[0]:
        return refused(row[0], values, facts(row[1:]))
    order = [values[name] for name in ORDER_NAMES]
    if not (yield from execute(INSERT_SQL, *order, ownership.shard, ownership.epoch, limits.now_ms)):
        # A unique index objected; the id was not there a moment ago, under the same lock.
        return refused(open_twin(intent), values, facts(row[1:]))
    if intent.purpose is Purpose.ENTRY:
        exposure = (intent.reserve_quote, intent.signal_at_ms, intent.price)
        yield from execute(POSITION_SQL, intent.id, ownership.shard, intent.strategy, intent.mint, *exposure)
    else:
        yield from execute(EXIT_OPENS_SQL, intent.position_id)
    yield from journal(ownership, "CLAIM", at_ms=limits.now_ms, intent_id=intent.id, attempt=0, after="INTENT")
    yield from execute(RESERVE_SQL, intent.reserve_quote, intent.reserve_lamports)
    if intent.purpose is Purpose.ENTRY:
        yield from execute(EXPOSE_SQL, intent.strategy, intent.reserve_quote)
    return claimed(intent, ownership=ownership, limits=limits)


def open_twin(intent: OrderIntent) -> str:
    """Return the reason when the unique index on open entries or exits refuses a new id."""
    return "EntryOpen" if intent.purpose is Purpose.ENTRY else "ExitOpen"


def facts(row: Any) -> dict[str, Any]:
    """Return the facts that were read beside the verdict, by name."""
    return {name: value for (name, _), value in zip(FACTS, row, strict=True)}


def refused(reason: str, values: Mapping[str, Any], fact: Mapping[str, Any]) -> ClaimResult:
    return ClaimResult(ClaimOutcome.REFUSED, None, reason, refusal_message(reason, values, fact))


def claimed(intent: OrderIntent, *, ownership: Ownership, limits: ClaimLimits) -> ClaimResult:
    """Return the answer with the record as it was just written."""
    record = IntentRecord(
        intent=intent,
        shard=ownership.shard,
        epoch=ownership.epoch,
        state=IntentState.INTENT,
        attempt=0,
        updated_at_ms=limits.now_ms,
    )
    return ClaimResult(ClaimOutcome.CLAIMED, record)
