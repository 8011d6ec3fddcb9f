"""How far closing out has come: over a real ledger, from the wish to nothing held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from support.ledgers import MINT, a_bot, a_risk, an_entry, an_exit, bought, claimed, own, sold, step
from support.places import sqlite_place

from tradingbot_engine.book import Book
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.closing import ClosingOut
from tradingbot_engine.core.intents import IntentEvent as E
from tradingbot_engine.ledger.port import Ledger, Ownership
from tradingbot_engine.lifecycle import CLOSING_OUT, Lifecycle
from tradingbot_engine.metrics import Metrics
from tradingbot_engine.tally import Tally

SOL = 10**9


class Scene:
    """A ledger with two positions and one entry in flight, a book on it, and what watches over its closing out."""

    def __init__(self, ledger: Ledger, me: Ownership, book: Book) -> None:
        self.ledger, self.me, self.book = ledger, me, book
        self.lifecycle = Lifecycle(clock=ManualClock())
        self.tally = Tally(metrics=Metrics(), clock=ManualClock())
        self.closing = ClosingOut(
            ledger=ledger,
            book=book,
            lifecycle=self.lifecycle,
            symbols={MINT: "BONK"},
            trouble_of=self.tally.exit_trouble,
        )

    @property
    def told(self) -> str:
        return next((r.message for r in self.lifecycle.reasons if r.type == CLOSING_OUT), "")

    async def wish(self) -> None:
        await self.ledger.close_out(by="a deletion")
        await self.book.refresh_bot()

    def left(self) -> tuple[object, object, object]:
        document = self.closing.document()
        assert document is not None
        orjson.dumps(document)
        return document["positionsLeft"], document["openIntents"], document["done"]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with sqlite_place(tmp_path) as place:
        ledger = await place.open()
        bot = await ledger.adopt_bot(a_bot(), risk=a_risk())
        me = await own(ledger)
        book = Book(ledger=ledger, bot=bot, risk=a_risk(), emit=lambda _: None, event_time_ms=lambda: 0)
        yield Scene(ledger, me, book)


async def test_it_is_done_when_nothing_is_held_and_no_trade_is_open(scene: Scene) -> None:
    """A purchase in flight counts: it may still land, and is to be sold then."""
    first = an_entry("first")
    await bought(scene.ledger, first, scene.me)
    flying = await claimed(scene.ledger, an_entry("flying", mint="Mint2" + MINT[5:]), scene.me)
    await scene.closing.look()
    assert scene.closing.document() is None
    assert not scene.closing.done.is_set()

    await scene.wish()
    assert scene.left() == (None, None, False), "nobody looked yet: not done, and no number made up"
    await scene.closing.look()
    assert scene.left() == (2, 1, False)
    assert scene.told == "closing out for a deletion: 2 positions left, 1 trades open"

    await sold(scene.ledger, an_exit(first), scene.me, proceeds=SOL)
    await scene.closing.look()
    assert scene.left() == (1, 1, False)
    await step(scene.ledger, flying, E.ABANDON, scene.me, reason="ClosingOut")
    await scene.closing.look()
    assert scene.left() == (0, 0, True)
    assert scene.closing.done.is_set()
    assert "nothing is held any more" in scene.told

    await scene.ledger.reopen()
    await scene.book.refresh_bot()
    await scene.closing.look()
    assert scene.closing.document() is None
    assert not scene.closing.done.is_set()


async def test_what_holds_a_sale_up_is_told_until_something_is_sold(scene: Scene) -> None:
    """The reason of the last exit that came to nothing, by token and strategy; that another one is under way says nothing."""
    first = an_entry("first")
    await bought(scene.ledger, first, scene.me)
    await scene.wish()
    record = await claimed(scene.ledger, an_exit(first, amount=1_000_000), scene.me)
    scene.tally.moved(await step(scene.ledger, record, E.ABANDON, scene.me, reason="Untried: TooOld: no route"))
    await scene.closing.look()
    assert scene.told.endswith("BONK of momentum: ABANDONED: Untried: TooOld: no route")
    scene.tally.refused("momentum", MINT, "ExitOpen", "under way", position_id=first.id)
    assert "no route" in scene.tally.exit_trouble(first.id)
    scene.tally.refused("momentum", MINT, "NotTrading", "LedgerUnavailable", position_id=first.id)
    await scene.closing.look()
    document = scene.closing.document()
    assert document is not None
    assert [(p["symbol"], p["trouble"]) for p in document["positions"]] == [("BONK", "NotTrading: LedgerUnavailable")]
    done = await sold(scene.ledger, an_exit(first, "second"), scene.me, proceeds=SOL)
    scene.tally.moved(done)
    assert scene.tally.exit_trouble(first.id) == ""


async def test_an_engine_that_cannot_go_on_says_so(scene: Scene) -> None:
    """Whoever waits for it has to start another one."""
    await bought(scene.ledger, an_entry("first"), scene.me)
    await scene.wish()
    await scene.closing.look()
    document = scene.closing.document()
    assert document is not None
    assert document["stuck"] is None
    scene.lifecycle.tell("LedgerBehindChain", "an old copy", fatal=True)
    document = scene.closing.document()
    assert document is not None
    assert document["stuck"] == "LedgerBehindChain: an old copy"
    assert (document["by"], document["done"]) == ("a deletion", False)
