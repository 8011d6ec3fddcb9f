"""What an engine says is open when it can't ask its ledger: never less than what the ledger may hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from execution_cases import intent, record

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.intents import IntentRecord
from tradingbot_engine.domain.units import IntentId
from tradingbot_engine.errors import FatalError, Fenced, LedgerUnavailable
from tradingbot_engine.ledger.port import Ownership
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.trades import Trades

OURS = Ownership(0, "me", 1)


class Driver:
    """Follows a trade for ever, or until it is told to fail."""

    def __init__(self) -> None:
        self.fails = asyncio.Event()

    async def drive(self, record: IntentRecord, ownership: Ownership, **_: Any) -> IntentRecord:
        await self.fails.wait()
        raise FatalError("the journal cannot be true")


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def trades(driver: Driver) -> Trades:
    unused: Any = None
    clock = ManualClock(now_ms=1_700_000_000_000)
    return Trades(
        driver_with=lambda _: driver,  # type: ignore[arg-type,return-value]
        book=unused,
        lifecycle=Lifecycle(clock=clock),
        tally=unused,
        emit=unused,
        clock=clock,
    )


def test_a_claim_under_way_may_be_carried_out(trades: Trades) -> None:
    with trades.claiming(IntentId("one")):
        with trades.claiming(IntentId("two")):
            assert (trades.perhaps_open, len(trades)) == (2, 0)
        assert trades.perhaps_open == 1
    assert trades.perhaps_open == 0


def test_a_claim_that_was_refused_is_not_open(trades: Trades) -> None:
    with pytest.raises(Fenced), trades.claiming(IntentId("one")):
        raise Fenced("another holder")
    assert trades.perhaps_open == 0


def test_a_claim_without_an_answer_may_be_open_until_the_ledger_was_looked_into_twice(trades: Trades) -> None:
    """A session that stood still carries out what had reached it: one look may come before that."""
    with pytest.raises(LedgerUnavailable), trades.claiming(IntentId("one")):
        raise LedgerUnavailable("no answer within 5 s")
    assert trades.perhaps_open == 1
    trades.adopt_strays([], {})
    assert trades.perhaps_open == 1
    trades.adopt_strays([], {})
    assert trades.perhaps_open == 0


async def test_a_trade_counts_once_however_it_is_known(trades: Trades) -> None:
    lost = record(intent=intent())
    with pytest.raises(LedgerUnavailable), trades.claiming(lost.intent.id):
        raise LedgerUnavailable("no answer within 5 s")
    for _ in range(2):
        trades.adopt_strays([lost], {lost.shard: OURS})
    assert (trades.perhaps_open, len(trades)) == (1, 1)
    await trades.cancel()


async def test_a_trade_whose_task_ended_by_a_fault_is_still_open(trades: Trades, driver: Driver) -> None:
    trades.follow(record(intent=intent()), OURS)
    driver.fails.set()
    await trades.wait_idle()
    await asyncio.sleep(0)
    assert (trades.perhaps_open, len(trades)) == (1, 0)
