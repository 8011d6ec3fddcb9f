"""What was open when the last engine stopped, read before the first signal."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.errors import LedgerUnavailable
from tradingbot_engine.leftovers import Leftovers
from tradingbot_engine.lifecycle import Lifecycle


async def test_a_ledger_that_is_away_while_open_trades_are_read_is_waited_for() -> None:
    """The process would end else, and where restarts are held back, stop losses with it for minutes."""
    clock = ManualClock()
    answers: list[Any] = [LedgerUnavailable("failing over"), LedgerUnavailable("failing over"), ["a record"]]
    told: list[str] = []

    async def open_intents() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ledger: Any = SimpleNamespace(open_intents=open_intents)
    guard: Any = SimpleNamespace(away=told.append)
    unused: Any = None
    leftovers = Leftovers(
        ledger=ledger, trades=unused, owned={}, guard=guard, lifecycle=Lifecycle(clock=clock), clock=clock
    )
    reading = asyncio.create_task(leftovers.read())
    async with asyncio.timeout(5):
        while not reading.done():
            await clock.advance(1.0)
            await asyncio.sleep(0)
    assert await reading == ["a record"]
    assert told == ["failing over"] * 2, "nothing is signed until ledger and chain were compared"
