"""What a drain does with the signals that wait."""

from __future__ import annotations

from typing import Any

import pytest

from tradingbot_engine.bus.core_events import CoreEvents
from tradingbot_engine.bus.seen import SeenSignals
from tradingbot_engine.bus.signals import SignalQueue
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.core.state import CoreState
from tradingbot_engine.domain.events import SignalSettled
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.metrics import Metrics
from tradingbot_engine.pipeline import Pipeline
from tradingbot_engine.settings import BusSettings, QueueSettings
from tradingbot_engine.tally import Tally


async def test_a_full_queue_is_shed_in_one_pass_and_keeps_its_exits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand signals compared with each other would hold the loop, and the exits, for the drain's whole time."""
    clock = ManualClock()
    signals = SignalQueue(settings=QueueSettings(), workers=4, clock=clock)
    events = CoreEvents(settings=BusSettings(), clock=clock, tokens=1)
    unused: Any = None
    pipeline = Pipeline(
        state=CoreState.create([], []),
        events=events,
        signals=signals,
        ledger=unused,
        book=unused,
        bars=unused,
        trades=unused,
        lifecycle=Lifecycle(clock=clock),
        tally=Tally(metrics=Metrics(), clock=clock),
        clock=clock,
        approve=unused,
        limits=unused,
        owner_of=unused,
        seen=SeenSignals(size=0),
    )
    compared = 0

    def equal(one: Signal, other: object) -> bool:
        nonlocal compared
        compared += 1
        return one is other

    monkeypatch.setattr(Signal, "__eq__", equal)
    for n in range(5000):
        leaving = n % 100 == 0
        purpose, side = (Purpose.EXIT, Side.SELL) if leaving else (Purpose.ENTRY, Side.BUY)
        signals.put(Signal("s", "t", 1, "Mint", side, purpose, f"e{n}", 0, 1.0, "why", Priority.NORMAL))
    assert pipeline.shed() == 4950
    assert len(signals) == 50
    told = [await events.get() for _ in range(len(events))]
    assert sum(type(event) is SignalSettled for batch in told for event in batch) == 4950
    assert not compared
