"""What guards need of a ledger, alike on both databases: an earlier attempt that turns out executed, and rent on its way back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.ledgers import (
    FEE,
    NOW_MS,
    SOL,
    a_fill,
    an_entry,
    bought,
    claimed,
    own,
    signed,
    step,
    step_of,
)

from tradingbot_engine.core.intents import IntentEvent as E
from tradingbot_engine.domain.intents import IntentState as S
from tradingbot_engine.errors import Fenced, PermanentError
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import GuardRent, Ledger, Reclaim, ReclaimEnd

pytest_plugins = ["support.ledger_fixtures"]
RENT = 890_880


def a_reclaim(*intents: str, signature: str = "reclaim-1") -> Reclaim:
    return Reclaim(signature, b"\x00wire", 500, 650, intents, NOW_MS)


@pytest.mark.parametrize("landed", [True, False], ids=["refused by the guard", "never landed"])
async def test_an_earlier_attempt_that_was_executed_ends_the_intent_with_its_own_fill(
    ledger: Ledger, landed: bool
) -> None:
    """The fill is the earlier attempt's; the current one failed for a fee, or expired. All money is booked, once."""
    ownership, order = await own(ledger), an_entry()
    record = await signed(ledger, await claimed(ledger, order, ownership), ownership)
    record = await step(ledger, record, E.EXPIRE, ownership)
    record = await signed(ledger, record, ownership)
    before = await ledger.bot()
    fill = a_fill(order, 1, base=2_000_000, quote=-SOL)
    refused = a_fill(order, 2, base=0, quote=0, slot=210) if landed else None
    done = await step(ledger, record, E.FINALIZE, ownership, fill=fill, failed=refused)
    assert (done.state, done.attempt) == (S.DONE, 2)
    (row,) = await ledger.fills()
    assert row.fill == fill
    (position,) = await ledger.positions()
    assert (position.bought, position.cost) == (2_000_000, SOL)
    fees = FEE if landed else 0
    assert (await ledger.bot()).wallet_lamports == before.wallet_lamports - SOL - FEE - fees
    assert (await ledger.risk()).fees_failed_today == fees
    assert await violations(ledger) == []


async def test_a_fill_of_another_attempt_is_refused_wherever_it_means_nothing(ledger: Ledger) -> None:
    """Only the end of an intent may be an earlier attempt's, and a failure beside it only the current one's."""
    ownership, order = await own(ledger), an_entry()
    record = await signed(ledger, await claimed(ledger, order, ownership), ownership)
    record = await step(ledger, record, E.EXPIRE, ownership)
    record = await signed(ledger, record, ownership)
    first, second, third = (a_fill(order, n, base=2_000_000, quote=-SOL) for n in (1, 2, 3))
    nothing = a_fill(order, 2, base=0, quote=0)
    for event, carried in (
        (E.CONFIRM, {"fill": replace(first, finalized=False), "confirmed_slot": 5}),
        (E.FAIL, {"fill": a_fill(order, 1, base=0, quote=0)}),
        (E.FINALIZE, {"fill": third}),
        (E.FINALIZE, {"fill": second, "failed": nothing}),
        (E.FINALIZE, {"fill": first, "failed": second}),
        (E.FINALIZE, {"fill": first, "failed": replace(nothing, finalized=False)}),
        (E.EXPIRE, {"failed": nothing}),
    ):
        with pytest.raises(PermanentError):
            await ledger.move(step_of(record, event, **carried), ownership=ownership)
    assert await violations(ledger) == []


async def test_a_guard_is_due_once_no_attempt_can_land_and_until_a_reclaim_names_it(ledger: Ledger) -> None:
    """Strictly past the last valid height of every attempt, and only for trades that succeeded."""
    ownership, order = await own(ledger), an_entry()
    record = await signed(ledger, await claimed(ledger, order, ownership), ownership)
    record = await step(ledger, record, E.EXPIRE, ownership)
    record = await signed(ledger, record, ownership)  # last valid heights 251 and 252
    await step(ledger, record, E.FINALIZE, ownership, fill=a_fill(order, 2, base=2_000_000, quote=-SOL))

    async def due(height: int, since: int = 0) -> list[str]:
        found, _ = await ledger.guards_due(ownership=ownership, height=height, since=since, limit=10)
        return [one.intent_id for one in found]

    assert (await due(252), await due(253), await due(253, since=201)) == ([], [order.id], [])
    await ledger.reclaim(a_reclaim(order.id), ownership=ownership)
    assert await due(253) == []
    assert await ledger.open_reclaims() == [a_reclaim(order.id)]
    assert await ledger.reclaim_ended("reclaim-1", None, ownership=ownership)
    assert (await due(253), await ledger.open_reclaims()) == ([order.id], [])
    assert await ledger.signatures_known(["reclaim-1", "unknown"]) == {"reclaim-1"}, "it may have landed"
    await ledger.guards_gone([order.id], ownership=ownership)
    assert await due(253) == []


@pytest.mark.parametrize("failed", [False, True])
async def test_a_reclaim_is_booked_once_and_is_neither_a_gain_nor_a_deposit(ledger: Ledger, failed: bool) -> None:
    """While it is under way the wallet is not judged; afterwards its balance is what the ledger expects."""
    ownership, order = await own(ledger), an_entry()
    await bought(ledger, order, ownership)
    bot, risk = await ledger.bot(), await ledger.risk()
    await ledger.reclaim(a_reclaim(order.id), ownership=ownership)
    held = bot.wallet_lamports
    assert await ledger.observe_wallet(lamports=held, quote=held, slot=600) is None
    delta = -5000 if failed else RENT - 5000
    end = ReclaimEnd(slot=600, lamport_delta=delta, fee_lamports=5000, failed=failed)
    assert await ledger.reclaim_ended("reclaim-1", end, ownership=ownership)
    assert not await ledger.reclaim_ended("reclaim-1", end, ownership=ownership)
    assert await ledger.observe_wallet(lamports=held, quote=held, slot=599) is None, "older than the reclaim"
    assert await ledger.observe_wallet(lamports=held + delta, quote=held + delta, slot=600) == 0
    after = await ledger.risk()
    assert (after.capital, after.realized) == (risk.capital, risk.realized - 5000)
    assert await violations(ledger) == []


async def test_what_failed_reclaims_cost_is_told_by_the_day_they_were_signed(ledger: Ledger) -> None:
    """Only those that failed, and guards that no reclaim names: expired ones cost nothing, successful ones bring more."""
    ownership, order = await own(ledger), an_entry()
    await bought(ledger, order, ownership)
    ends = [
        ("failed", ReclaimEnd(slot=600, lamport_delta=-5000, fee_lamports=5000, failed=True)),
        ("expired", None),
        ("failed-too", ReclaimEnd(slot=601, lamport_delta=-7000, fee_lamports=7000, failed=True)),
        ("under way", "stays"),
    ]
    assert await ledger.guard_rent(since=0, since_ms=0) == GuardRent(1, 0, 0)
    for signature, end in ends:
        await ledger.reclaim(a_reclaim(order.id, signature=signature), ownership=ownership)
        assert await ledger.guard_rent(since=0, since_ms=NOW_MS + 1) == GuardRent(0, 1, 0)
        if not isinstance(end, str):
            assert await ledger.reclaim_ended(signature, end, ownership=ownership)
    assert await ledger.guard_rent(since=0, since_ms=NOW_MS) == GuardRent(0, 1, 12_000)
    done = ReclaimEnd(slot=602, lamport_delta=RENT - 5000, fee_lamports=5000, failed=False)
    assert await ledger.reclaim_ended("under way", done, ownership=ownership)
    assert await ledger.guard_rent(since=0, since_ms=NOW_MS) == GuardRent(0, 0, 12_000)


async def test_an_old_owner_journals_and_books_no_reclaim(ledger: Ledger) -> None:
    """The epoch fences this as it fences trades."""
    old = await own(ledger)
    await own(ledger, holder="successor")
    with pytest.raises(Fenced):
        await ledger.reclaim(a_reclaim("a" * 32), ownership=old)
    with pytest.raises(Fenced):
        await ledger.reclaim_ended("reclaim-1", None, ownership=old)
