# ruff: noqa: S608  (texts are put together from constants of this package; values travel as parameters)
"""
New intents, each if the shard is ours, the id is new, and every limit of the whole bot allows it; all or nothing.

SQLite runs `claim_all`; PostgreSQL has the same steps as a function (`claim_function`), since a batch of claims must be one round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from tradingbot_engine.domain.intents import IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.errors import LedgerUnavailable, PermanentError
from tradingbot_engine.ledger.checks import FACTS, claim_values, facts_sql, refusal_message, verdict_sql
from tradingbot_engine.ledger.owning import fence
from tradingbot_engine.ledger.port import ClaimLimits, ClaimOutcome, ClaimResult, Ownership
from tradingbot_engine.ledger.program import Program, each, execute, one
from tradingbot_engine.ledger.reading import record_by_id
from tradingbot_engine.ledger.rows import ORDER_COLUMNS, placeholders

ORDER_NAMES = tuple(ORDER_COLUMNS.split(", "))
VALUE_NAMES = (
    *ORDER_NAMES,
    "now_ms",
    "today",
    "marks_max_age_ms",
    "max_strategy_quote",
    "strategy_max_drawdown_quote",
    "max_open_intents",
    "fee_reserve_lamports",
    "failed_fee_budget_lamports",
    "shard",
    "holder",
    "epoch",
)
"""Everything that a claim is judged by and written from."""
VERDICT_NAMES = (
    *("id", "strategy", "mint", "purpose", "position_id", "amount_in", "reserve_quote", "reserve_lamports"),
    *VALUE_NAMES[len(ORDER_NAMES) :],
    *("added_intents", "added_quote", "added_lamports", "added_exposure"),
)
VERDICT_SQL = verdict_sql(lambda name: f"${VERDICT_NAMES.index(name) + 1}")
FACTS_SQL = facts_sql(lambda name: f"${VERDICT_NAMES.index(name) + 1}")
INSERT_SQL = (
    f"INSERT INTO intents ({ORDER_COLUMNS}, shard, epoch, state, updated_at_ms) "
    f"VALUES ({placeholders(len(ORDER_NAMES) + 2)}, 'INTENT', ${len(ORDER_NAMES) + 3})"
)
IF_NONE_SQL = " ON CONFLICT DO NOTHING RETURNING 1"
WRITTEN_NAMES = (*ORDER_NAMES, "shard", "epoch", "now_ms")
POSITION_SQL = (
    "INSERT INTO positions (id, shard, strategy, mint, state, exposure, opened_at_ms, entry_price) "
    "VALUES ($1, $2, $3, $4, 'PENDING', $5, $6, $7)"
)
POSITION_NAMES = ("id", "shard", "strategy", "mint", "reserve_quote", "signal_at_ms", "price")
CLAIMED_SQL = (
    "INSERT INTO transitions (shard, epoch, event, intent_id, attempt, to_state, at_ms) "
    "VALUES ($1, $2, 'CLAIM', $3, 0, 'INTENT', $4)"
)
EXIT_OPENS_SQL = "UPDATE positions SET exit_open = 1 WHERE id = $1"
RESERVE_SQL = (
    "UPDATE bots SET open_intents = open_intents + $1, reserved_quote = reserved_quote + $2, "
    "reserved_lamports = reserved_lamports + $3"
)
EXPOSE_SQL = (
    "INSERT INTO strategies (strategy, exposure) VALUES ($1, $2) "
    "ON CONFLICT (strategy) DO UPDATE SET exposure = strategies.exposure + excluded.exposure"
)


class Wanted(NamedTuple):
    """A claim as it was asked for."""

    intent: OrderIntent
    ownership: Ownership
    limits: ClaimLimits


T = TypeVar("T")


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


def apart(claims: Iterable[T], order: Callable[[T], OrderIntent]) -> Iterator[list[T]]:
    """
    Yield the claims in their order, in groups whose claims meet in nothing that only one of them may have.

    Such claims can be judged before any of them is written.
    """
    group: list[T] = []
    taken: set[object] = set()
    for claim in claims:
        intent = order(claim)
        keys = {intent.id, intent.position_id, (intent.strategy, intent.mint)}
        if taken & keys:
            yield group
            group, taken = [], set()
        group.append(claim)
        taken |= keys
    if group:
        yield group


def claim(intent: OrderIntent, *, ownership: Ownership, limits: ClaimLimits) -> Program[ClaimResult]:
    """See `Ledger.claim`."""
    return (yield from claim_all([Wanted(intent, ownership, limits)]))[0]


def claim_all(group: Sequence[Wanted]) -> Program[list[ClaimResult]]:
    """
    See `Ledger.claim`, for claims that are `apart`.

    Each is judged as if those before it had been written; what is granted is written at the end, once per table. Whatever is
    raised undoes all of them: then each has to come alone.

    Raises:
        Fenced: One of the shards is not ours.
        LedgerUnavailable: There is no bot.
    """
    results: list[ClaimResult] = []
    granted: list[dict[str, Any]] = []
    held = (0, 0, 0)
    exposures: dict[str, int] = {}
    for intent, ownership, limits in group:
        values = claim_values(intent, limits, ownership)
        values["added_intents"], values["added_quote"], values["added_lamports"] = held
        values["added_exposure"] = exposures.get(intent.strategy, 0)
        asked = [values[name] for name in VERDICT_NAMES]
        row = yield from one(VERDICT_SQL, *asked)
        if row is None or not row[0]:
            yield from fence(ownership)
            raise LedgerUnavailable("the ledger holds no bot yet")
        if row[1]:
            results.append(ClaimResult(ClaimOutcome.KNOWN, (yield from record_by_id(intent.id))))
        elif row[2]:
            results.append((yield from _refused(row[2], values)))
        else:
            results.append(claimed(intent, ownership=ownership, limits=limits))
            granted.append(values)
            held = (held[0] + 1, held[1] + intent.reserve_quote, held[2] + intent.reserve_lamports)
            if intent.purpose is Purpose.ENTRY:
                exposures[intent.strategy] = values["added_exposure"] + intent.reserve_quote
    orders = [[values[name] for name in WRITTEN_NAMES] for values in granted]
    if len(group) > 1:
        yield from each(INSERT_SQL, orders)
    elif orders and not (yield from execute(INSERT_SQL + IF_NONE_SQL, *orders[0])):
        # A unique index objected; the id was not there a moment ago, under the same lock.
        return [(yield from _refused(open_twin(group[0].intent), granted[0]))]
    entries = [values for values in granted if values["purpose"] == Purpose.ENTRY.value]
    yield from each(POSITION_SQL, ([values[name] for name in POSITION_NAMES] for values in entries))
    yield from each(
        EXIT_OPENS_SQL, ([values["position_id"]] for values in granted if values["purpose"] != Purpose.ENTRY.value)
    )
    yield from each(CLAIMED_SQL, ([values[name] for name in ("shard", "epoch", "id", "now_ms")] for values in granted))
    if granted:
        yield from execute(RESERVE_SQL, *held)
    yield from each(EXPOSE_SQL, sorted(exposures.items()))
    return results


def _refused(reason: str, values: Mapping[str, Any]) -> Program[ClaimResult]:
    row = yield from one(FACTS_SQL, *(values[name] for name in VERDICT_NAMES))
    return refused(reason, values, facts(row))


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
