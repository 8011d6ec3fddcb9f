"""
The way down, in phases that anybody can watch.

    not ready, no new signal → queued work below critical shed → critical work finished → attempts followed to their end
    → shards handed over → what waits to be written flushed

Whatever is open at the end stays journalled for the next owner: a drain makes the pause short, the ledger makes it safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.errors import EngineError
from tradingbot_engine.lifecycle import Lifecycle, Phase

_log = structlog.get_logger(__name__)

SAY_EVERY_S = 5.0
"""A drain that waits says so this often: what a preStop hook prints is seen by nobody."""
LEAVE_S = 2.0
"""Told to leave at once, handing over may still take this long."""


class Step(StrEnum):
    """Where a drain stands."""

    SHEDDING = "Shedding"
    FINISHING = "FinishingCritical"
    FOLLOWING = "FollowingTrades"
    HANDING_OVER = "HandingOver"
    FLUSHING = "Flushing"
    DONE = "Done"


@dataclass(frozen=True, slots=True)
class Duties:
    """What a drain asks of the engine's parts."""

    shed: Callable[[], int]
    """Refuse what waits below critical; return how many that were."""
    queued: Callable[[], int]
    """Signals that still wait for a worker."""
    claims_ended: Callable[[], Awaitable[None]]
    """Wait until no signal is between the queue and its claim."""
    in_flight: Callable[[], int]
    """Trades that a task follows."""
    trades_ended: Callable[[], Awaitable[None]]
    """Wait until no trade is followed any more."""
    hand_over: Callable[[], Awaitable[int]]
    """Stop following, free the shards; return how many trades are open in the ledger."""
    flush: Callable[[], Awaitable[None]]
    """Write what waits to be written."""


class Drain:
    """One engine's drain; `run` once, `progress` at any time."""

    def __init__(
        self,
        duties: Duties,
        *,
        lifecycle: Lifecycle,
        clock: Clock,
        graceful: bool,
        trade_timeout_s: float,
        force_timeout_s: float,
    ) -> None:
        self._duties, self._lifecycle, self._clock, self._graceful = duties, lifecycle, clock, graceful
        self._trade_timeout_s, self._force_timeout_s = trade_timeout_s, force_timeout_s
        self._leave = asyncio.Event()
        self._began_s = 0.0
        self._step = Step.SHEDDING
        self._since_ms: UnixMs = clock.now_ms()
        self._shed = 0
        self._open: int | None = None

    def leave(self) -> None:
        """Follow nothing any longer; hand over and go."""
        self._leave.set()

    def progress(self) -> dict[str, Any]:
        """Return where the drain stands, as status shows it."""
        left_s = max(0.0, self._trade_timeout_s - (self._clock.monotonic_s() - self._began_s))
        return {
            "step": self._step.value,
            "since": self._since_ms,
            "shed": self._shed,
            "queued": self._duties.queued(),
            "inFlight": self._duties.in_flight(),
            "tradeTimeoutLeftMs": round(left_s * 1000) if self._step in (Step.FINISHING, Step.FOLLOWING) else 0,
            "openIntents": self._open,
        }

    async def run(self) -> int | None:
        """Go down; return how many trades are open in the ledger, None if that could not be learned in time."""
        self._began_s = self._clock.monotonic_s()
        self._lifecycle.enter(Phase.DRAINING)
        self._shed = self._duties.shed()
        self._enter(Step.SHEDDING)
        saying = asyncio.create_task(self._say_forever(), name="drain-says")
        try:
            if self._graceful:
                self._lifecycle.finishing = True
                self._enter(Step.FINISHING)
                if await self._within(self._finish_critical(), self._trade_timeout_s):
                    self._enter(Step.FOLLOWING)
                    await self._within(self._duties.trades_ended(), self._trade_timeout_s)
            self._lifecycle.finishing = False
            self._enter(Step.HANDING_OVER)
            await self._to_the_end(self._hand_over())
            self._enter(Step.FLUSHING)
            await self._to_the_end(self._duties.flush())
        finally:
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)
        self._enter(Step.DONE)
        return self._open

    async def _finish_critical(self) -> None:
        """Workers go on taking critical signals; no new one comes in."""
        while self._duties.queued():
            await self._clock.sleep(0.01)
        await self._duties.claims_ended()

    async def _hand_over(self) -> None:
        self._open = await self._duties.hand_over()

    async def _within(self, work: Awaitable[None], limit_s: float) -> bool:
        """Wait for `work` until `limit_s` after the drain began, or until told to leave; return whether it ended."""
        task = asyncio.ensure_future(work)
        leave = asyncio.create_task(self._leave.wait())
        late = asyncio.ensure_future(self._clock.sleep(max(0.0, self._began_s + limit_s - self._clock.monotonic_s())))
        try:
            await asyncio.wait({task, leave, late}, return_when=asyncio.FIRST_COMPLETED)
            return task.done()
        finally:
            for other in (task, leave, late):
                other.cancel()
            await asyncio.gather(task, leave, late, return_exceptions=True)

    async def _to_the_end(self, work: Awaitable[None]) -> None:
        """Wait for `work` until the force timeout; a ledger that hangs or refuses must not keep the process."""
        left_s = self._began_s + self._force_timeout_s - self._clock.monotonic_s()
        if self._leave.is_set():
            left_s = min(left_s, LEAVE_S)
        task = asyncio.ensure_future(work)
        late = asyncio.ensure_future(self._clock.sleep(max(LEAVE_S, left_s)))
        await asyncio.wait({task, late}, return_when=asyncio.FIRST_COMPLETED)
        late.cancel()
        if not task.done():
            task.cancel()
            _log.warning("the force timeout ends the drain", step=self._step.value, timeout_s=self._force_timeout_s)
        (outcome, _) = await asyncio.gather(task, late, return_exceptions=True)
        if isinstance(outcome, EngineError | OSError):
            _log.warning("not done; the next owner takes over", step=self._step.value, error=str(outcome))
        elif isinstance(outcome, Exception):
            _log.error("drain step failed", step=self._step.value, exc_info=outcome)

    def _enter(self, step: Step) -> None:
        self._step, self._since_ms = step, self._clock.now_ms()
        self._say()

    async def _say_forever(self) -> None:
        while True:
            await self._clock.sleep(SAY_EVERY_S)
            self._say()

    def _say(self) -> None:
        _log.info(
            "draining",
            step=self._step.value,
            seconds=round(self._clock.monotonic_s() - self._began_s, 1),
            shed=self._shed,
            queued=self._duties.queued(),
            in_flight=self._duties.in_flight(),
            open_intents=self._open,
        )
