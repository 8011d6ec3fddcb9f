"""Claims, alike on both databases: what is granted, what is refused and why, and what stays held back."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.ledgers import (
    FEE,
    MINT,
    NOW_MS,
    SOL,
    a_bot,
    a_fill,
    a_risk,
    an_entry,
    an_exit,
    bought,
    claimed,
    limits,
    name_of,
    own,
    signed,
    sold,
    step,
)
from support.places import Place, sqlite_place

from tradingbot_engine.core.intents import IntentEvent as E
from tradingbot_engine.domain.intents import IntentState as S
from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.domain.portfolio import PositionState, Tier
from tradingbot_engine.domain.units import USDC_MINT
from tradingbot_engine.errors import Fenced, LedgerUnavailable, PermanentError
from tradingbot_engine.ledger.base import ProgramLedger
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import ClaimOutcome, ClaimResult, Ledger, Ownership
from tradingbot_engine.ledger.program import execute

pytest_plugins = ["support.ledger_fixtures"]


async def refusal(ledger: Ledger, order: Any, ownership: Ownership, **changes: Any) -> str:
    """Claim an order that must be refused, leaving nothing behind; return the reason."""
    before = (await ledger.intent_counts(), await ledger.positions(closed=True), await violations(ledger))
    result = await ledger.claim(order, ownership=ownership, limits=limits(**changes))
    assert result.outcome is ClaimOutcome.REFUSED, result
    assert result.record is None
    assert result.message
    assert "quote units" not in result.message
    assert await ledger.intent(order.id) is None
    assert (await ledger.intent_counts(), await ledger.positions(closed=True), await violations(ledger)) == before
    assert before[2] == []
    return result.reason


async def test_a_claim_writes_the_intent_and_opens_its_position(ledger: Ledger) -> None:
    """What was answered is what is read again, field for field."""
    me = await own(ledger)
    order = an_entry()
    record = await claimed(ledger, order, me)
    assert record.intent == order
    assert (record.state, record.attempt, record.shard, record.epoch) == (S.INTENT, 0, 0, 1)
    assert await ledger.intent(order.id) == record
    assert list(await ledger.open_intents()) == [record]
    (position,) = await ledger.positions()
    assert (position.id, position.state, position.held) == (order.id, PositionState.PENDING, 0)
    assert (position.opened_at_ms, position.entry_price) == (order.signal_at_ms, order.price)
    assert await violations(ledger) == []


async def test_the_same_signal_is_known_for_ever(ledger: Ledger) -> None:
    """An id that is in the ledger is never claimed again, whatever became of it."""
    me = await own(ledger)
    record = await claimed(ledger, an_entry(), me)
    again = await ledger.claim(an_entry(), ownership=me, limits=limits(max_open_intents=0))
    assert again == ClaimResult(ClaimOutcome.KNOWN, record)
    await step(ledger, record, E.ABANDON, me, reason="TooOld")
    again = await ledger.claim(an_entry(), ownership=me, limits=limits())
    assert again.outcome is ClaimOutcome.KNOWN
    assert again.record is not None
    assert again.record.state is S.ABANDONED


async def test_of_many_claims_of_one_signal_exactly_one_is_granted(ledger: Ledger) -> None:
    """Two tasks, one signal: the database decides, not memory."""
    me = await own(ledger)
    results = await asyncio.gather(*(ledger.claim(an_entry(), ownership=me, limits=limits()) for _ in range(20)))
    assert sorted(r.outcome for r in results) == ["CLAIMED"] + ["KNOWN"] * 19
    assert await violations(ledger) == []


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("StaleEquity", {"now_ms": NOW_MS + 5001}),
        ("StrategyLimit", {"max_strategy_quote": SOL - 1}),
        ("TooManyOpenIntents", {"max_open_intents": 0}),
        ("FeeReserve", {"fee_reserve_lamports": 99 * SOL - 3_000_000 + 1}),
    ],
)
async def test_an_entry_beyond_a_limit_is_refused_and_one_at_the_limit_is_not(
    ledger: Ledger, reason: str, change: dict[str, int]
) -> None:
    """Each limit is exact, and its refusal leaves nothing behind."""
    me = await own(ledger)
    assert await refusal(ledger, an_entry(), me, **change) == reason
    (name, value), *_ = change.items()
    within = {"now_ms": -1, "max_strategy_quote": 1, "max_open_intents": 1, "fee_reserve_lamports": -1}[name]
    await claimed(ledger, an_entry(), me, **{name: value + within})


async def test_pause_latch_and_tier_stop_entries_in_this_order_and_never_exits(ledger: Ledger) -> None:
    """The first reason wins; what is held can always be sold."""
    me = await own(ledger)
    held = an_entry("held")
    await bought(ledger, held, me)
    order = an_entry("next", mint="Other" + MINT[5:])
    await ledger.update_risk(
        lambda r: a_risk(tier=Tier.HALT, tier_since_ms=NOW_MS, realized=r.realized), ownership=me, actor="test"
    )
    await ledger.set_latch(True)
    assert await ledger.set_live(generation=1, paused=True, risk_json="{}")
    assert await refusal(ledger, order, me) == "Paused"
    assert await ledger.set_live(generation=2, paused=False, risk_json="{}")
    assert await refusal(ledger, order, me) == "Latched"
    await ledger.set_latch(False)
    assert await refusal(ledger, order, me) == "TierHalt"
    await claimed(ledger, an_exit(held), me, max_open_intents=0, now_ms=NOW_MS + 60_000)
    assert await violations(ledger) == []


async def test_closing_out_refuses_every_entry_and_no_exit_whoever_claims(ledger: Ledger) -> None:
    """From the wish's commit on, before all other reasons, in a batch as well, and until it is taken back."""
    me = await own(ledger)
    held = an_entry("held")
    await bought(ledger, held, me)
    await ledger.set_latch(True)
    await ledger.close_out(by="test")
    orders = [an_entry(f"e{n}", mint=f"Mint{n}" + MINT[5:]) for n in range(4)]
    results = await asyncio.gather(*(ledger.claim(o, ownership=me, limits=limits()) for o in orders))
    assert [r.reason for r in results] == ["ClosingOut"] * 4
    assert "nothing is bought" in results[0].message
    await claimed(ledger, an_exit(held), me)
    await ledger.set_latch(False)
    await ledger.reopen()
    await claimed(ledger, orders[0], me)
    assert await violations(ledger) == []


async def test_one_position_per_strategy_and_mint(ledger: Ledger) -> None:
    """While an entry is open, and while its position is; then the way is free again."""
    me = await own(ledger)
    first = await claimed(ledger, an_entry("first"), me)
    assert await refusal(ledger, an_entry("second"), me) == "EntryOpen"
    await claimed(ledger, an_entry("of another strategy", strategy="mean-revert"), me)
    await step(ledger, first, E.ABANDON, me)
    order = an_entry("third")
    await bought(ledger, order, me)
    assert await refusal(ledger, an_entry("fourth"), me) == "PositionOpen"
    await sold(ledger, an_exit(order), me, proceeds=SOL)
    await claimed(ledger, an_entry("fifth"), me)
    assert await violations(ledger) == []


async def test_an_exit_needs_an_open_position_no_other_exit_and_at_most_what_is_held(ledger: Ledger) -> None:
    """Never more than the position, never twice at once."""
    me = await own(ledger)
    order = an_entry()
    assert await refusal(ledger, an_exit(order), me) == "PositionNotOpen"
    record = await claimed(ledger, order, me)
    assert await refusal(ledger, an_exit(order), me) == "PositionNotOpen"
    await step(ledger, record, E.ABANDON, me)
    order = an_entry("bought")
    await bought(ledger, order, me, tokens=2_000_000)
    assert await refusal(ledger, an_exit(order, amount=2_000_001), me) == "ExitTooLarge"
    await sold(ledger, an_exit(order, "part", amount=500_000), me, proceeds=SOL // 4)
    assert await refusal(ledger, an_exit(order, amount=1_500_001), me) == "ExitTooLarge"
    exit_ = await claimed(ledger, an_exit(order, amount=1_500_000), me)
    assert (await ledger.positions())[0].exit_open
    assert await refusal(ledger, an_exit(order, "other", amount=1), me) == "ExitOpen"
    await step(ledger, exit_, E.ABANDON, me, reason="SlippageTooHigh")
    (position,) = await ledger.positions()
    assert (position.exit_open, position.exit_failures) == (False, 1)
    await claimed(ledger, an_exit(order, "again", amount=1_500_000), me)
    assert await violations(ledger) == []


async def test_money_that_is_reserved_cannot_be_promised_twice(ledger: Ledger) -> None:
    """100 SOL: two entries of 45 SOL leave too little for a third, until one of them ends."""
    me = await own(ledger)
    wide = {"max_strategy_quote": 1000 * SOL}
    orders = [
        an_entry(n, mint=f"{n}{MINT[1:]}", amount_in=45 * SOL, reserve_quote=45 * SOL, reserve_lamports=SOL)
        for n in range(3)
    ]
    first = await claimed(ledger, orders[0], me, **wide)
    await claimed(ledger, orders[1], me, **wide)
    assert await refusal(ledger, orders[2], me, **wide) == "InsufficientFunds"
    await step(ledger, first, E.ABANDON, me)
    await claimed(ledger, orders[2], me, **wide)
    assert await violations(ledger) == []


async def test_concurrent_claims_never_exceed_a_limit(ledger: Ledger) -> None:
    """Limits hold over both shards and all tasks at once: 7 of 40 fit."""
    shards = [await own(ledger, 0), await own(ledger, 1)]
    orders = [an_entry(n, mint=f"{n:02}{MINT[2:]}") for n in range(40)]
    results = await asyncio.gather(
        *(
            ledger.claim(order, ownership=shards[n % 2], limits=limits(max_strategy_quote=7 * SOL))
            for n, order in enumerate(orders)
        )
    )
    assert sorted(r.reason for r in results) == [""] * 7 + ["StrategyLimit"] * 33
    assert await violations(ledger) == []


async def test_a_bot_that_trades_in_usdc_keeps_both_balances_apart(place: Place) -> None:
    """Notional comes out of USDC, fees and rent out of SOL."""
    ledger = await place.open()
    await ledger.adopt_bot(a_bot(quote_mint=USDC_MINT, wallet_quote=2_000_000, wallet_lamports=2 * SOL), risk=a_risk())
    me = await own(ledger)
    order = an_entry(reserve_quote=1_500_000, amount_in=1_500_000, reserve_lamports=SOL // 2)
    other = an_entry("other", mint="Other" + MINT[5:], reserve_quote=600_000, amount_in=600_000)
    record = await signed(ledger, await claimed(ledger, order, me), me)
    assert await refusal(ledger, other, me) == "InsufficientFunds"
    assert (
        await refusal(
            ledger,
            an_entry(9, mint="9" + MINT[1:], reserve_quote=1, amount_in=1),
            me,
            fee_reserve_lamports=3 * SOL // 2,
        )
        == "FeeReserve"
    )
    fill = a_fill(order, base=7, quote=-1_400_000, lamport_delta=-FEE)
    await step(ledger, record, E.FINALIZE, me, fill=fill)
    bot = await ledger.bot()
    assert (bot.wallet_quote, bot.wallet_lamports) == (600_000, 2 * SOL - FEE)
    assert (await ledger.risk()).realized == 0
    await claimed(ledger, other, me)
    assert await violations(ledger) == []


async def test_a_strategy_that_lost_too_much_from_its_peak_opens_nothing(ledger: Ledger) -> None:
    """Realized results only, and of this strategy only."""
    me = await own(ledger)
    for n, proceeds in enumerate((2 * SOL, SOL // 2)):
        order = an_entry(n)
        await bought(ledger, order, me, slot=200 + 10 * n)
        await sold(ledger, an_exit(order, f"exit {n}"), me, proceeds=proceeds, slot=205 + 10 * n)
    fall = SOL // 2 + 2 * FEE
    assert await refusal(ledger, an_entry("next"), me, strategy_max_drawdown_quote=fall) == "StrategyDrawdown"
    await claimed(ledger, an_entry("next"), me, strategy_max_drawdown_quote=fall + 1)
    await claimed(ledger, an_entry("other", strategy="mean-revert"), me, strategy_max_drawdown_quote=1)


async def test_failed_fees_stop_entries_until_midnight_utc(ledger: Ledger) -> None:
    """A daily budget; its day turns by itself."""
    me = await own(ledger)
    record = await signed(ledger, await claimed(ledger, an_entry(), me), me)
    fill = a_fill(record.intent, base=0, quote=0)
    await step(ledger, record, E.FAIL, me, fill=fill, reason="6001")
    assert (await ledger.risk()).fees_failed_today == FEE
    assert await refusal(ledger, an_entry(2), me, failed_fee_budget_lamports=FEE) == "FailedFeeBudget"
    await claimed(ledger, an_entry(3), me, failed_fee_budget_lamports=FEE + 1)
    tomorrow = {"failed_fee_budget_lamports": FEE, "today": "2023-11-15"}
    await claimed(ledger, an_entry(4, strategy="mean-revert"), me, **tomorrow)


async def test_a_claim_under_an_old_epoch_is_fenced_and_writes_nothing(ledger: Ledger) -> None:
    """The shard was taken meanwhile."""
    old = await own(ledger)
    new = await own(ledger, holder="successor")
    with pytest.raises(Fenced):
        await ledger.claim(an_entry(), ownership=old, limits=limits())
    assert await ledger.intent(an_entry().id) is None
    await claimed(ledger, an_entry(), new)
    assert await violations(ledger) == []


@pytest.mark.parametrize(
    "change", [{"amount_in": 0}, {"id": "short"}, {"reserve_quote": -1}, {"position_id": name_of(1)}]
)
async def test_an_impossible_order_is_refused_without_harming_its_neighbours(
    ledger: Ledger, change: dict[str, Any]
) -> None:
    """A bug in one order costs that order."""
    me = await own(ledger)
    bad = an_entry("bad", **change)
    results = await asyncio.gather(
        ledger.claim(an_entry(), ownership=me, limits=limits()),
        ledger.claim(bad, ownership=me, limits=limits()),
        return_exceptions=True,
    )
    assert isinstance(results[0], ClaimResult)
    assert isinstance(results[1], PermanentError)


async def test_a_value_that_no_column_takes_does_not_undo_its_neighbours(ledger: Ledger) -> None:
    """The database's own objection reaches the caller whose fault it is, and nobody else in the same commit."""
    me = await own(ledger)
    orders = [an_entry(n, mint=f"{n}{MINT[1:]}") for n in range(5)]
    orders[2] = an_entry(2, mint="2" + MINT[1:], max_slippage_bps=2**70)
    results = await asyncio.gather(
        *(ledger.claim(o, ownership=me, limits=limits()) for o in orders), return_exceptions=True
    )
    assert [type(r).__name__ for r in results] == ["ClaimResult"] * 2 + ["PermanentError"] + ["ClaimResult"] * 2
    assert len(await ledger.open_intents()) == 4
    assert await violations(ledger) == []


async def test_without_a_bot_nothing_can_be_claimed(place: Place) -> None:
    """An empty ledger has no limits to check by."""
    ledger = await place.open()
    with pytest.raises((LedgerUnavailable, Fenced)):
        await ledger.claim(an_entry(), ownership=Ownership(0, "me", 1), limits=limits())


@pytest.mark.parametrize("seed", range(6))
async def test_claims_of_one_batch_are_judged_as_if_they_came_one_by_one(
    ledger: Ledger, tmp_path: Path, seed: int
) -> None:
    """Whatever comes together: the same grants, refusals with the same numbers, rows and sums as claims that waited for each other."""
    chance = random.Random(seed)
    async with sqlite_place(tmp_path) as apart:
        single = await apart.open()
        await single.adopt_bot(a_bot(), risk=a_risk())
        owners = {}
        for each in (ledger, single):
            owners[each] = [await own(each, 0), await own(each, 1), replace(await own(each, 1), epoch=1)]
            owners[each][1] = replace(owners[each][1], epoch=2)
            for n in range(2):
                await bought(each, an_entry(f"held {n}", mint=f"held {n}", strategy=f"s{n}"), owners[each][0])
        # One that is fenced undoes what it was judged with, so that each comes alone: half of the seeds have none.
        by = [0, 0, 0, 1, 1, 2] if seed % 2 else [0, 0, 0, 1, 1]
        calls = []
        for n in range(60):
            held = an_entry(f"held {n % 2}", mint=f"held {n % 2}", strategy=f"s{n % 2}")
            label = f"new {n if chance.random() < 0.9 else n - 1}"
            order = an_entry(
                label,
                strategy=f"s{chance.randrange(3)}",
                mint=f"mint {chance.randrange(12)}",
                reserve_quote=chance.choice([SOL, 3 * SOL, 9 * SOL]),
            )
            if chance.random() < 0.15:
                order = an_exit(held, label, amount=chance.choice([1_000_000, 3_000_000]))
            wide = limits(
                max_strategy_quote=chance.choice([5 * SOL, 12 * SOL, 50 * SOL]), max_open_intents=chance.choice([6, 30])
            )
            calls.append((order, chance.choice(by), wide))
        expected = []
        for order, owner, wide in calls:
            expected.append(await told(single, order, ownership=owners[single][owner], limits=wide))
        results = await asyncio.gather(*(told(ledger, o, ownership=owners[ledger][w], limits=x) for o, w, x in calls))
        assert results == expected
        assert {r[0] for r in expected} >= {"CLAIMED", "REFUSED"} | ({"Fenced"} if seed % 2 else set())
        sums = "SELECT open_intents, reserved_quote, reserved_lamports FROM bots"
        exposures = "SELECT strategy, exposure FROM strategies ORDER BY strategy"
        for sql in (sums, exposures):
            rows = [[tuple(r) for r in await each.look(lambda q=sql: execute(q))] for each in (ledger, single)]  # type: ignore[attr-defined,misc]
            assert rows[0] == rows[1]
        assert await violations(ledger) == []


async def test_a_unique_index_refuses_the_twin_that_no_row_told_of(ledger: Ledger) -> None:
    """Alone or among others, whose own claims it does not touch: one entry of a strategy in a mint, whatever positions say."""
    assert isinstance(ledger, ProgramLedger)
    me = await own(ledger)
    await claimed(ledger, an_entry(), me)
    await ledger._write(lambda: execute("UPDATE positions SET state = 'CLOSED' WHERE id = $1", an_entry().id))
    alone = await ledger.claim(an_entry("alone"), ownership=me, limits=limits())
    orders = [an_entry(n, mint=f"{n}{MINT[1:]}") for n in range(3)] + [an_entry("among others")]
    among = await asyncio.gather(*(ledger.claim(o, ownership=me, limits=limits()) for o in orders))
    assert [r.outcome for r in among] == [ClaimOutcome.CLAIMED] * 3 + [ClaimOutcome.REFUSED]
    assert {(r.outcome, r.reason, r.record) for r in (alone, among[3])} == {(ClaimOutcome.REFUSED, "EntryOpen", None)}
    assert len(await ledger.open_intents()) == 4
    held = await ledger.look(lambda: execute("SELECT open_intents, reserved_quote FROM bots"))
    assert [tuple(row) for row in held] == [(4, 4 * SOL)]


async def test_words_of_every_kind_are_kept_as_they_are(ledger: Ledger) -> None:
    """Quotes, braces, backslashes and the like in one claim's words are neither lost nor another's."""
    me = await own(ledger)
    words = ['say "no"', "a\\b \\", "{x,y}", "", "NULL", "line\nbreak\t", "ü – 市", "it's; --", ","]
    orders = [an_entry(n, mint=f"{word}{n}", strategy=f"s {word}", reason=word) for n, word in enumerate(words)]
    orders[0] = replace(orders[0], price=1e-17)
    results = await asyncio.gather(*(ledger.claim(o, ownership=me, limits=limits()) for o in orders))
    assert [r.outcome for r in results] == [ClaimOutcome.CLAIMED] * len(words)
    for order in orders:
        record = await ledger.intent(order.id)
        assert record is not None
        assert record.intent == order


async def told(ledger: Ledger, order: OrderIntent, **how: Any) -> tuple[str, str, str]:
    """Claim; return what came of it in words."""
    try:
        result = await ledger.claim(order, **how)
    except Fenced:
        return "Fenced", "", ""
    return result.outcome.value, result.reason, result.message
