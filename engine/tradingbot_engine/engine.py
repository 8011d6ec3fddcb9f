"""
One engine from start to stop: check, take over, resolve, trade, drain.

The parts are wired in `app.py`; this module is about their order. A step of the start that does not succeed waits in
`preconditions.py`, what was open before it in `leftovers.py`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import orjson
import structlog

from tradingbot_engine.api.server import AdminServer, LiveSettings
from tradingbot_engine.app import Wired, assemble
from tradingbot_engine.clock import Clock
from tradingbot_engine.comparison import Comparison
from tradingbot_engine.drain import LEAVE_S, Drain, Duties
from tradingbot_engine.errors import EngineError, FatalError, LedgerOfAnother, TemporaryError
from tradingbot_engine.gauges import Gauges
from tradingbot_engine.lifecycle import RESOLVING, Lifecycle, Phase
from tradingbot_engine.live import Live
from tradingbot_engine.market.told_clock import with_told_clock
from tradingbot_engine.metrics import Metrics
from tradingbot_engine.outside import Outside, open_in_ledger, open_outside
from tradingbot_engine.preconditions import Preconditions
from tradingbot_engine.private_file import write_private
from tradingbot_engine.rpc.events import HealthSeen, PoolEvent
from tradingbot_engine.rpc_meter import RpcMeter
from tradingbot_engine.settings import EngineSettings, switched_off
from tradingbot_engine.status import switched_off_told
from tradingbot_engine.upkeep import repeat, watch_parent

_log = structlog.get_logger(__name__)

EXIT_DRAINED, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_OPEN = 0, 1, 2, 3
"""Exit codes: drained; failed; bad input; stopped with trades still open in the ledger."""


class Engine:
    """
    Implements what the admin port may ask (`api.server.Control`).

    With `settle` it trades nothing: it follows what is open in the ledger to its end, and ends. With `close_out_by` it sells
    all that is held, for whom that says, and ends when nothing is left. With `if_ours` a ledger that belongs to another bot means
    that there is nothing to do.
    """

    def __init__(
        self,
        *,
        settings: EngineSettings,
        clock: Clock,
        parent_pid: int | None = None,
        settle: bool = False,
        close_out_by: str | None = None,
        if_ours: bool = False,
    ) -> None:
        self._close_out_by, self._if_ours = close_out_by, if_ours
        self._not_ours = False
        self._settings, self._clock, self._parent_pid, self._settle = settings, clock, parent_pid, settle
        self._lifecycle = Lifecycle(clock=clock)
        self._preconditions = Preconditions(lifecycle=self._lifecycle, clock=clock)
        self._metrics = Metrics(max_series=settings.metrics.max_series)
        self._gauges = Gauges(metrics=self._metrics, lifecycle=self._lifecycle)
        self._rpc_meter = RpcMeter(metrics=self._metrics)
        self._outside: Outside | None = None
        self._wired: Wired | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._quit = asyncio.Event()
        self._down: Drain | None = None
        self._open_left = 0
        self._unknown_left = False
        """The ledger could not be read at the end."""
        self._last_status: dict[str, Any] = {}

    async def run(self) -> int:
        """Serve until told to stop; return the process's exit code."""
        self._listen_to_signals()
        admin = AdminServer(settings=self._settings.admin, control=self, registry=self._metrics.registry)
        port = await admin.start()
        _log.info("engine starts", bot=self._settings.bot.name, mode=self._settings.bot.mode, admin_port=port)
        for name, lost in switched_off(self._settings):
            self._metrics.protection_off.labels(name).set(1)
            _log.warning("PROTECTION SWITCHED OFF", setting=name, lost=lost)
        if self._parent_pid is not None:
            self._spawn("parent", self._drain_when_orphaned(self._parent_pid))
        try:
            starting = asyncio.create_task(self._start(), name="start")
            draining = asyncio.create_task(self._lifecycle.drain_requested.wait(), name="await-drain")
            await asyncio.wait({starting, draining}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not starting.cancelled() and starting.exception() is not None:
                raise starting.exception() or RuntimeError
            await draining
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._drain()
            await self._leave_status()
            if self._lifecycle.drain_reason == "admin":  # the pod's SIGTERM comes after its preStop hook
                await self._until_told_to_end()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await admin.stop()
            if self._outside is not None:
                await self._let_go(self._outside)
        if self._open_left or not self._closed_out():
            return EXIT_OPEN
        return EXIT_FAILED if self._lifecycle.fatal or self._unknown_left else EXIT_DRAINED

    def _rpc_told(self, event: PoolEvent) -> None:
        self._rpc_meter.take(event)
        if self._wired is not None and isinstance(event, HealthSeen):
            self._wired.nodes.read()  # a node that is back is told of at once, not at the next look

    async def _let_go(self, outside: Outside) -> None:
        """Close what is outside; a disk or a server that is away must not hide by its error what was left open."""
        try:
            await outside.close()
        except (EngineError, OSError) as error:
            _log.warning("not closed in order", error=str(error))

    async def _leave_status(self) -> None:
        """Write down the last status; an engine that was ended by a signal is gone before anybody could ask for it."""
        if (file := self._settings.admin.last_status_file) is None or self._quit.is_set():
            return  # told to leave at once: a ledger that hangs must not hold it up
        try:
            last = await asyncio.wait_for(self.status(), LEAVE_S)
            await asyncio.to_thread(write_private, file, orjson.dumps(last).decode())
        except (EngineError, OSError) as error:  # TimeoutError is one
            _log.warning("the last status was not left", error=str(error) or "the ledger did not answer in time")

    async def _until_told_to_end(self) -> None:
        """Wait for a signal; without the runner nobody would send one."""
        watch = asyncio.create_task(watch_parent(self._parent_pid)) if self._parent_pid is not None else None
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({t for t in (watch, stop) if t is not None}, return_when=asyncio.FIRST_COMPLETED)
        for task in (watch, stop):
            if task is not None:
                task.cancel()

    async def _drain_when_orphaned(self, pid: int) -> None:
        await watch_parent(pid)
        self._lifecycle.request_drain(f"the runner (pid {pid}) is gone")

    # --- start
    async def _start(self) -> None:
        told = await self._preconditions.met(lambda: with_told_clock(self._settings))
        if told is None:
            return
        self._settings = told
        outside = await self._preconditions.met(
            lambda: open_outside(self._settings, clock=self._clock, on_rpc_event=self._rpc_told)
        )
        if outside is None:
            return
        self._outside = outside
        comparison = Comparison(
            ledger=outside.ledger,
            rpc=outside.rpc,
            lifecycle=self._lifecycle,
            clock=self._clock,
            alone_after_s=self._settings.rpc.one_node_after_s,
        )
        wired = await self._preconditions.met(lambda: self._assembled(outside, comparison))
        if wired is None:
            return
        self._wired = wired
        if self._settle:
            await self._settle_all(wired)
            return
        if (by := self._close_out_by) is not None and await self._preconditions.met(
            lambda: wired.live.close_out(by)
        ) is None:
            return
        self._spawn("core", wired.pipeline.decide_forever())
        self._spawn("order", wired.pipeline.order_forever())
        self._spawn("shed", wired.pipeline.shed_forever())
        self._spawn("mirror", wired.trades.mirror_forever())
        for n in range(self._settings.execution.workers):
            self._spawn(f"worker-{n}", wired.pipeline.trade_forever())
        for name, every_s, work in (*wired.chores, ("ledger", 1.0, self._check_ledger), ("gauges", 1.0, self._gauge)):
            self._spawn(name, repeat(name, every_s, work, lifecycle=self._lifecycle, clock=self._clock))
        self._spawn("lag", wired.lag.run())
        self._spawn("feed", outside.feed.run(wired.pipeline.emit))
        await wired.leftovers.resolve()  # before the first signal
        self._lifecycle.enter(Phase.READY)
        if self._close_out_by is not None:
            await wired.closing.done.wait()
            self._lifecycle.request_drain("closed out")

    async def _assembled(self, outside: Outside, comparison: Comparison) -> Wired | None:
        """Put the engine together; None if the ledger is another bot's and that was to be expected."""
        try:
            return await assemble(outside, self._settings, self._lifecycle, self._metrics, comparison)
        except LedgerOfAnother as error:
            if not self._if_ours:
                raise
            _log.info("nothing of this bot is in the ledger", why=str(error))
            self._not_ours = True
            self._lifecycle.request_drain("the ledger is another bot's")
            return None

    def _closed_out(self) -> bool:
        """Whether nothing is held any more, if that is what this process is for; one that never got as far does not know."""
        return (
            self._close_out_by is None
            or self._not_ours
            or (self._wired is not None and self._wired.closing.done.is_set())
        )

    async def _settle_all(self, wired: Wired) -> None:
        """Follow what is open until nothing is; make no attempt, take no signal."""
        self._lifecycle.enter(Phase.DRAINING)
        self._spawn("mirror", wired.trades.mirror_forever())
        await wired.leftovers.settle()
        if self._lifecycle.fatal is None:
            self._lifecycle.request_drain("settled")

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A loop that dies of an unknown fault ends trading: better than to go on without it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("loop failed", loop=task.get_name(), exc_info=error)
            message = f"{task.get_name()}: {type(error).__name__}: {error}"
            self._lifecycle.tell(
                error.reason if isinstance(error, FatalError) else "InternalError", message, fatal=True
            )

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def drain(number: signal.Signals) -> None:
            self._stop.set()
            self._lifecycle.request_drain(number.name)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            loop.add_signal_handler(number, drain, number)

        def leave() -> None:
            self._quit.set()
            if self._down is not None:
                self._down.leave()
            drain(signal.SIGQUIT)

        loop.add_signal_handler(signal.SIGQUIT, leave)

    # --- upkeep
    async def _check_ledger(self) -> None:
        """Guard against an older copy; follow open intents that have no task (a claim whose answer was lost)."""
        assert self._wired is not None
        await self._wired.guard.check()
        # From then on every intent that was open has its task. Resolving may take days, and positions are left meanwhile.
        if self._lifecycle.phase is Phase.READY or self._lifecycle.has(RESOLVING):
            records = await self._wired.outside.ledger.open_intents()
            self._metrics.open_intents.set(len(records))
            self._wired.trades.adopt_strays(records, self._wired.owned)

    async def _gauge(self) -> None:
        assert self._wired is not None
        self._gauges.read(self._wired)

    # --- drain
    async def _drain(self) -> None:
        """Go down in phases; an engine that never got as far as trading has only its ledger to look into."""
        if (wired := self._wired) is not None:
            self._down = self._way_down(wired)
            if self._quit.is_set():
                self._down.leave()
            left = await self._down.run()
            self._open_left = self._open_left if left is None else left
        else:
            self._lifecycle.enter(Phase.DRAINING)
            if self._lifecycle.fatal is None and not self._not_ours:
                left = await open_in_ledger(self._settings.ledger)
                self._open_left, self._unknown_left = left or 0, left is None
        _log.info("drained", open_intents=None if self._unknown_left else self._open_left)
        self._lifecycle.enter(Phase.STOPPED)
        self._lifecycle.drained.set()

    def _way_down(self, wired: Wired) -> Drain:
        async def hand_over() -> int:
            self._open_left = wired.trades.perhaps_open  # until the ledger says how many there are, if it ever does
            # Workers and upkeep first: they could begin to follow a trade that nobody would stop any more, and they write
            # under the shards' epochs, which is refused once these are free.
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await wired.trades.cancel()
            self._open_left = len(await wired.outside.ledger.open_intents())
            await wired.release()
            return self._open_left

        shutdown = self._settings.shutdown
        return Drain(
            Duties(
                shed=wired.pipeline.shed,
                queued=lambda: len(wired.signals),
                claims_ended=wired.pipeline.wait_claims,
                in_flight=lambda: len(wired.trades),
                trades_ended=wired.trades.wait_idle,
                hand_over=hand_over,
                flush=wired.flush,
            ),
            lifecycle=self._lifecycle,
            clock=self._clock,
            graceful=shutdown.graceful and not self._settle,  # which would finish exits with new attempts
            trade_timeout_s=shutdown.trade_timeout_s,
            force_timeout_s=shutdown.force_timeout_s,
        )

    # --- the admin port's questions
    def ready(self) -> tuple[bool, str]:
        if fatal := self._lifecycle.fatal:
            return False, f"{fatal.type}: {fatal.message}"
        if self._lifecycle.phase in (Phase.DRAINING, Phase.STOPPED) or not self._preconditions.able:
            return False, self._lifecycle.phase.value
        return not self._lifecycle.has("LedgerUnavailable"), "LedgerUnavailable"

    async def status(self) -> dict[str, Any]:
        if self._wired is not None:
            try:
                self._last_status = await self._wired.status.document()
                return self._last_status | self._drain_status()
            except (EngineError, OSError) as error:  # the reasons are wanted most when the ledger does not answer
                if self._lifecycle.phase is not Phase.STOPPED:
                    self._lifecycle.tell("LedgerUnavailable", str(error))
        return {
            **self._last_status,  # numbers as they were last known
            "name": self._settings.bot.name,
            "mode": self._settings.bot.mode,
            "phase": self._lifecycle.phase.value,
            "trading": False,
            "switchedOff": switched_off_told(self._settings),
            "inFlight": len(self._wired.trades) if self._wired else 0,
            "reasons": [{"type": r.type, "since": r.since_ms, "message": r.message} for r in self._lifecycle.reasons],
            **self._drain_status(),
        }

    def _drain_status(self) -> dict[str, Any]:
        return {"drain": {"why": self._lifecycle.drain_reason, **self._down.progress()}} if self._down else {}

    async def apply_live(self, live: LiveSettings) -> bool:
        return await self._live().apply(live)

    async def latch(self, latched: bool) -> None:
        await self._live().latch(latched)

    async def close_out(self, by: str) -> None:
        await self._live().close_out(by)

    async def reopen(self) -> None:
        await self._live().reopen()

    def _live(self) -> Live:
        if self._wired is None:
            raise TemporaryError("the engine is still starting")
        return self._wired.live

    async def drain(self, *, wait: bool) -> dict[str, Any]:
        self._lifecycle.request_drain("admin")
        if wait:
            await self._lifecycle.drained.wait()
        in_flight = len(self._wired.trades) if self._wired else 0
        return {
            "drained": self._lifecycle.drained.is_set(),
            "inFlight": in_flight,
            "openIntents": self._open_left,
            "progress": self._down.progress() if self._down else None,
        }
