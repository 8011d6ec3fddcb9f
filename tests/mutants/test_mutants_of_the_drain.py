"""
The drain, broken on purpose line by line: each time a pod would be gone while something critical was still to be done.

A schedule returns what is wrong after it, "" if nothing is; the real drain over work that takes its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from mutants.mutate import mutated

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.drain import Drain, Duties
from tradingbot_engine.lifecycle import Lifecycle, Phase

Schedule = Callable[[], Awaitable[str]]
TRADE_TIMEOUT_S, FORCE_TIMEOUT_S = 30.0, 60.0


@dataclass
class Engine:
    """What a drain has to bring to an end: a queue, claims under way, trades, a ledger; times in seconds from its begin."""

    queue_s: float = 0.0
    claims_s: float = 0.0
    trades_s: float = 0.0
    ledger_s: float = 0.0
    clock: ManualClock = field(default_factory=ManualClock)
    wrong: list[str] = field(default_factory=list)
    flushed: bool = False

    def __post_init__(self) -> None:
        self.lifecycle = Lifecycle(clock=self.clock)
        self.lifecycle.enter(Phase.READY)

    def left(self, until_s: float) -> bool:
        return self.clock.monotonic_s() < until_s

    async def reach(self, until_s: float) -> None:
        while self.left(until_s):
            await self.clock.sleep(0.1)

    def shed(self) -> int:
        if self.lifecycle.may_trade:
            self.wrong.append("entries are still taken while the queue is shed")
        return 1

    async def hand_over(self) -> int:
        in_time = self.clock.monotonic_s() < TRADE_TIMEOUT_S
        if in_time and self.left(self.queue_s):
            self.wrong.append("handed over with exits in the queue")
        if in_time and self.left(self.claims_s):
            self.wrong.append("handed over with a claim under way")
        if in_time and self.left(self.trades_s):
            self.wrong.append("handed over with trades in flight")
        if self.lifecycle.may_exit:
            self.wrong.append("handed over while exits are still taken")
        await self.reach(self.ledger_s)
        return int(self.left(self.trades_s))

    async def flush(self) -> None:
        self.flushed = True

    async def drained(self) -> str:
        """Run a drain to its end; return what is wrong."""
        drain = Drain(
            Duties(
                shed=self.shed,
                queued=lambda: int(self.left(self.queue_s)),
                claims_ended=lambda: self.reach(self.claims_s),
                in_flight=lambda: int(self.left(self.trades_s)),
                trades_ended=lambda: self.reach(self.trades_s),
                hand_over=self.hand_over,
                flush=self.flush,
            ),
            lifecycle=self.lifecycle,
            clock=self.clock,
            graceful=True,
            trade_timeout_s=TRADE_TIMEOUT_S,
            force_timeout_s=FORCE_TIMEOUT_S,
        )
        running = asyncio.create_task(drain.run())
        for _ in range(1000):
            for _ in range(30):
                await asyncio.sleep(0)
            if running.done():
                break
            await self.clock.advance(0.2)
        if not running.done():
            running.cancel()
            return "it never ends"
        took_s = self.clock.monotonic_s()
        if took_s > FORCE_TIMEOUT_S + 5:
            self.wrong.append(f"it took {took_s:.0f} s")
        if running.result() == 0 and self.left(self.trades_s):
            self.wrong.append("nothing was left, it says")
        if not self.flushed:
            self.wrong.append("nothing was flushed")
        return "; ".join(self.wrong)


async def exits_wait_in_the_queue() -> str:
    """They are taken before anything is handed over."""
    return await Engine(queue_s=3.0).drained()


async def an_exit_is_being_claimed() -> str:
    """It left the queue and is no trade yet."""
    return await Engine(claims_s=4.0).drained()


async def trades_are_in_flight() -> str:
    """They are followed to their end."""
    return await Engine(trades_s=12.0).drained()


async def trades_never_end() -> str:
    """They are left at the trade timeout, and said to be open."""
    return await Engine(trades_s=10_000).drained()


async def the_ledger_hangs() -> str:
    """The force timeout ends it."""
    return await Engine(ledger_s=10_000).drained()


SCHEDULES: tuple[Schedule, ...] = (
    exits_wait_in_the_queue,
    an_exit_is_being_claimed,
    trades_are_in_flight,
    trades_never_end,
    the_ledger_hangs,
)

RUN, WITHIN, CRITICAL, END = "run", "_within", "_finish_critical", "_to_the_end"
MUTANTS: dict[str, tuple[str, tuple[tuple[str, str], ...], Schedule]] = {
    "a drain that returns early: trades are not followed": (
        RUN,
        (("await self._within(self._duties.trades_ended(), self._trade_timeout_s)", "pass"),),
        trades_are_in_flight,
    ),
    "critical work is not finished": (
        RUN,
        (("if await self._within(self._finish_critical(), self._trade_timeout_s):", "if True:"),),
        exits_wait_in_the_queue,
    ),
    "claims under way are not waited for": (
        CRITICAL,
        (("await self._duties.claims_ended()", "pass"),),
        an_exit_is_being_claimed,
    ),
    "the queue is not waited for": (
        CRITICAL,
        (("while self._duties.queued():", "while False:"),),
        exits_wait_in_the_queue,
    ),
    "exits are still taken while the shards are handed over": (
        RUN,
        (("self._lifecycle.finishing = False", "pass"),),
        trades_are_in_flight,
    ),
    "the queue is shed before entries are refused": (
        RUN,
        (
            ("        self._lifecycle.enter(Phase.DRAINING)\n", ""),
            ("        self._enter(Step.SHEDDING)\n", "        self._lifecycle.enter(Phase.DRAINING)\n"),
        ),
        trades_are_in_flight,
    ),
    "no limit for trades": (
        WITHIN,
        (("await asyncio.wait({task, leave, late}", "await asyncio.wait({task, leave}"),),
        trades_never_end,
    ),
    "no limit for the ledger": (
        END,
        (("await asyncio.wait({task, late}", "await asyncio.wait({task}"),),
        the_ledger_hangs,
    ),
    "what waits to be written is lost": (
        RUN,
        (("await self._to_the_end(self._duties.flush())", "pass"),),
        trades_are_in_flight,
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.__name__)
async def test_the_sound_drain_passes_every_schedule(schedule: Schedule) -> None:
    """Otherwise a mutant that is caught would say nothing."""
    assert await schedule() == ""


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_broken_drain_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each broken line shows in the schedule that is there for it."""
    method, changes, schedule = MUTANTS[name]
    monkeypatch.setattr(Drain, method, mutated(getattr(Drain, method), *changes))
    assert await schedule() != "", f"nobody noticed: {name}"
