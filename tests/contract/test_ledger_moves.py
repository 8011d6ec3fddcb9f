"""Moves through the state table, alike on both databases: compares, positions, money, and what survives forks."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.ledgers import (
    FEE,
    NOW_MS,
    SOL,
    a_fill,
    an_attempt,
    an_entry,
    an_exit,
    bought,
    claimed,
    limits,
    own,
    signed,
    sold,
    step,
    step_of,
)
from support.places import Place

from tradingbot_engine.core.intents import TABLE
from tradingbot_engine.core.intents import IntentEvent as E
from tradingbot_engine.domain.intents import IntentState as S
from tradingbot_engine.domain.portfolio import PositionState
from tradingbot_engine.errors import Fenced, PermanentError
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import Ledger, Move

pytest_plugins = ["support.ledger_fixtures"]


async def test_a_trade_from_claim_to_finality_and_out_again(ledger: Ledger) -> None:
    """Amounts, results, balances, outbox: to the lamport."""
    me = await own(ledger)
    entry = an_entry()
    record = await bought(ledger, entry, me, tokens=2_000_000, cost=SOL - 10)
    assert (record.state, record.attempt, record.confirmed_slot) == (S.DONE, 1, 200)
    assert await ledger.intent(entry.id) == record
    assert record.attempts == (an_attempt(entry),)
    (position,) = await ledger.positions()
    assert (position.state, position.bought, position.cost) == (PositionState.OPEN, 2_000_000, SOL - 10)
    assert (await ledger.bot()).wallet_lamports == 100 * SOL - (SOL - 10) - FEE

    await sold(ledger, an_exit(entry), me, proceeds=SOL + 90)
    assert await ledger.positions() == []
    (position,) = await ledger.positions(closed=True)
    assert (position.state, position.sold, position.proceeds) == (PositionState.CLOSED, 2_000_000, SOL + 90)
    assert (await ledger.risk()).realized == 100 - 2 * FEE
    assert (await ledger.bot()).wallet_lamports == 100 * SOL + 100 - 2 * FEE
    rows = await ledger.outbox()
    assert [(r.key, r.kind) for r in rows] == [
        (f"sig-{entry.id}-1", "DONE"),
        (f"sig-{an_exit(entry).id}-1", "DONE"),
    ]
    await ledger.outbox_done([rows[0].id])
    assert [r.id for r in await ledger.outbox()] == [rows[1].id]
    assert [(f.fill.side, f.purpose) for f in await ledger.fills()] == [("SELL", "EXIT"), ("BUY", "ENTRY")]
    assert await ledger.signatures_known([rows[0].key, rows[1].key, "unknown"]) == {rows[0].key, rows[1].key}
    assert await violations(ledger) == []


async def test_every_pair_that_the_table_lacks_is_a_bug_and_writes_nothing(ledger: Ledger) -> None:
    """Asking for what cannot happen raises before anything is touched."""
    me = await own(ledger)
    await claimed(ledger, an_entry(), me)
    for state in S:
        for event in E:
            if (state, event) not in TABLE:
                with pytest.raises(PermanentError):
                    await ledger.move(Move(an_entry().id, state, 0, event, NOW_MS), ownership=me)
    assert (await ledger.open_intents())[0].state is S.INTENT


async def test_a_move_must_carry_what_its_event_needs_and_nothing_foreign(ledger: Ledger) -> None:
    """A fill of another attempt, a provisional fill as final, an attempt of the wrong number: bugs, not facts."""
    me = await own(ledger)
    order = an_entry()
    fresh = await claimed(ledger, order, me)
    for attempt in (None, an_attempt(order, 2), an_attempt(an_entry("other"))):
        with pytest.raises(PermanentError):
            await ledger.move(step_of(fresh, E.SIGN, new_attempt=attempt), ownership=me)
    record = await signed(ledger, fresh, me)
    fill = a_fill(order, base=5, quote=-5)
    for event, carried in (
        (E.CONFIRM, {"fill": fill, "confirmed_slot": 1}),
        (E.CONFIRM, {"fill": replace(fill, finalized=False)}),
        (E.CONFIRM, {"confirmed_slot": 1}),
        (E.FINALIZE, {}),
        (E.FINALIZE, {"fill": replace(fill, finalized=False)}),
        (E.FINALIZE, {"fill": replace(fill, attempt=2)}),
        (E.FINALIZE, {"fill": replace(fill, signature="another")}),
        (E.FAIL, {"fill": fill}),
        (E.SEND, {"fill": fill}),
    ):
        with pytest.raises(PermanentError):
            await ledger.move(step_of(record, event, **carried), ownership=me)
    assert await ledger.intent(order.id) == record
    assert await violations(ledger) == []


async def test_evidence_about_an_older_attempt_moves_nothing(ledger: Ledger) -> None:
    """State alone would be A-B-A: proof that attempt 1 expired must not expire attempt 2."""
    me = await own(ledger)
    first = await signed(ledger, await claimed(ledger, an_entry(), me), me)
    late_proof = step_of(first, E.EXPIRE)
    second = await signed(ledger, await step(ledger, first, E.EXPIRE, me), me)
    assert (second.state, second.attempt) == (S.SIGNED, 2)
    assert await ledger.move(late_proof, ownership=me) is None
    assert await ledger.intent(an_entry().id) == second
    assert await violations(ledger) == []


async def test_of_two_tasks_with_the_same_evidence_one_moves_and_one_reads_again(ledger: Ledger) -> None:
    """No rows means read again, never lost."""
    me = await own(ledger)
    record = await signed(ledger, await claimed(ledger, an_entry(), me), me)
    results = await asyncio.gather(*(ledger.move(step_of(record, E.EXPIRE), ownership=me) for _ in range(8)))
    assert [r for r in results if r is not None] == [await ledger.intent(an_entry().id)]
    assert await violations(ledger) == []


async def test_a_zombie_writes_nothing_under_its_old_epoch(ledger: Ledger) -> None:
    """Whatever it believes about state and attempt, even if that is right."""
    zombie = await own(ledger)
    record = await signed(ledger, await claimed(ledger, an_entry(), zombie), zombie)
    successor = await own(ledger, holder="successor")
    fill = a_fill(record.intent, base=5, quote=-5)
    for move in (step_of(record, E.SEND), step_of(record, E.EXPIRE), step_of(record, E.FINALIZE, fill=fill)):
        with pytest.raises(Fenced):
            await ledger.move(move, ownership=zombie)
    with pytest.raises(Fenced):
        await ledger.mark(ownership=zombie, unrealized=1, at_ms=NOW_MS)
    with pytest.raises(Fenced):
        await ledger.update_risk(lambda r: r, ownership=zombie, actor="zombie")
    assert await ledger.intent(record.intent.id) == record
    moved = await step(ledger, record, E.SEND, successor)
    assert (moved.state, moved.epoch) == (S.SUBMITTED, 2)
    assert await violations(ledger) == []


@pytest.mark.parametrize("stale", ["epoch", "holder"])
async def test_epoch_and_holder_must_both_be_those_of_the_row(ledger: Ledger, stale: str) -> None:
    """A process that took its shard anew has old tasks of the same holder; and an epoch alone proves nothing."""
    first = await own(ledger)
    record = await signed(ledger, await claimed(ledger, an_entry(), first), first)
    if stale == "epoch":
        wrong = first
        right = await own(ledger, holder=first.holder)
    else:
        wrong, right = replace(first, holder="somebody"), first
    for work in (
        ledger.move(step_of(record, E.SEND), ownership=wrong),
        ledger.claim(an_entry(2, mint="2"), ownership=wrong, limits=limits()),
        ledger.mark(ownership=wrong, unrealized=1, at_ms=NOW_MS),
        ledger.update_risk(lambda r: r, ownership=wrong, actor="old task"),
    ):
        with pytest.raises(Fenced):
            await work
    assert not await ledger.release(wrong, now_ms=NOW_MS)
    await step(ledger, record, E.SEND, right)
    assert await violations(ledger) == []


async def test_a_fork_takes_back_what_was_confirmed_and_the_same_bytes_may_land_again(ledger: Ledger) -> None:
    """Bought provisionally, not bought, bought for another amount: what is final counts, exactly once."""
    me = await own(ledger)
    order = an_entry()
    record = await signed(ledger, await claimed(ledger, order, me), me)
    early = a_fill(order, base=2_000_000, quote=-SOL, finalized=False)
    record = await step(ledger, record, E.CONFIRM, me, fill=early, confirmed_slot=200)
    (position,) = await ledger.positions()
    assert (position.state, position.bought, position.cost) == (PositionState.OPEN, 2_000_000, SOL)
    assert [f.fill.finalized for f in await ledger.fills()] == [False]

    record = await step(ledger, record, E.FORK, me)
    assert (record.state, record.confirmed_slot, record.attempt) == (S.SUBMITTED, None, 1)
    (position,) = await ledger.positions()
    assert (position.state, position.bought, position.cost) == (PositionState.PENDING, 0, 0)
    assert await ledger.fills() == []
    assert await violations(ledger) == []

    final = a_fill(order, base=1_999_000, quote=-(SOL - 1), slot=210)
    record = await step(ledger, record, E.FINALIZE, me, fill=final)
    (position,) = await ledger.positions()
    assert (position.state, position.bought, position.cost) == (PositionState.OPEN, 1_999_000, SOL - 1)
    assert [f.fill for f in await ledger.fills()] == [final]
    assert (await ledger.bot()).wallet_lamports == 100 * SOL - (SOL - 1) - FEE
    assert await violations(ledger) == []


async def test_an_exit_that_is_forked_away_is_held_again(ledger: Ledger) -> None:
    """Proceeds count provisionally, and are undone with their fork."""
    me = await own(ledger)
    order = an_entry()
    await bought(ledger, order, me)
    out = an_exit(order, amount=800_000)
    record = await signed(ledger, await claimed(ledger, out, me), me)
    early = a_fill(out, base=-800_000, quote=SOL // 2, finalized=False)
    record = await step(ledger, record, E.CONFIRM, me, fill=early, confirmed_slot=300)
    (position,) = await ledger.positions()
    assert (position.held, position.proceeds, position.exit_open) == (1_200_000, SOL // 2, True)
    assert (await ledger.risk()).realized == -FEE
    record = await step(ledger, record, E.FORK, me)
    (position,) = await ledger.positions()
    assert (position.held, position.proceeds, position.exit_open) == (2_000_000, 0, True)
    await step(ledger, record, E.FINALIZE, me, fill=replace(early, finalized=True, slot=310))
    (position,) = await ledger.positions()
    assert (position.held, position.exit_open, position.exit_failures) == (1_200_000, False, 0)
    assert (await ledger.risk()).realized == SOL // 2 - SOL * 8 // 20 - 2 * FEE
    assert await violations(ledger) == []


async def test_an_exit_may_be_final_before_its_entry_is(ledger: Ledger) -> None:
    """Both landed, and finality is learned in the wrong order: the numbers come out the same."""
    me = await own(ledger)
    order = an_entry()
    entry = await signed(ledger, await claimed(ledger, order, me), me)
    fill = a_fill(order, base=2_000_000, quote=-SOL)
    entry = await step(ledger, entry, E.CONFIRM, me, fill=replace(fill, finalized=False), confirmed_slot=200)
    await sold(ledger, an_exit(order), me, proceeds=SOL + 5)
    assert [p.state for p in await ledger.positions()] == [PositionState.OPEN]
    assert await violations(ledger) == []
    entry = await step(ledger, entry, E.FORK, me)
    assert await violations(ledger) == []
    entry = await step(ledger, entry, E.CONFIRM, me, fill=replace(fill, finalized=False), confirmed_slot=201)
    await step(ledger, entry, E.FINALIZE, me, fill=fill)
    assert await ledger.positions() == []
    assert (await ledger.risk()).realized == 5 - 2 * FEE
    assert await violations(ledger) == []


async def test_a_failed_exit_pays_its_fee_counts_and_leaves_the_position_open(ledger: Ledger) -> None:
    """The next exit escalates by the count; the fee is a realized loss."""
    me = await own(ledger)
    order = an_entry()
    await bought(ledger, order, me)
    out = an_exit(order)
    record = await signed(ledger, await claimed(ledger, out, me), me)
    await step(ledger, record, E.FAIL, me, fill=a_fill(out, base=0, quote=0), reason="6001")
    (position,) = await ledger.positions()
    assert (position.state, position.held, position.exit_failures) == (PositionState.OPEN, 2_000_000, 1)
    risk = await ledger.risk()
    assert (risk.realized, risk.fees_failed_today) == (-2 * FEE, FEE)
    assert [(r.kind, r.key) for r in await ledger.outbox()][-1] == ("FAILED", f"sig-{out.id}-1")
    assert len(await ledger.fills()) == 1
    assert await violations(ledger) == []


SLIP = '{"InstructionError":[3,{"Custom":6001}]}'


async def test_only_exits_that_the_price_ran_away_from_escalate_and_a_sale_ends_it(
    ledger: Ledger, place: Place
) -> None:
    """Other errors, expiry and giving up count for the pause alone; all of it is there after a restart."""
    me = await own(ledger)
    order = an_entry()
    await bought(ledger, order, me)
    wall_ms, seen = NOW_MS, []

    async def fails(label: str, event: E, reason: str, *, failed_at_ms: int | None = None) -> None:
        nonlocal wall_ms
        wall_ms += 10_000
        out = an_exit(order, label, created_at_ms=wall_ms, signal_at_ms=wall_ms - 500_000, amount=1_000_000)
        record = await claimed(ledger, out, me)
        ended = {"at_ms": wall_ms + 3_000, "reason": reason}
        if event is E.FAIL:
            record = await signed(ledger, record, me)
            ended["fill"] = a_fill(out, base=0, quote=0)
        await step(ledger, record, event, me, **ended)
        (position,) = await ledger.positions()
        assert position.exit_failed_at_ms == (failed_at_ms or wall_ms - 500_000 + 3_000)
        seen.append((position.exit_failures, position.exit_slips))

    await fails("first", E.FAIL, SLIP)
    await fails("second", E.FAIL, '{"InstructionError":[3,{"Custom":16001}]}')
    await fails("third", E.ABANDON, "expired")
    last_failed_at_ms = wall_ms - 500_000 + 3_000
    await fails("never", E.ABANDON, "Untried: TooOld: the swap API answers HTTP 503", failed_at_ms=last_failed_at_ms)
    await fails("fourth", E.FAIL, SLIP.replace(":", ": "))
    assert seen == [(1, 1), (2, 1), (3, 1), (3, 1), (4, 2)]
    again = await place.open()
    assert await again.positions() == await ledger.positions()

    part = an_exit(order, "part", amount=500_000, created_at_ms=wall_ms + 5_000)
    record = await signed(ledger, await claimed(ledger, part, me), me)
    fill = a_fill(part, base=-500_000, quote=5, slot=300)
    record = await step(
        ledger, record, E.CONFIRM, me, fill=replace(fill, finalized=False), confirmed_slot=300, at_ms=wall_ms + 6_000
    )
    assert [p.exit_slips for p in await ledger.positions()] == [0]
    record = await step(ledger, record, E.FORK, me, at_ms=wall_ms + 7_000)
    assert [p.exit_slips for p in await ledger.positions()] == [2]  # nothing was sold after all
    await step(ledger, record, E.FINALIZE, me, fill=fill, at_ms=wall_ms + 8_000)
    assert [(p.exit_slips, p.exit_failures) for p in await ledger.positions()] == [(0, 4)]
    await fails("last", E.FAIL, SLIP)
    assert seen[-1] == (5, 1)
    assert await violations(ledger) == []


async def test_a_failed_entry_closes_its_position_and_gives_the_reserve_back(ledger: Ledger) -> None:
    """Nothing was bought; only the fee is gone."""
    me = await own(ledger)
    record = await signed(ledger, await claimed(ledger, an_entry(), me), me)
    record = await step(ledger, record, E.FAIL, me, fill=a_fill(record.intent, base=0, quote=0), reason="6001")
    assert record.reason == "6001"
    assert await ledger.positions() == []
    assert (await ledger.bot()).wallet_lamports == 100 * SOL - FEE
    assert await violations(ledger) == []


async def test_an_abandoned_intent_is_told_by_its_id(ledger: Ledger) -> None:
    """Nothing of it landed, so there is no signature to tell it by."""
    me = await own(ledger)
    record = await claimed(ledger, an_entry(), me)
    await step(ledger, record, E.ABANDON, me, reason="TooOld: 31 s")
    assert [(r.key, r.kind) for r in await ledger.outbox()] == [(record.intent.id, "ABANDONED")]
    assert (await ledger.intent_counts())[S.ABANDONED] == 1


async def test_open_intents_come_oldest_first_with_their_attempts_and_by_shard(ledger: Ledger) -> None:
    """What a take-over resolves."""
    a, b = await own(ledger, 0), await own(ledger, 1)
    second = await claimed(ledger, an_entry("2", created_at_ms=NOW_MS + 2, mint="2"), a)
    first = await signed(ledger, await claimed(ledger, an_entry("1", created_at_ms=NOW_MS + 1, mint="1"), b), b)
    done = await claimed(ledger, an_entry("3", mint="3"), a)
    await step(ledger, done, E.ABANDON, a)
    assert list(await ledger.open_intents()) == [first, second]
    assert list(await ledger.open_intents(1)) == [first]
    assert [p.mint for p in await ledger.positions(shard=0)] == ["2"]


async def test_sales_are_remembered_with_their_event_time_and_only_whole_ones_close(ledger: Ledger) -> None:
    """After a restart a token's rest is counted from the sale, not from the restart."""
    me = await own(ledger)
    first, second = an_entry("first"), an_entry("second", mint="M2")
    await bought(ledger, first, me)
    await bought(ledger, second, me, slot=210)
    await sold(ledger, an_exit(first, signal_at_ms=7_000), me, proceeds=SOL, slot=310)
    await sold(ledger, an_exit(second, "half", amount=1_000_000, signal_at_ms=8_000), me, proceeds=SOL // 2, slot=320)
    assert [(p.id, p.state, p.closed_at_ms) for p in await ledger.closed_since(7_000)] == [
        (first.id, PositionState.CLOSED, 7_000)
    ]
    assert await ledger.closed_since(7_001) == []
    await sold(ledger, an_exit(second, "rest", amount=1_000_000, signal_at_ms=9_000), me, proceeds=SOL // 2, slot=330)
    assert [(p.id, p.closed_at_ms) for p in await ledger.closed_since(0)] == [(first.id, 7_000), (second.id, 9_000)]
