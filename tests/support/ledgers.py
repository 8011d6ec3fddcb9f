"""What tests of the ledger share: a bot, its risk row, limits, orders, attempts and fills with plain numbers."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.domain import money
from tradingbot_engine.domain.intents import Attempt, Fill, IntentRecord, OrderIntent
from tradingbot_engine.domain.portfolio import RiskState
from tradingbot_engine.domain.signals import Priority, Purpose, Side
from tradingbot_engine.domain.units import SOL_MINT
from tradingbot_engine.ledger.port import BotRecord, ClaimLimits, ClaimOutcome, Ledger, Move, Ownership

NOW_MS = 1_700_000_000_000
TODAY = "2023-11-14"
MINT = "BonkMint1111111111111111111111111111111111"
SOL = 1_000_000_000
BASE_FEE, PRIORITY_FEE = 5_000, 2_000
FEE = BASE_FEE + PRIORITY_FEE


def a_bot(**changes: Any) -> BotRecord:
    bot = BotRecord(
        bot_id="b" * 32,
        name="default/first",
        wallet="Wa11et1111111111111111111111111111111111111",
        genesis_hash="genesis",
        cluster_id="laptop",
        quote_mint=SOL_MINT,
        shards=2,
        paper=False,
        wallet_lamports=100 * SOL,
        wallet_quote=100 * SOL,
        wallet_slot=10,
    )
    return replace(bot, **changes)


def a_risk(**changes: Any) -> RiskState:
    capital = 90 * SOL
    risk = RiskState(
        capital=capital,
        equity_start=capital,
        equity=capital,
        peak=capital,
        day=TODAY,
        day_start=capital,
        marked_at_ms=NOW_MS,
    )
    return replace(risk, **changes)


def limits(**changes: Any) -> ClaimLimits:
    wide = ClaimLimits(
        quote=money.SOL,
        now_ms=NOW_MS,
        today=TODAY,
        max_strategy_quote=50 * SOL,
        max_open_intents=1000,
        fee_reserve_lamports=SOL,
        failed_fee_budget_lamports=SOL,
        marks_max_age_ms=5000,
        strategy_max_drawdown_quote=10 * SOL,
    )
    return replace(wide, **changes)


def name_of(label: object) -> str:
    """Return 32 hexadecimal characters that follow from a label."""
    return hashlib.blake2b(str(label).encode(), digest_size=16).hexdigest()


def an_entry(label: object = "entry", **changes: Any) -> OrderIntent:
    identity = name_of(label)
    order = OrderIntent(
        id=identity,
        strategy="momentum",
        mint=MINT,
        side=Side.BUY,
        purpose=Purpose.ENTRY,
        priority=Priority.NORMAL,
        position_id=identity,
        amount_in=SOL,
        reserve_quote=SOL,
        reserve_lamports=3_000_000,
        max_slippage_bps=100,
        max_priority_fee_lamports=1_000_000,
        signal_at_ms=NOW_MS - 50,
        created_at_ms=NOW_MS,
        price=0.5,
        reason="return 5m 6 %",
    )
    return replace(order, **changes)


def an_exit(entry: OrderIntent, label: object = "exit", *, amount: int = 2_000_000, **changes: Any) -> OrderIntent:
    order = replace(
        entry,
        id=name_of(label),
        side=Side.SELL,
        purpose=Purpose.EXIT,
        priority=Priority.HIGH,
        position_id=entry.id,
        amount_in=amount,
        reserve_quote=0,
        reason="take profit",
    )
    return replace(order, **changes)


def an_attempt(order: OrderIntent, n: int = 1, *, epoch: int = 1) -> Attempt:
    return Attempt(
        intent_id=order.id,
        n=n,
        signature=f"sig-{order.id}-{n}",
        wire=b"\x00wire" + bytes([n]),
        blockhash=f"hash{n}",
        blockhash_slot=100 + n,
        last_valid_block_height=250 + n,
        epoch=epoch,
        signed_at_ms=NOW_MS + n,
        quoted_out=2_000_000,
    )


def a_fill(order: OrderIntent, n: int = 1, *, base: int, quote: int, slot: int = 200, **changes: Any) -> Fill:
    """A swap without rent: what the wallet's lamports do is the swap less the fees."""
    fill = Fill(
        intent_id=order.id,
        attempt=n,
        signature=f"sig-{order.id}-{n}",
        slot=slot,
        block_time_ms=NOW_MS + 1000,
        side=order.side,
        base_delta=base,
        quote_delta=quote,
        lamport_delta=quote - FEE,
        base_fee_lamports=BASE_FEE,
        priority_fee_lamports=PRIORITY_FEE,
        tip_lamports=0,
        rent_lamports=0,
        finalized=True,
    )
    return replace(fill, **changes)


async def own(ledger: Ledger, shard: int = 0, *, holder: str = "me") -> Ownership:
    """Take a shard, as whoever stands there now."""
    seen = (await ledger.shards())[shard]
    ownership = await ledger.take(seen, holder=holder, now_ms=NOW_MS)
    assert ownership is not None
    return ownership


async def step(
    ledger: Ledger, record: IntentRecord, event: IntentEvent, ownership: Ownership, **carried: Any
) -> IntentRecord:
    """Move on from the record as it stands; the move must succeed."""
    moved = await ledger.move(step_of(record, event, **carried), ownership=ownership)
    assert moved is not None
    return moved


def step_of(record: IntentRecord, event: IntentEvent, **carried: Any) -> Move:
    at_ms = carried.pop("at_ms", NOW_MS + 100)
    return Move(
        intent_id=record.intent.id, state=record.state, attempt=record.attempt, event=event, at_ms=at_ms, **carried
    )


async def claimed(ledger: Ledger, order: OrderIntent, ownership: Ownership, **changes: Any) -> IntentRecord:
    """Claim an order that must be granted."""
    result = await ledger.claim(order, ownership=ownership, limits=limits(**changes))
    assert result.outcome is ClaimOutcome.CLAIMED, (result.reason, result.message)
    assert result.record is not None
    return result.record


async def signed(ledger: Ledger, record: IntentRecord, ownership: Ownership) -> IntentRecord:
    attempt = an_attempt(record.intent, record.attempt + 1, epoch=ownership.epoch)
    return await step(ledger, record, IntentEvent.SIGN, ownership, new_attempt=attempt)


async def bought(
    ledger: Ledger,
    order: OrderIntent,
    ownership: Ownership,
    *,
    tokens: int = 2_000_000,
    cost: int = SOL,
    slot: int = 200,
) -> IntentRecord:
    """An entry, all the way to its final fill."""
    record = await signed(ledger, await claimed(ledger, order, ownership), ownership)
    fill = a_fill(order, base=tokens, quote=-cost, slot=slot)
    record = await step(
        ledger, record, IntentEvent.CONFIRM, ownership, fill=replace(fill, finalized=False), confirmed_slot=slot
    )
    return await step(ledger, record, IntentEvent.FINALIZE, ownership, fill=fill)


async def sold(
    ledger: Ledger, order: OrderIntent, ownership: Ownership, *, proceeds: int, slot: int = 300
) -> IntentRecord:
    """An exit, all the way to its final fill."""
    record = await signed(ledger, await claimed(ledger, order, ownership), ownership)
    fill = a_fill(order, base=-order.amount_in, quote=proceeds, slot=slot)
    record = await step(
        ledger, record, IntentEvent.CONFIRM, ownership, fill=replace(fill, finalized=False), confirmed_slot=slot
    )
    return await step(ledger, record, IntentEvent.FINALIZE, ownership, fill=fill)
