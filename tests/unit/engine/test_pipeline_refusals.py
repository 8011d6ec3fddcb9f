"""What is said of a signal that becomes no trade."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from tradingbot_engine.bus.core_events import CoreEvents
from tradingbot_engine.bus.seen import SeenSignals
from tradingbot_engine.bus.signals import SignalQueue
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.core.risk.approve import Refused
from tradingbot_engine.core.state import CoreState
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.ledger.port import Ownership
from tradingbot_engine.lifecycle import Lifecycle, Phase
from tradingbot_engine.metrics import Metrics
from tradingbot_engine.pipeline import Pipeline
from tradingbot_engine.settings import BusSettings, QueueSettings
from tradingbot_engine.tally import Tally


def exit_of(position: str, trigger: int) -> Signal:
    return Signal(
        "s", "t", 1, "Mint", Side.SELL, Purpose.EXIT, f"e{trigger}", 0, 1.0, "why", Priority.CRITICAL, position
    )


@pytest.mark.parametrize(
    ("reason", "lines"), [("ExitOpen", ["one", "two"]), ("NothingHeld", ["one", "one", "two", "one", "two"])]
)
async def test_an_exit_beside_one_under_way_is_counted_each_time_and_told_once_a_position(
    reason: str, lines: list[str]
) -> None:
    """It comes at every event while a sale takes its minutes; other refusals of exits are told each time."""
    clock = ManualClock()
    tally, lifecycle = Tally(metrics=Metrics(), clock=clock), Lifecycle(clock=clock)
    lifecycle.enter(Phase.READY)
    unused: Any = None
    pipeline = Pipeline(
        state=CoreState.create([], []),
        events=CoreEvents(settings=BusSettings(), clock=clock, tokens=1),
        signals=SignalQueue(settings=QueueSettings(), workers=4, clock=clock),
        ledger=unused,
        book=unused,
        bars=unused,
        trades=unused,
        lifecycle=lifecycle,
        tally=tally,
        clock=clock,
        approve=lambda signal: Refused(reason, f"of {signal.position_id}"),
        limits=unused,
        owner_of=lambda mint: Ownership(0, "me", 1),
        seen=SeenSignals(size=0),
    )
    with capture_logs() as told:
        for trigger, position in enumerate(("one", "one", "two", "one", "two")):
            await pipeline._trade(exit_of(position, trigger))
    said = [line for line in told if line["log_level"] == "info"]
    assert [line["message"].removeprefix("of ") for line in said] == lines
    assert tally.refusals == {reason: 5}
