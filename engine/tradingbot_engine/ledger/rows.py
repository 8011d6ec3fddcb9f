"""Rows of the ledger's tables and the values of the domain that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.intents import Attempt, Fill, IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.portfolio import Position, PositionState, RiskState, Tier
from tradingbot_engine.domain.signals import Priority, Purpose, Side
from tradingbot_engine.ledger.port import BotRecord, FillRow, OutboxRow, ShardRow, TierChange
from tradingbot_engine.ledger.program import Row

ORDER_COLUMNS = (
    "id, strategy, mint, side, purpose, priority, position_id, amount_in, reserve_quote, reserve_lamports, "
    "max_slippage_bps, max_priority_fee_lamports, signal_at_ms, created_at_ms, price, signal_reason"
)
"""In the order of `OrderIntent`'s fields."""
INTENT_COLUMNS = f"{ORDER_COLUMNS}, shard, epoch, state, attempt, confirmed_slot, reason, updated_at_ms"
ATTEMPT_COLUMNS = (
    "intent_id, n, signature, wire, blockhash, blockhash_slot, last_valid_block_height, epoch, signed_at_ms, quoted_out"
)
"""In the order of `Attempt`'s fields."""
FILL_COLUMNS = (
    "intent_id, attempt, signature, slot, block_time_ms, side, base_delta, quote_delta, lamport_delta, "
    "base_fee_lamports, priority_fee_lamports, tip_lamports, rent_lamports, finalized, paper"
)
"""In the order of `Fill`'s fields."""
POSITION_COLUMNS = (
    "id, strategy, mint, state, bought, sold, cost, proceeds, opened_at_ms, entry_price, exit_open, exit_failures, "
    "exit_slips, exit_failed_at_ms"
)
"""In the order of `Position`'s fields, but for the last."""
BOT_COLUMNS = (
    "bot_id, name, wallet, genesis_hash, cluster_id, quote_mint, shards, paper, generation, paused, latch, "
    "settled_slot, wallet_lamports, wallet_quote, wallet_slot, closing_since_ms, closing_by"
)
"""In the order of `BotRecord`'s fields."""
RISK_COLUMNS = (
    "capital, equity_start, equity, peak, day, day_start, tier, tier_since_ms, tier_reason, realized, "
    "fees_failed, marked_at_ms, fees_day"
)
BAR_COLUMNS = "start_ms, open, high, low, close, volume, quote_reserve"

_ORDER_WIDTH = len(fields(OrderIntent))


def values(item: OrderIntent | Attempt | Fill | BotRecord | Bar) -> list[Any]:
    """Return a value's fields in order, as the database takes them: enumerations as text or number, flags as 0 or 1."""
    return [plain(getattr(item, field.name)) for field in fields(item)]


def plain(value: Any) -> Any:
    """Return a value as both drivers take it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Priority):
        return int(value)
    return str(value) if isinstance(value, str) else value


def order_of(row: Row) -> OrderIntent:
    head = list(row[:_ORDER_WIDTH])
    head[3], head[4], head[5] = Side(head[3]), Purpose(head[4]), Priority(head[5])
    return OrderIntent(*head)


def record_of(row: Row, attempts: Sequence[Row]) -> IntentRecord:
    shard, epoch, state, attempt, confirmed_slot, reason, updated_at_ms = row[_ORDER_WIDTH:]
    return IntentRecord(
        intent=order_of(row),
        shard=shard,
        epoch=epoch,
        state=IntentState(state),
        attempt=attempt,
        attempts=tuple(attempt_of(a) for a in attempts),
        confirmed_slot=confirmed_slot,
        reason=reason,
        updated_at_ms=updated_at_ms,
    )


def attempt_of(row: Row) -> Attempt:
    return Attempt(*row)


def fill_of(row: Row) -> Fill:
    items = list(row)
    items[5], items[13], items[14] = Side(items[5]), bool(items[13]), bool(items[14])
    return Fill(*items)


def fill_row_of(row: Row) -> FillRow:
    width = len(fields(Fill))
    return FillRow(fill_of(row[:width]), *row[width:])


def position_of(row: Row) -> Position:
    items = list(row)
    items[3], items[10] = PositionState(items[3]), bool(items[10])
    return Position(*items)


def bot_of(row: Row) -> BotRecord:
    items = list(row)
    items[7], items[9], items[10] = bool(items[7]), bool(items[9]), bool(items[10])
    return BotRecord(*items)


def risk_of(row: Row) -> RiskState:
    """Return the risk row; failed fees of a day before `day` are no longer today's."""
    items = list(row)
    fees_day = items.pop()
    items[6] = Tier(items[6])
    if fees_day < items[4]:
        items[10] = 0
    return RiskState(*items)


def shard_of(row: Row) -> ShardRow:
    return ShardRow(*row)


def bar_of(row: Row) -> Bar:
    return Bar(*row)


def outbox_of(row: Row) -> OutboxRow:
    return OutboxRow(*row)


def tier_change_of(row: Row) -> TierChange:
    return TierChange(*row)


def placeholders(count: int, *, first: int = 1) -> str:
    """Return `$1, $2, …`."""
    return ", ".join(f"${n}" for n in range(first, first + count))
