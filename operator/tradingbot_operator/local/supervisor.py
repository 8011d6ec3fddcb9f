"""
The runner: localnet and one engine as processes, kept running, and stopped in the order that loses nothing.

Start: orphans of a killed run are ended, localnet, money for its wallet, settings, engine. Stop: the engine drains while
localnet still serves, then the audit asks the chain, then localnet goes.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from tradingbot_operator.crd.v1alpha1 import TradingBot
from tradingbot_operator.errors import BadInput, Failed, LeftOpen
from tradingbot_operator.local.admin import AdminPort, AdminUnreachable
from tradingbot_operator.local.audit import AUDIT_S, ask_audit
from tradingbot_operator.local.board import Board
from tradingbot_operator.local.cluster import LOCALNET_END_S, LocalCluster, same_nodes
from tradingbot_operator.local.configure import configure, fixed_part
from tradingbot_operator.local.drain import DRAINED, FAILED, OPEN, QUIT_S, drain, open_intents, take_last
from tradingbot_operator.local.localnet import LocalnetOptions
from tradingbot_operator.local.process import ENGINE, Backoff, Child, how_it_ended
from tradingbot_operator.local.state_dir import StateDir
from tradingbot_operator.local.summary import NO_PROOF
from tradingbot_operator.local.supplies import Supplies
from tradingbot_operator.wire.chain import Chain
from tradingbot_operator.wire.render import risk

POLL_S = 0.5
LOGS_S = 60.0
READY_S = 60.0
RESOLVED_S = 180.0
"""How long the duration waits for trades of an earlier run: until their blockhashes have expired, and that is final."""
SHOWN_FINDINGS = 10
BAD_SETTINGS = 2
"""The engine's exit code for settings that no restart makes better."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    exit_code: int
    audit: dict[str, Any] | None


class Supervisor:
    """Runs one bot until told to stop."""

    def __init__(
        self,
        *,
        bot: TradingBot,
        supplies: Supplies,
        state: StateDir,
        localnet: LocalnetOptions | None,
        duration_s: float | None,
        board: Board,
        session: aiohttp.ClientSession,
        engine: tuple[str, ...] = ENGINE,
        reload: Callable[[], TradingBot | None] | None = None,
    ) -> None:
        self._bot, self._supplies, self._state = bot, supplies, state
        self._duration_s, self._board, self._session, self._engine_command = duration_s, board, session, engine
        self._reload = reload
        self._admin = AdminPort(port_file=state.admin_port, token_file=state.admin_token, session=session)
        self._stop, self._quit = asyncio.Event(), asyncio.Event()
        self._engine: Child | None = None
        self._cluster = (
            LocalCluster(localnet, state=state, board=board, session=session, engine=engine) if localnet else None
        )
        self._failure: Exception | None = None

    # --- from outside
    def stop(self, why: str) -> None:
        """Drain; asking again changes nothing."""
        if not self._stop.is_set():
            self._board.stopping = why
            self._board.say(f"draining ({why}): no new signals, following trades in flight to their end")
            self._stop.set()
        else:
            self._board.say("still draining; SIGQUIT (Ctrl-\\) leaves at once, trades stay journalled")

    def quit(self) -> None:
        """Leave at once: what is open stays journalled for the next run."""
        self.stop("SIGQUIT")
        self._quit.set()

    async def run(self) -> Outcome:
        """
        Run until stopped, and return how it ended.

        Raises:
            BadInput: The engine refuses its settings.
            LeftOpen: As the next, with trades still open.
            Failed: Something needed cannot be had.
            OSError: The state directory cannot be written.
        """
        await asyncio.to_thread(self._end_orphans)
        self._state.admin_port.unlink(missing_ok=True)
        loops: list[asyncio.Task[None]] = []
        audit: dict[str, Any] | None = None
        code = FAILED
        try:
            started = await self._unless_stopped(self._start())
            if started:
                work = [self._keep_engine(), self._poll(), self._end_in_time()]
                work += [self._keep_localnet()] if self._cluster else []
                work += [self._follow_manifest()] if self._reload else []
                loops = [asyncio.create_task(loop) for loop in work]
                for loop in loops:
                    loop.add_done_callback(self._loop_ended)
                await self._stop.wait()
            code = await self._drain()
            if self._failure is None and not self._quit.is_set():
                audit = await self._audit() if started else None
            if code in (DRAINED, FAILED) and isinstance(left := (audit or {}).get("open"), int) and left > 0:
                code = OPEN
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            try:
                await self._end_children()
            except OSError as error:  # a full disk: all have ended, it only could not be noted
                self._failure = self._failure or error
        if self._failure is not None:
            if code == OPEN and not isinstance(self._failure, BadInput):
                raise LeftOpen(f"{_in_words(self._failure)}; trades are still open, run again to end them")
            raise self._failure
        return Outcome(code, audit)

    # --- start
    def _end_orphans(self) -> None:
        """End what a killed run left: two engines must never trade from one ledger, nor two localnets write one bank."""
        for role, process in sorted(self._state.recorded().items()):
            self._board.say(f"ending the {role} (pid {process.pid}) that an earlier run left behind")
            process.end(patience_s=LOCALNET_END_S if role == "localnet" else 0)
            self._state.record(role, None)

    async def _start(self) -> None:
        if self._cluster is not None:
            await self._cluster.start()
            if self._bot.spec.mode == "Live":
                await self._cluster.fund(self._bot, self._supplies.wallet_address)
        self._configure()

    def _configure(self) -> int:
        """Write the engine's settings; return their generation."""
        chain = self._chain
        assert chain is not None
        return configure(self._bot, chain=chain, supplies=self._supplies, state=self._state)

    @property
    def _chain(self) -> Chain | None:
        return self._cluster.chain if self._cluster else self._supplies.chain

    async def _unless_stopped(self, work: Any) -> bool:
        """Await `work`, but not longer than until the stop; return whether it was done."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            task.cancel()
        results = await asyncio.gather(task, return_exceptions=True)
        if isinstance(results[0], asyncio.CancelledError):
            return False
        if isinstance(results[0], BaseException):
            raise results[0]
        return True

    # --- kept running
    async def _keep_engine(self) -> None:
        backoff = Backoff()
        command = (*self._engine_command, "run", "--config", str(self._state.engine_config))
        while not self._stop.is_set():
            self._state.admin_port.unlink(missing_ok=True)
            self._state.last_status.unlink(missing_ok=True)
            began = time.monotonic()
            self._engine = Child.start("engine", (*command, "--parent-pid", str(os.getpid())), state=self._state)
            code = await self._engine.wait()
            if self._stop.is_set():
                return
            log = self._state.log("engine")
            if code == BAD_SETTINGS:
                raise BadInput(f"the engine refuses its settings:\n{self._engine.last_words(lines=10)}")
            take_last(self._board, self._state.last_status)
            self._board.engine_ended()
            self._board.restarts += 1
            pause_s = backoff.after(time.monotonic() - began)
            self._board.say(f"the engine ended ({how_it_ended(code)}), starting it again in {pause_s:g} s; log: {log}")
            await asyncio.sleep(pause_s)

    async def _keep_localnet(self) -> None:
        cluster, backoff = self._cluster, Backoff()
        assert cluster is not None
        while not self._stop.is_set():
            began = time.monotonic()
            code = await cluster.wait()
            pause_s = backoff.after(time.monotonic() - began)
            log = self._state.log("localnet")
            self._board.say(f"localnet ended ({how_it_ended(code)}), starting it again in {pause_s:g} s; log: {log}")
            await asyncio.sleep(pause_s)
            before = cluster.chain
            try:
                await cluster.start()
            except Failed as error:
                self._board.say(str(error))
                continue
            if cluster.chain != before and not self._stop.is_set():
                self._configure()
                if self._engine is not None:
                    what = "its clock moved" if same_nodes(before, cluster.chain) else "it moved to other ports"
                    self._board.say(f"localnet came back and {what}: starting the engine again")
                    await self._engine.end(patience_s=QUIT_S, first=signal.SIGQUIT)

    async def _poll(self) -> None:
        looked = 0.0
        while True:
            await self._ask_status()
            if time.monotonic() - looked > LOGS_S:
                looked = time.monotonic()
                await asyncio.to_thread(self._state.trim_logs)
            await asyncio.sleep(POLL_S)

    async def _ask_status(self) -> None:
        try:
            self._board.take(await self._admin.status())
        except AdminUnreachable:
            self._board.answers = False

    async def _end_in_time(self) -> None:
        """The duration counts from when the engine is ready, so that a slow start takes nothing of it."""
        if self._duration_s is None:
            await self._stop.wait()
            return
        began = time.monotonic()
        while self._board.status.get("phase") != "READY":
            reasons = self._board.status.get("reasons") or []
            resolving = any(isinstance(r, dict) and r.get("type") == "Resolving" for r in reasons)
            if time.monotonic() - began > (RESOLVED_S if resolving else READY_S):
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(self._duration_s)
        self.stop(f"--duration of {self._duration_s:g} s is over")

    async def _follow_manifest(self) -> None:
        """Apply an edited manifest: what may change while it runs at once, the rest at the next start."""
        assert self._reload is not None
        while True:
            await asyncio.sleep(1.0)
            bot = await asyncio.to_thread(self._reload)
            if bot is None:
                continue
            if fixed_part(bot) != fixed_part(self._bot):
                self._board.say("the manifest changed in a part that needs a new start: stop, and run again")
                continue
            self._bot = bot
            generation = self._configure()
            try:
                await self._admin.live(generation=generation, paused=bot.spec.paused, risk=risk(bot.spec))
                self._board.say(f"the changed manifest is in force (generation {generation})")
            except AdminUnreachable as error:
                self._board.say(f"the engine did not take the changed manifest, its next start will: {error}")

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error if isinstance(error, Exception) else Failed(str(error))
            self.stop(_in_words(error))

    # --- stop
    async def _drain(self) -> int:
        """Drain the engine and return the run's exit code."""
        engine = self._engine
        if engine is None:  # stopped before anything could trade
            return FAILED if self._failure else DRAINED
        if engine.ended:  # crashed, and not yet started again
            return OPEN if open_intents(self._board) else FAILED
        code = await drain(
            engine, admin=self._admin, board=self._board, shutdown=self._bot.spec.shutdown, leave=self._quit
        )
        take_last(self._board, self._state.last_status)
        return code

    async def _audit(self) -> dict[str, Any] | None:
        """Ask the chain what became of every trade; a paper bot has none there."""
        if self._bot.spec.mode == "Paper":
            return None
        node = self._cluster.audit_node if self._cluster else None  # elsewhere the settings name the nodes
        self._board.say("asking the chain what became of every trade")
        ended = asyncio.create_task(self._quit.wait())
        asking = asyncio.create_task(ask_audit(self._state, rpc=node, engine=self._engine_command, limit_s=AUDIT_S))
        await asyncio.wait({ended, asking}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not asking.done():
            asking.cancel()
        results = await asyncio.gather(asking, return_exceptions=True)
        if isinstance(results[0], Failed):
            self._board.say(str(results[0]))
        if isinstance(results[0], BaseException):
            return None
        self._tell_audit(results[0])
        return results[0]

    def _tell_audit(self, audit: dict[str, Any]) -> None:
        """Say what the audit found, if it is not what everybody hopes for."""
        verdict = audit.get("verdict")
        if verdict in NO_PROOF:
            self._board.say(f"the audit proved nothing ({verdict}); `tradingbot audit` tells why")
        for finding in (audit.get("findings") or [])[:SHOWN_FINDINGS]:
            if isinstance(finding, dict):
                self._board.say(f"audit: {finding.get('kind')}: {finding.get('message')} {finding.get('advice') or ''}")

    async def _end_children(self) -> None:
        if self._engine is not None and not self._engine.ended:
            await self._engine.end(patience_s=0)
        if self._cluster is not None:
            await self._cluster.end()
        self._supplies.forget()  # first: on a full disk what follows fails
        for role in ("engine", "localnet"):
            self._state.record(role, None)


def _in_words(error: BaseException) -> str:
    """Return why a loop ended, for people; what they can put right comes without the name of an exception."""
    if isinstance(error, BadInput | Failed):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return f"the state directory cannot be used: {error.strerror}"
    return f"{type(error).__name__}: {error}"
