"""A ledger that goes back under a running driver: what was signed before must not be signed again."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from execution_cases import record as a_record
from mutants.stage import Stage, an_order, open_stage

from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.core.steps import went_back
from tradingbot_engine.domain.intents import Attempt, IntentRecord, IntentState
from tradingbot_engine.errors import LedgerBehindChain
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.port import Ledger, Move, Ownership
from tradingbot_engine.settings import LedgerSettings

S = IntentState


class Promoted:
    """A ledger whose primary is replaced by a copy of it from earlier, at a moment that the test names."""

    def __init__(self, primary: Ledger, standby: Ledger, *, after: str) -> None:
        self._now, self._standby, self._after = primary, standby, after

    async def move(self, move: Move, *, ownership: Ownership) -> IntentRecord | None:
        moved = await self._now.move(move, ownership=ownership)
        if moved is not None and move.event == self._after:
            self._now = self._standby
        return moved

    async def intent(self, intent_id: str) -> IntentRecord | None:
        return await self._now.intent(intent_id)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    opened = await open_stage(tmp_path)
    yield opened
    await opened.ledger.close()


async def copy_of(stage: Stage, directory: Path) -> Ledger:
    """Open a copy of the ledger as it is now: same holder, same epoch."""
    path = directory / "standby.sqlite"
    source, target = sqlite3.connect(directory / "ledger.sqlite"), sqlite3.connect(path)
    source.backup(target)
    source.close()
    target.close()
    ledger = open_ledger(LedgerSettings(sqlite_path=path), holder="stage", clock=stage.clock, paper=False)
    await ledger.open()
    return ledger


@pytest.mark.parametrize("after", ["SIGN", "SEND", "CONFIRM"])
async def test_a_ledger_that_went_back_under_a_running_driver_stops_it(
    stage: Stage, tmp_path: Path, after: str
) -> None:
    """The re-read says INTENT although attempt 1 was sent: signing again would land the trade twice."""
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    standby = await copy_of(stage, tmp_path)
    stage.driver._journal._ledger = Promoted(stage.ledger, standby, after=after)  # type: ignore[assignment]
    with pytest.raises(LedgerBehindChain, match="attempt"):
        await stage.drive(record, ownership)
    assert list(stage.chain.last_valid) == ["aaaaaaaa-1-1"], "a second attempt was signed"
    assert (await standby.intent(record.intent.id)) == record
    await standby.close()


async def test_a_ledger_from_before_the_claim_stops_the_driver(stage: Stage, tmp_path: Path) -> None:
    """The intent itself is unknown there: that is told as what it is."""
    ownership = await stage.take("only")
    standby = await copy_of(stage, tmp_path)
    record = await stage.claim(ownership, an_order())
    stage.driver._journal._ledger = Promoted(stage.ledger, standby, after="SIGN")  # type: ignore[assignment]
    with pytest.raises(LedgerBehindChain, match="the intent"):
        await stage.drive(record, ownership)
    await standby.close()


async def test_another_attempt_of_the_same_number_is_not_taken_for_ours(stage: Stage, tmp_path: Path) -> None:
    """State and attempt agree, the bytes do not: the promoted copy was signed anew there, so the compare lets it pass."""
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    standby = await copy_of(stage, tmp_path)
    quote = await stage.executor.quote(record.intent)
    theirs = await stage.executor.prepare(record, quote, epoch=ownership.epoch, now_ms=0)
    sign = Move(record.intent.id, S.INTENT, 0, IntentEvent.SIGN, at_ms=0, new_attempt=theirs)
    assert await standby.move(sign, ownership=ownership)
    stage.driver._journal._ledger = Promoted(stage.ledger, standby, after="SIGN")  # type: ignore[assignment]
    with pytest.raises(LedgerBehindChain, match="attempt aaaaaaaa-1-2"):
        await stage.drive(record, ownership)
    await standby.close()


def test_what_counts_as_gone_back() -> None:
    """Fewer attempts, other signatures, or INTENT after a signature; going on, or a fork, does not count."""

    def signed(n: int, letter: str = "s") -> Attempt:
        return Attempt("a" * 32, n, f"{letter}{n}", b"", "", 0, 0, 1, 0, 0)

    one = a_record(S.SIGNED, 1, attempts=(signed(1),))
    two = a_record(S.SIGNED, 2, attempts=(signed(1), signed(2)))
    assert went_back(two, one)
    assert went_back(one, a_record(S.SIGNED, 1, attempts=(signed(1, "t"),)))
    assert went_back(one, a_record(S.INTENT, 0))
    assert went_back(a_record(S.EXPIRED, 0), a_record(S.INTENT, 0))
    assert went_back(a_record(S.EXPIRED, 1), a_record(S.EXPIRED, 0))
    for now in (
        one,
        two,
        a_record(S.SUBMITTED, 1, attempts=(signed(1),)),
        a_record(S.ABANDONED, 2, attempts=two.attempts),
    ):
        assert went_back(one, now) is None
    assert went_back(a_record(S.INTENT, 0), one) is None
