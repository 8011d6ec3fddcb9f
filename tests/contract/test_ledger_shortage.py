"""Tokens sold without having been bought, and bought without being there any more: positions of one mint share one account."""

from __future__ import annotations

from typing import Any

import pytest
from support.ledgers import (
    FEE,
    NOW_MS,
    SOL,
    a_fill,
    an_entry,
    an_exit,
    bought,
    claimed,
    own,
    signed,
    sold,
    step,
    step_of,
)

from tradingbot_engine.core.intents import IntentEvent as E
from tradingbot_engine.domain.intents import IntentRecord, OrderIntent
from tradingbot_engine.domain.intents import IntentState as S
from tradingbot_engine.domain.portfolio import Position, PositionState
from tradingbot_engine.errors import PermanentError
from tradingbot_engine.ledger import moving
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import Holding, Ledger, Ownership, Shortage
from tradingbot_engine.ledger.program import Program

pytest_plugins = ["support.ledger_fixtures"]
FIRST, AGAIN = 19_188_233, 19_169_977
"""Tokens of one purchase: before a fork, and as it landed again."""


async def position(ledger: Ledger, entry: OrderIntent) -> Position:
    (found,) = [p for p in await ledger.positions(closed=True) if p.id == entry.id]
    return found


async def confirmed(ledger: Ledger, record: IntentRecord, me: Ownership, **fill: Any) -> IntentRecord:
    shown = a_fill(record.intent, record.attempt, finalized=False, **fill)
    return await step(ledger, record, E.CONFIRM, me, fill=shown, confirmed_slot=shown.slot)


async def finalized(ledger: Ledger, record: IntentRecord, me: Ownership, **fill: Any) -> IntentRecord:
    return await step(ledger, record, E.FINALIZE, me, fill=a_fill(record.intent, record.attempt, **fill))


async def oversell(ledger: Ledger, me: Ownership, *, proceeds: int, label: str = "oversold") -> IntentRecord:
    """Buy, sell while the purchase is only confirmed, lose both to a fork, and land both again: the purchase for fewer tokens."""
    entry = an_entry(label, strategy=label)
    buying = await signed(ledger, await claimed(ledger, entry, me), me)
    buying = await confirmed(ledger, buying, me, base=FIRST, quote=-SOL)
    selling = await signed(ledger, await claimed(ledger, an_exit(entry, f"{label} exit", amount=FIRST), me), me)
    selling = await confirmed(ledger, selling, me, base=-FIRST, quote=proceeds, slot=202)
    assert await violations(ledger) == []
    buying = await step(ledger, buying, E.FORK, me)
    selling = await step(ledger, selling, E.FORK, me)
    buying = await confirmed(ledger, buying, me, base=AGAIN, quote=-SOL, slot=210)
    selling = await confirmed(ledger, selling, me, base=-FIRST, quote=proceeds, slot=211)
    assert await violations(ledger) == []
    await finalized(ledger, buying, me, base=AGAIN, quote=-SOL, slot=210)
    return await finalized(ledger, selling, me, base=-FIRST, quote=proceeds, slot=211)


async def test_what_one_position_sold_of_another_one_s_tokens_is_the_other_one_s_sale(ledger: Ledger) -> None:
    """The tokens go, and their share of the proceeds comes; strategies, bot and limits agree, and the other can be sold out."""
    me = await own(ledger)
    other = an_entry("other", strategy="other")
    await bought(ledger, other, me, tokens=20_000_000, cost=SOL)
    proceeds, excess = 2 * SOL, FIRST - AGAIN
    done = await oversell(ledger, me, proceeds=proceeds)
    share = proceeds * excess // FIRST
    closed, held = await position(ledger, an_entry("oversold")), await position(ledger, other)
    assert (closed.state, closed.bought, closed.sold) == (PositionState.CLOSED, AGAIN, AGAIN)
    assert closed.proceeds == proceeds - share
    assert (held.state, held.held, held.proceeds) == (PositionState.OPEN, 20_000_000 - excess, share)
    assert done.reason.startswith(
        f"Oversold: {excess} base units more than position {closed.id} bought; {excess} of them"
    )
    assert await ledger.intent(done.intent.id) == done
    gained = proceeds - SOL - SOL * excess // 20_000_000 - 3 * FEE
    assert (await ledger.risk()).realized == gained
    assert await violations(ledger) == []

    await sold(ledger, an_exit(other, "other exit", amount=held.held), me, proceeds=SOL)
    assert (await ledger.risk()).realized == proceeds + SOL - 2 * SOL - 4 * FEE
    assert (await position(ledger, other)).state is PositionState.CLOSED
    assert await violations(ledger) == []


async def test_the_excess_goes_to_the_oldest_holders_first_and_whole(ledger: Ledger) -> None:
    """One that held less than the excess is closed by it; the rest, tokens and money, is the next one's."""
    me = await own(ledger)
    small, large = an_entry("small", strategy="a", signal_at_ms=NOW_MS - 90), an_entry("large", strategy="b")
    await bought(ledger, small, me, tokens=10_000, cost=SOL)
    await bought(ledger, large, me, tokens=50_000, cost=SOL)
    await oversell(ledger, me, proceeds=3 * SOL)
    share = 3 * SOL * (FIRST - AGAIN) // FIRST
    first, second, closed = [await position(ledger, e) for e in (small, large, an_entry("oversold"))]
    assert (first.state, first.sold) == (PositionState.CLOSED, 10_000)
    assert (second.state, second.sold) == (PositionState.OPEN, FIRST - AGAIN - 10_000)
    assert first.proceeds == share * 10_000 // (FIRST - AGAIN)
    assert first.proceeds + second.proceeds == share == 3 * SOL - closed.proceeds
    assert await violations(ledger) == []


async def test_without_another_position_the_excess_stays_and_is_said(ledger: Ledger) -> None:
    """The tokens were nobody's that this ledger knows: a gain; a purchase that is final later does not pay for it twice."""
    me = await own(ledger)
    done = await oversell(ledger, me, proceeds=2 * SOL)
    assert done.reason.endswith("no other position holds any")
    alone = await position(ledger, an_entry("oversold"))
    assert (alone.state, alone.sold - alone.bought, alone.proceeds) == (PositionState.CLOSED, FIRST - AGAIN, 2 * SOL)
    assert await violations(ledger) == []


async def test_an_entry_that_is_not_final_pays_once_it_is(ledger: Ledger) -> None:
    """Until then it may not have bought anything; the transaction that makes it final settles what is left open."""
    me = await own(ledger)
    late = an_entry("late", strategy="late")
    buying = await signed(ledger, await claimed(ledger, late, me), me)
    buying = await confirmed(ledger, buying, me, base=20_000_000, quote=-SOL)
    await oversell(ledger, me, proceeds=2 * SOL)
    assert (await position(ledger, late)).sold == 0
    assert await violations(ledger) == []
    done = await finalized(ledger, buying, me, base=20_000_000, quote=-SOL)
    assert (await position(ledger, late)).sold == FIRST - AGAIN
    assert done.reason.startswith("Oversold: ")
    assert await violations(ledger) == []


async def test_a_purchase_that_a_fork_took_for_good_leaves_its_whole_sale_to_the_others(ledger: Ledger) -> None:
    """It bought nothing and sold another one's tokens: all the money is the other one's."""
    me = await own(ledger)
    other, gone = an_entry("other", strategy="other"), an_entry("gone", strategy="gone")
    await bought(ledger, other, me, tokens=20_000_000, cost=SOL)
    buying = await signed(ledger, await claimed(ledger, gone, me), me)
    buying = await confirmed(ledger, buying, me, base=FIRST, quote=-SOL)
    selling = await signed(ledger, await claimed(ledger, an_exit(gone, "gone exit", amount=FIRST), me), me)
    buying = await step(ledger, buying, E.FORK, me)
    assert await ledger.holding(gone.id) == Holding(0, entry_open=True, troubled=False, newest_slot=0)
    await finalized(ledger, selling, me, base=-FIRST, quote=2 * SOL, slot=230)
    buying = await step(ledger, buying, E.EXPIRE, me)
    ended = await step(ledger, buying, E.ABANDON, me, reason="TooOld")
    assert ended.reason.startswith("TooOld; Oversold: ")
    assert ((await position(ledger, gone)).sold, (await position(ledger, gone)).proceeds) == (0, 0)
    held = await position(ledger, other)
    assert (held.held, held.proceeds) == (20_000_000 - FIRST, 2 * SOL)
    assert await violations(ledger) == []


# --- tokens that are not there
async def test_tokens_that_are_gone_close_the_position_at_a_loss(ledger: Ledger) -> None:
    """A finalized reading shows it: the cost is lost, its lane is free, limits and strategy know."""
    me = await own(ledger)
    entry = an_entry()
    await bought(ledger, entry, me, tokens=2_000_000, cost=SOL)
    assert await ledger.holding(entry.id) == Holding(2_000_000, entry_open=False, troubled=False, newest_slot=200)
    exit_ = await claimed(ledger, an_exit(entry), me)
    ended = await step(ledger, exit_, E.ABANDON, me, reason="ShortOfTokens: all gone", short=Shortage(0, 200))
    assert (ended.state, ended.reason) == (S.ABANDONED, "ShortOfTokens: all gone")
    lost = await position(ledger, entry)
    assert (lost.state, lost.held, lost.proceeds) == (PositionState.CLOSED, 0, 0)
    assert (await ledger.risk()).realized == -SOL - FEE
    assert await violations(ledger) == []
    await claimed(ledger, an_entry("next"), me)


async def test_after_a_partial_sale_the_rest_is_written_off(ledger: Ledger) -> None:
    """What was there was sold; the rest is the loss."""
    me = await own(ledger)
    entry = an_entry()
    await bought(ledger, entry, me, tokens=2_000_000, cost=SOL)
    selling = await signed(ledger, await claimed(ledger, an_exit(entry), me), me)
    selling = await confirmed(ledger, selling, me, base=-500_000, quote=SOL // 2, slot=300)
    await finalized(ledger, selling, me, base=-500_000, quote=SOL // 2, slot=300)
    assert await ledger.holding(entry.id) == Holding(1_500_000, entry_open=False, troubled=True, newest_slot=300)
    exit_ = await claimed(ledger, an_exit(entry, "rest", amount=1_500_000), me)
    await step(ledger, exit_, E.ABANDON, me, reason="ShortOfTokens: gone", short=Shortage(3, 300))
    lost = await position(ledger, entry)
    assert (lost.state, lost.held, lost.proceeds) == (PositionState.CLOSED, 0, SOL // 2)
    assert (await ledger.risk()).realized == SOL // 2 - SOL - 2 * FEE
    assert await violations(ledger) == []


@pytest.mark.parametrize("why", ["older than a fill", "an attempt is alive", "the entry is not final"])
async def test_nothing_is_written_off_while_the_tokens_may_be_somewhere(ledger: Ledger, why: str) -> None:
    """The exit is given up, the position stays; it will be asked for again."""
    me = await own(ledger)
    entry, other = an_entry(), an_entry("other", strategy="other")
    slot = 250
    if why == "the entry is not final":
        buying = await signed(ledger, await claimed(ledger, entry, me), me)
        await confirmed(ledger, buying, me, base=2_000_000, quote=-SOL)
    else:
        await bought(ledger, entry, me)
    if why == "older than a fill":
        slot = 199
    if why == "an attempt is alive":
        await signed(ledger, await claimed(ledger, other, me), me)
    exit_ = await claimed(ledger, an_exit(entry), me)
    ended = await step(ledger, exit_, E.ABANDON, me, reason="ShortOfTokens: gone", short=Shortage(0, slot))
    assert ended.state is S.ABANDONED
    left = await position(ledger, entry)
    assert (left.state, left.held, left.exit_open) == (PositionState.OPEN, 2_000_000, False)
    assert await violations(ledger) == []


async def test_only_an_exit_that_is_given_up_can_find_tokens_gone(ledger: Ledger) -> None:
    """Any other move that carries a shortage is a bug, and writes nothing."""
    me = await own(ledger)
    record = await signed(ledger, await claimed(ledger, an_entry(), me), me)
    with pytest.raises(PermanentError, match="gone"):
        await ledger.move(step_of(record, E.SEND, short=Shortage(0, 1)), ownership=me)
    entry = await claimed(ledger, an_entry("entry too", strategy="b"), me)
    await step(ledger, entry, E.ABANDON, me, reason="TooOld", short=Shortage(0, 900))
    assert (await position(ledger, entry.intent)).state is PositionState.CLOSED
    assert await violations(ledger) == []


async def test_the_invariants_see_tokens_that_two_positions_count_and_the_next_end_of_a_trade_mends_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So was every ledger from before oversold tokens were handed over."""
    me = await own(ledger)
    other, next_one = an_entry("other", strategy="other"), an_entry("next", strategy="next")
    await bought(ledger, other, me, tokens=20_000_000, cost=SOL)
    with monkeypatch.context() as before:
        before.setattr(moving, "hand_over", lambda _: iter_nothing())
        await oversell(ledger, me, proceeds=2 * SOL)
    (found,) = await violations(ledger)
    assert "which still counts them" in found
    await bought(ledger, next_one, me)
    assert (await position(ledger, other)).sold == FIRST - AGAIN
    assert await violations(ledger) == []


def iter_nothing() -> Program[tuple[list[str], str]]:
    """Hand nothing over."""
    yield from ()
    return [], ""
