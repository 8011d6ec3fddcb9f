"""The audit's own SQL against ledgers that the engine wrote, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3

import asyncpg
import pytest
from support.ledgers import (
    BASE_FEE,
    FEE,
    PRIORITY_FEE,
    a_bot,
    a_fill,
    an_attempt,
    an_entry,
    bought,
    claimed,
    own,
    signed,
    step,
)
from support.places import Place

from tradingbot_engine.audit.books import ClaimedAttempt, ClaimedFill, ClaimedIntent, LedgerUnreadable, read_books
from tradingbot_engine.core.intents import IntentEvent

pytest_plugins = ["support.ledger_fixtures"]


def location(place: Place) -> str:
    return str(place.path) if place.kind == "sqlite" else place.url


async def test_what_the_engine_wrote_is_what_the_audit_reads(ledger, place):
    """A trade that succeeded, one that failed and one that is open: every field that the comparison uses."""
    me = await own(ledger)
    done, failed, opened = an_entry("done"), an_entry("failed", mint="other"), an_entry("open", mint="third")
    await bought(ledger, done, me, tokens=2_000_000, cost=1_000_000_000)
    record = await signed(ledger, await claimed(ledger, failed, me), me)
    paid = a_fill(failed, base=0, quote=0, slot=201)
    await step(ledger, record, IntentEvent.FAIL, me, fill=paid)
    await signed(ledger, await claimed(ledger, opened, me), me)

    books = await read_books(location(place))
    bot = a_bot()
    assert (books.bot, books.wallet, books.genesis_hash, books.quote_mint, books.paper) == (
        bot.name,
        bot.wallet,
        bot.genesis_hash,
        bot.quote_mint,
        False,
    )
    assert books.intents == {
        i.id: ClaimedIntent(i.id, state, "BUY", i.mint, i.strategy, 1)
        for i, state in ((done, "DONE"), (failed, "FAILED"), (opened, "SIGNED"))
    }
    signatures = {i.id: an_attempt(i).signature for i in (done, failed, opened)}
    assert books.attempts == {
        signatures[done.id]: ClaimedAttempt(
            done.id, 1, signatures[done.id], "DONE", 101, 200, -1_000_000_000 - FEE, FEE
        ),
        signatures[failed.id]: ClaimedAttempt(failed.id, 1, signatures[failed.id], "FAILED", 101, 201, -FEE, FEE),
        signatures[opened.id]: ClaimedAttempt(opened.id, 1, signatures[opened.id], "SIGNED", 101, None, None, None),
    }
    assert books.fills == {
        signatures[done.id]: ClaimedFill(
            done.id,
            1,
            signatures[done.id],
            200,
            2_000_000,
            -1_000_000_000,
            -1_000_000_000 - FEE,
            BASE_FEE,
            PRIORITY_FEE,
            0,
            0,
            finalized=True,
            paper=False,
        )
    }
    assert books.oldest_slot == 101


async def test_a_ledger_is_read_while_an_engine_writes_it_and_is_not_changed(ledger, place):
    """The audit has no right to write, and waits for nobody."""
    if place.kind == "sqlite":
        other = sqlite3.connect(place.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE bots SET name = 'changed'")
        try:
            assert (await read_books(place.path)).bot == a_bot().name
        finally:
            other.close()
        return
    connection = await asyncpg.connect(place.url)
    try:
        async with connection.transaction():
            await connection.execute("UPDATE bots SET name = 'changed'")
            assert (await read_books(place.url)).bot == a_bot().name
    finally:
        await connection.close()


async def test_no_ledger_is_said_without_showing_the_url(place):
    """Passwords stand in URLs."""
    url = "postgresql://somebody:hidden@127.0.0.1:9/nothing"
    with pytest.raises(LedgerUnreadable) as caught:
        await read_books(url)
    assert "hidden" not in str(caught.value)
    with pytest.raises(LedgerUnreadable, match=r"there is no ledger|nothing to audit"):
        await read_books(location(place))
