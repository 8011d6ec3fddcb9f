"""After the ledger was away, nothing is signed until it was compared with the chain."""

from types import SimpleNamespace

import pytest

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.errors import LedgerBehindChain, LedgerUnavailable, TemporaryError
from tradingbot_engine.guard import LedgerGuard
from tradingbot_engine.lifecycle import Lifecycle, Phase


class Scripted:
    """A ledger that can be away and come back, and a chain that can contradict it."""

    def __init__(self) -> None:
        self.made, self.away, self.paper = 0, False, False
        self.compared: list[int] = []
        self.verdict: Exception | None = None

    def reconnections(self) -> int:
        return self.made

    async def bot(self) -> object:
        if self.away:
            raise LedgerUnavailable("the server is away")
        return SimpleNamespace(paper=self.paper)

    async def compare(self, bot: object) -> None:
        self.compared.append(self.made)
        if self.verdict is not None:
            raise self.verdict


def guarded() -> tuple[LedgerGuard, Scripted, Lifecycle]:
    ledger, lifecycle = Scripted(), Lifecycle(clock=ManualClock())
    lifecycle.enter(Phase.READY)
    return LedgerGuard(ledger=ledger, lifecycle=lifecycle, compare=ledger.compare), ledger, lifecycle  # type: ignore[arg-type]


async def test_a_ledger_that_was_never_away_is_not_compared_again():
    guard, ledger, lifecycle = guarded()
    await guard.check()
    assert (ledger.compared, guard.hold(), lifecycle.may_trade) == ([], False, True)


async def test_a_connection_made_anew_holds_signatures_until_the_chain_agrees():
    """A promoted standby may lack the newest commits, although nobody saw an error."""
    guard, ledger, lifecycle = guarded()
    ledger.made = 1
    assert guard.hold()
    ledger.verdict = TemporaryError("too few nodes")
    with pytest.raises(TemporaryError):
        await guard.check()
    assert (guard.hold(), lifecycle.may_trade) == (True, False)
    ledger.verdict = None
    await guard.check()
    assert (guard.hold(), lifecycle.may_trade, ledger.compared) == (False, True, [1, 1])


async def test_an_outage_that_a_trade_met_is_told_and_compared_before_going_on():
    guard, ledger, lifecycle = guarded()
    guard.away("the disk is full")
    assert (guard.hold(), lifecycle.may_trade) == (True, False)
    ledger.away = True
    with pytest.raises(LedgerUnavailable):
        await guard.check()
    assert guard.hold()
    ledger.away = False
    await guard.check()
    assert (guard.hold(), lifecycle.has("LedgerUnavailable"), ledger.compared) == (False, False, [0])


async def test_a_ledger_behind_the_chain_keeps_holding():
    guard, ledger, lifecycle = guarded()
    ledger.made, ledger.verdict = 1, LedgerBehindChain("an older copy")
    with pytest.raises(LedgerBehindChain):
        await guard.check()
    assert (guard.hold(), lifecycle.may_trade) == (True, False)


async def test_a_second_reconnection_during_the_comparison_is_compared_too():
    guard, ledger, _ = guarded()
    ledger.made = 1

    async def again(bot: object) -> None:
        ledger.made = 2

    guard._compare = again
    await guard.check()
    assert guard.hold()


async def test_a_paper_bot_has_nothing_on_the_chain_to_compare():
    guard, ledger, _ = guarded()
    ledger.made, ledger.paper = 1, True
    await guard.check()
    assert (ledger.compared, guard.hold()) == ([], False)
