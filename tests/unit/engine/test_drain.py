"""The way down: its order, its limits, and what it says of itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.drain import LEAVE_S, Drain, Duties, Step
from tradingbot_engine.errors import LedgerUnavailable
from tradingbot_engine.lifecycle import Lifecycle, Phase

FOREVER = 10**9


@dataclass
class Work:
    """An engine's work in numbers: how long each part still takes, in seconds."""

    clock: ManualClock
    lifecycle: Lifecycle
    waiting: int = 3
    critical_s: float = 0.0
    trades: int = 0
    trades_s: float = 0.0
    hand_over_s: float = 0.0
    hand_over_fails: Exception | None = None
    did: list[str] = field(default_factory=list)

    def shed(self) -> int:
        assert self.lifecycle.phase is Phase.DRAINING, "new signals are still taken"
        self.did.append("shed")
        return self.waiting

    def queued(self) -> int:
        return int(self.clock.monotonic_s() < self.critical_s)

    async def claims_ended(self) -> None:
        self.did.append("critical finished" if self.lifecycle.may_exit else "critical refused")

    def in_flight(self) -> int:
        return self.trades if self.clock.monotonic_s() < self.trades_s else 0

    async def trades_ended(self) -> None:
        while self.in_flight():
            await self.clock.sleep(0.1)
        self.did.append("trades ended")

    async def hand_over(self) -> int:
        assert not self.lifecycle.may_exit, "critical work is still taken while the shards are handed over"
        self.did.append("handing over")
        await self.clock.sleep(self.hand_over_s)
        if self.hand_over_fails is not None:
            raise self.hand_over_fails
        self.did.append("handed over")
        return self.in_flight()

    async def flush(self) -> None:
        self.did.append("flushed")


def stage(*, graceful: bool = True, **changes: object) -> tuple[Work, Drain]:
    clock = ManualClock()
    lifecycle = Lifecycle(clock=clock)
    lifecycle.enter(Phase.READY)
    work = Work(clock, lifecycle, **changes)  # type: ignore[arg-type]
    duties = Duties(
        shed=work.shed,
        queued=work.queued,
        claims_ended=work.claims_ended,
        in_flight=work.in_flight,
        trades_ended=work.trades_ended,
        hand_over=work.hand_over,
        flush=work.flush,
    )
    drain = Drain(duties, lifecycle=lifecycle, clock=clock, graceful=graceful, trade_timeout_s=30, force_timeout_s=60)
    return work, drain


async def ends_at(work: Work, running: asyncio.Task[int | None], *, step_s: float = 0.25) -> float:
    """Let time pass until the drain is over; return when that was."""
    while True:
        for _ in range(50):  # tasks hand over to each other without time passing
            await asyncio.sleep(0)
        if running.done():
            return work.clock.monotonic_s()
        await work.clock.advance(step_s)
        assert work.clock.monotonic_s() < 1000, "it never ends"


async def test_the_phases_come_in_order_and_nothing_is_left() -> None:
    """Shed, finish what is critical, follow the trades, hand over, flush; as fast as the trades allow."""
    work, drain = stage(critical_s=2.0, trades=5, trades_s=7.0)
    running = asyncio.create_task(drain.run())
    ended_s = await ends_at(work, running)
    assert work.did == ["shed", "critical finished", "trades ended", "handing over", "handed over", "flushed"]
    assert running.result() == 0
    assert ended_s == pytest.approx(7.0, abs=0.5)
    assert drain.progress()["step"] == "Done"


async def test_progress_tells_the_step_and_the_numbers_of_the_moment() -> None:
    """What status shows while a preStop hook waits."""
    work, drain = stage(critical_s=2.0, trades=5, trades_s=7.0)
    running = asyncio.create_task(drain.run())
    await work.clock.advance(1.0)
    seen = drain.progress()
    assert (seen["step"], seen["shed"], seen["queued"], seen["inFlight"]) == ("FinishingCritical", 3, 1, 5)
    await work.clock.advance(3.0)
    seen = drain.progress()
    assert (seen["step"], seen["queued"], seen["inFlight"]) == ("FollowingTrades", 0, 5)
    assert seen["tradeTimeoutLeftMs"] == 26_000
    assert seen["openIntents"] is None
    await ends_at(work, running)
    assert drain.progress()["openIntents"] == 0


async def test_trades_that_do_not_end_are_left_at_the_trade_timeout() -> None:
    """30 s after the drain began, critical work included; what is open is told and stays journalled."""
    work, drain = stage(critical_s=10.0, trades=2, trades_s=FOREVER)
    running = asyncio.create_task(drain.run())
    ended_s = await ends_at(work, running)
    assert running.result() == 2
    assert ended_s == pytest.approx(30.0, abs=0.5)
    assert work.did == ["shed", "critical finished", "handing over", "handed over", "flushed"]


async def test_critical_work_that_does_not_end_is_left_at_the_trade_timeout_too() -> None:
    """A ledger that refuses every claim must not hold the pod."""
    work, drain = stage(critical_s=FOREVER)
    running = asyncio.create_task(drain.run())
    assert await ends_at(work, running) == pytest.approx(30.0, abs=0.5)
    assert "handed over" in work.did


async def test_a_hand_over_that_hangs_ends_at_the_force_timeout() -> None:
    """The shards stay taken; the successor takes them by its own rule. How many are open is not known then."""
    work, drain = stage(hand_over_s=FOREVER)
    running = asyncio.create_task(drain.run())
    assert await ends_at(work, running) == pytest.approx(60.0, abs=0.5)
    assert running.result() is None
    assert work.did[-1] == "flushed"


async def test_a_ledger_that_refuses_the_hand_over_ends_the_drain_all_the_same() -> None:
    """With a warning; nothing is raised into the engine."""
    work, drain = stage(hand_over_fails=LedgerUnavailable("away"))
    running = asyncio.create_task(drain.run())
    await ends_at(work, running)
    assert running.result() is None
    assert work.did == ["shed", "critical finished", "trades ended", "handing over", "flushed"]


async def test_told_to_leave_it_stops_following_and_hands_over_quickly() -> None:
    """SIGQUIT: what is in flight stays journalled, and a hand-over that hangs is given two seconds."""
    work, drain = stage(trades=2, trades_s=FOREVER, hand_over_s=FOREVER)
    running = asyncio.create_task(drain.run())
    await work.clock.advance(5.0)
    drain.leave()
    assert await ends_at(work, running) == pytest.approx(5.0 + LEAVE_S, abs=0.5)
    assert "trades ended" not in work.did


async def test_without_grace_it_follows_nothing() -> None:
    """shutdown.graceful false: hand over at once."""
    work, drain = stage(graceful=False, critical_s=FOREVER, trades=2, trades_s=FOREVER)
    running = asyncio.create_task(drain.run())
    assert await ends_at(work, running) <= 0.5
    assert work.did == ["shed", "handing over", "handed over", "flushed"]
    assert running.result() == 2


def test_every_step_has_a_name_that_status_can_show() -> None:
    """CamelCase, as all reasons are."""
    assert all(step.value[0].isupper() and " " not in step.value for step in Step)
