"""How old the oldest trade in flight is, on a machine whose wall clock is set while it is followed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from execution_cases import intent, record

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.intents import IntentRecord
from tradingbot_engine.ledger.port import Ownership
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.trades import Trades

NOW_MS = 1_700_000_000_000


class Patience:
    """A driver whose trades never end."""

    async def drive(self, record: IntentRecord, ownership: Ownership, **_: Any) -> IntentRecord:
        await asyncio.Event().wait()
        return record


def trades_by(clock: ManualClock) -> Trades:
    unused: Any = None
    return Trades(
        driver_with=lambda _: Patience(),  # type: ignore[arg-type,return-value]
        book=unused,
        lifecycle=Lifecycle(clock=clock),
        tally=unused,
        emit=unused,
        clock=clock,
    )


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
async def test_a_clock_that_jumps_makes_no_trade_older_or_younger(jump_ms: int) -> None:
    """Else an hour's jump would call every trade stuck, or hide one that is."""
    clock = ManualClock(now_ms=NOW_MS)
    trades, ours = trades_by(clock), Ownership(0, "me", 1)
    assert trades.oldest_ms() == 0
    trades.follow(record(intent=intent(created_at_ms=NOW_MS)), ours)
    await clock.advance(3)
    clock.step_wall(jump_ms)
    assert trades.oldest_ms() == 3_000
    await clock.advance(1)
    assert trades.oldest_ms() == 4_000
    await trades.cancel()
    await asyncio.sleep(0)
    assert trades.oldest_ms() == 0


@pytest.mark.parametrize(("created_at_ms", "age_ms"), [(NOW_MS - 90_000, 90_000), (NOW_MS + 3_600_000, 0)])
async def test_of_what_an_earlier_process_began_the_wall_clock_is_all_there_is(created_at_ms: int, age_ms: int) -> None:
    """And no trade is from the future: the clock went back in between."""
    clock = ManualClock(now_ms=NOW_MS)
    trades = trades_by(clock)
    trades.follow(record(intent=intent(created_at_ms=created_at_ms)), Ownership(0, "me", 1), recovered=True)
    await clock.advance(2)
    clock.step_wall(3_600_000)
    assert trades.oldest_ms() == age_ms + 2_000
    await trades.cancel()
