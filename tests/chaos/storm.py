"""Break the world while real engines trade; then let it heal, let everything settle, and ask the chain."""

from __future__ import annotations

import asyncio
import signal
import time

import aiohttp
from chaos.faults import Act
from chaos.ledger_view import OPEN, LedgerView, PostgresView, SqliteView
from chaos.minima import shortfalls
from chaos.pace import SETTLING, Pace
from chaos.processes import Process, wait_gone
from chaos.report import Report
from chaos.world import World, WorldBroken

ARMED_S = 9.0
"""How long an armed engine may go without reaching its crash point before it is killed anyway."""
RARE_ARMED_S = 16.0
"""The same for a point that has to be provoked: an attempt must expire, or a fork hit a confirmed trade."""
SPARED = 6
"""Engines of long storms that are armed with a common point may take so many times as long."""
PROVOKE_S = 2.5
"""How long after its start an engine that is armed with a rare point gets what brings it about; again and again."""
READY_S = 8.0
"""How long an act that needs a trading engine waits for one."""
TAKE_S = 20.0
"""How long a stopped engine's successor may need to take over, on a busy machine."""
SETTLING_OF_MANY = 1.05
"""What is open when the faults end counts against the minima, but hardly in a storm of so many trades."""
BAD_INPUT = 2
"""Exit code of an engine that would never start."""
UNEXPECTED = ('"event": "trade task failed"', '"event": "loop failed"')
FENCED = ("fenced", "another process holds the shard")


class Storm:
    """
    One seed's run over a started world.

    Args:
        before: What the earlier storms of the same run have counted.
    """

    def __init__(self, world: World, pace: Pace, *, before: Report | None = None, say: bool = False) -> None:
        self._world, self._pace, self._plan, self._say = world, pace, pace.plan, say
        self._before = before or Report()
        self.report = Report(seeds=[world.setup.seed])
        url = world.setup.ledger_url
        self._ledger: LedgerView = PostgresView(url) if url else SqliteView(world.sqlite)
        self._engine: Process | None = None
        self._point = ""
        self._started_s = 0.0
        self._engines: list[Process] = []
        self._zombies: list[Process] = []
        self._heal: list[tuple[float, str]] = []
        self._runner = False
        self._provoked_s = 0.0
        self._begun_s = time.monotonic()

    async def rage(self, *, trades: int, limit_s: float) -> None:
        """Go on until so many trades are filled and enough was broken, or until the time is up."""
        begun = self._begun_s = time.monotonic()
        act_due = begun + 3.0
        told = begun
        while time.monotonic() - begun < limit_s:
            now = time.monotonic()
            await self._keep_an_engine()
            await self._heal_due(now)
            if now >= act_due:
                await self._perform(self._pace.next_act(await self._so_far()))
                act_due = time.monotonic() + self._plan.pause_s()
            if (await self._ledger.states())["DONE"] >= trades:
                await self._count()
                if not self._lacking(trades):
                    break
                self._pace.hurry()
            if self._say and now - told > 10:
                told = now
                print(
                    f"  {now - begun:5.0f} s  {dict(await self._ledger.states())}  engines {self.report.engines}",
                    flush=True,
                )
            await asyncio.sleep(0.1)
        self.report.seconds = time.monotonic() - begun

    async def settle(self) -> None:
        """Take all faults back, follow what is open to its end, audit from the fault-free node, and read the logs."""
        for process in [*self._zombies, *([self._engine] if self._engine else [])]:
            process.send(signal.SIGCONT)
            await self._kill(process, random=True)
        self._engine = None
        await self._with_localnet(self._world.unfault())
        self._heal.clear()
        for _ in range(4):
            engine = await self._world.start_engine()
            self._engines.append(engine)
            self.report.engines += 1
            self._engine = engine
            await self._trading(limit_s=40)  # what was open is resolved before it is ready
            engine.send(signal.SIGTERM)
            if not await wait_gone(engine.pid, limit_s=60):
                await engine.kill()
            states = await self._ledger.states()
            if not sum(states[s] for s in OPEN):
                break
        await asyncio.sleep(40 * self._world.setup.slot_ms / 1000)
        await self._count()
        logs = [e.log.read_text(errors="replace") for e in self._engines]
        self.report.internal_errors = sum(log.count(text) for log in logs for text in UNEXPECTED)
        self.report.audit = {k: v for k, v in (await self._world.audit()).items() if isinstance(v, int)}

    async def end(self) -> None:
        """End every process that this storm started."""
        for process in self._engines:
            process.send(signal.SIGCONT)
            await process.kill()
        await self._ledger.close()

    def _lacking(self, trades: int) -> list[str]:
        """Return what would be missing if the faults ended now, of this storm and of the run with it."""
        margin = SETTLING if self._pace.dense else SETTLING_OF_MANY
        lacking = shortfalls(self._with_before(), wanted_trades=self._before.trades + trades, margin=margin)
        if self._pace.dense:
            lacking += shortfalls(self.report, wanted_trades=trades, margin=margin)
        return lacking

    def _with_before(self) -> Report:
        total = Report()
        total.add(self._before)
        total.add(self.report)
        return total

    async def _so_far(self) -> Report:
        """Return the run's counts that the pace goes by."""
        self.report.trades = (await self._ledger.states())["DONE"]
        self.report.expired_then_retried = await self._ledger.retried()
        return self._with_before()

    async def _count(self) -> None:
        report, states = self.report, (await self._ledger.states())
        report.states, report.trades = states, states["DONE"]
        report.failed_on_chain = states["FAILED"]
        report.expired_then_retried = await self._ledger.retried()
        report.attempts = await self._ledger.attempts()
        report.forked_away = await self._ledger.events("FORK")
        report.expired = await self._ledger.events("EXPIRE")
        report.written_under_old_epochs = await self._ledger.written_under_old_epochs()
        report.epochs = await self._ledger.epoch()

    # --- engines
    async def _keep_an_engine(self) -> None:
        """See whether the engine died at its point, and start the next one; kill one that never reaches it."""
        engine = self._engine
        if engine is not None and engine.running:
            lived_s = time.monotonic() - self._started_s
            if self._point.startswith("release") and lived_s > PROVOKE_S and self._is_ready(engine):
                engine.send(signal.SIGTERM)  # the drain reaches it; one that still starts would only end
            if self._point and lived_s > self._armed_s():
                await self._kill(engine, random=True)
            elif self._point and time.monotonic() - max(self._started_s, self._provoked_s) > PROVOKE_S:
                self._provoked_s = time.monotonic()
                if (act := self._plan.provocation(self._point)) is not None:
                    await self._perform(act)
            return
        if engine is not None and engine.child.returncode == BAD_INPUT:
            raise WorldBroken(f"the engine refuses its settings: {engine.log.read_text()[-2000:]}")
        if engine is not None and self._point and not self._died_of_something_else(engine):
            self.report.kills_at[self._point.partition("#")[0]] += 1
            self.report.attempts_open_at_kill += await self._ledger.open_attempts()
            self._note(f"died at {self._point}")
            self._point = ""
        self._pace.missed(self._point)
        await self._start(crash_at=self._pace.next_point(await self._so_far()))

    def _armed_s(self) -> float:
        """Return how long the engine may go without reaching its crash point before it is killed anyway."""
        if self._plan.is_rare(self._point):
            return RARE_ARMED_S * (1 if self._pace.dense else 2)
        return ARMED_S * (1 if self._pace.dense else SPARED)

    def _died_of_something_else(self, engine: Process) -> bool:
        engine.child.poll()
        return self._runner or not engine.killed

    async def _start(self, *, crash_at: str = "", runner: bool = False) -> Process:
        self._engine = await self._world.start_engine(crash_at=crash_at, runner=runner)
        self._point, self._runner = crash_at, runner
        self._started_s = time.monotonic()
        self._engines.append(self._engine)
        self.report.engines += 1
        self._note(f"engine {self.report.engines} starts, armed with {crash_at or 'nothing'}")
        return self._engine

    async def _kill(self, process: Process, *, random: bool) -> None:
        if not process.running:
            return
        self.report.attempts_open_at_kill += await self._ledger.open_attempts()
        self.report.kills_at_random += random
        if process is self._engine:
            self._pace.missed(self._point)
            self._point = ""
        await process.kill()

    @staticmethod
    def _is_ready(engine: Process) -> bool:
        return '"READY"' in engine.log.read_text(errors="replace")

    async def _trading(self, *, limit_s: float = READY_S) -> bool:
        """Wait until the engine takes signals; False if it dies before, or takes too long."""
        for _ in range(int(limit_s / 0.1)):
            if self._engine is None or not self._engine.running:
                return False
            if self._is_ready(self._engine):
                return True
            await self._wait(0.1)
        return False

    # --- acts
    async def _perform(self, act: Act) -> None:
        kind = act.body.get("kind", act.kind) if act.kind == "node" else act.kind
        done = False
        match act.kind:
            case "node" | "blackout" | "halt":
                done = await self._fault(act)
            case "fork":
                done = await self._fork(act)
            case "kill":
                if self._engine is not None and await self._trading():
                    await self._kill(self._engine, random=True)
                    done = True
            case "zombie":
                done = await self._zombie(act)
            case "freeze":
                done = await self._freeze(act)
            case "runner":
                done = await self._kill_runner()
            case "localnet":
                await self._world.kill_localnet(away_s=act.lasts_s)
                self._heal.clear()
                self.report.localnets_killed += 1
                done = True
        self.report.acts[kind] += done
        self._note(f"{kind} {act.body} for {act.lasts_s:.1f} s" if done else f"{kind} was not possible")

    def _note(self, text: str) -> None:
        """Write the storm's diary, for whoever looks into a run that failed or was slow."""
        with (self._world.directory / "storm.log").open("a") as diary:
            diary.write(f"{time.monotonic() - self._begun_s:7.1f} s  {self.report.trades:6} trades  {text}\n")

    async def _fault(self, act: Act) -> bool:
        body = dict(act.body)
        if body["kind"] == "snapshot":
            tip = (await self._world.info())["slot"]
            if tip < 1_000:
                return False
            body |= {
                "first_slot": tip - 900,
                "last_slot": tip - 310,
            }  # the bank itself, with its status cache, is whole
        outcome = await self._world.fault(body)
        if outcome is not None:
            self._heal.append((time.monotonic() + act.lasts_s, str(outcome["id"])))
        return outcome is not None

    async def _fork(self, act: Act) -> bool:
        confirmed = await self._ledger.confirmed_signatures()
        for _ in range(int(act.lasts_s / 0.05)):  # one that is to hit waits for something to hit
            if confirmed:
                break
            await self._wait(0.05)
            confirmed = await self._ledger.confirmed_signatures()
        outcome = await self._world.fault(act.body)
        if outcome is None:
            return False
        self.report.forks += 1
        self.report.forks_of_confirmed_trades += len(confirmed & set(outcome["dropped"]))
        if act.body["stay"]:
            active = await self._active_faults()
            dead = [f["id"] for f in active if f["kind"] == "dead_fork" and f["id"] not in {i for _, i in self._heal}]
            self._heal += [(time.monotonic() + self._plan.between(1, 6), fault_id) for fault_id in dead]
        return True

    async def _active_faults(self) -> list[dict[str, str]]:
        async with self._world.http.get(f"{self._world.gateway}/localnet/faults") as answer:
            return list(await answer.json())

    async def _heal_due(self, now: float) -> None:
        for due, fault_id in [h for h in self._heal if h[0] <= now]:
            self._heal.remove((due, fault_id))
            await self._world.unfault(fault_id)

    async def _wait(self, seconds: float) -> None:
        """Sleep within an act; faults that are over end meanwhile."""
        await asyncio.sleep(seconds)
        await self._heal_due(time.monotonic())

    async def _zombie(self, act: Act) -> bool:
        """
        Stop the engine, start its successor, wake the old one beside it.

        Not inside a transaction on SQLite, whose file only the end of the process would unlock: that is `_freeze`.
        """
        old = self._engine
        if old is None or not await self._trading():
            return False
        for _ in range(400):
            old.send(signal.SIGSTOP)
            if self._world.setup.ledger_url or not await self._ledger.is_being_written():
                return await self._succeed(old, act)
            old.send(signal.SIGCONT)
            await self._wait(0.01)
        return False

    async def _succeed(self, old: Process, act: Act) -> bool:
        """Start the successor of a stopped engine, and wake the old one beside it: the ledger must refuse what it writes."""
        epoch = await self._ledger.epoch()
        self._pace.missed(self._point)
        successor = await self._start(crash_at=self._pace.next_point(await self._so_far()))
        for _ in range(int(TAKE_S / 0.05)):  # the successor takes over while the old one sleeps
            if (await self._ledger.epoch()) > epoch or successor is None or not successor.running:
                break
            await self._wait(0.05)
        taken = (await self._ledger.epoch()) > epoch
        await self._wait(act.lasts_s)
        self._zombies.append(old)
        seen = len(old.log.read_text(errors="replace"))
        old.send(signal.SIGCONT)
        self.report.zombies += taken
        for _ in range(40):
            text = old.log.read_text(errors="replace")[seen:].lower()
            if any(word in text for word in FENCED):
                self.report.zombies_refused += taken
                break
            if not old.running:
                break
            await self._wait(0.1)
        await asyncio.sleep(self._plan.between(0.0, 1.0))
        self.report.attempts_open_at_kill += await self._ledger.open_attempts()
        self.report.kills_at_random += old.running
        await old.kill()
        self._zombies.remove(old)
        return taken

    async def _freeze(self, act: Act) -> bool:
        """
        Stop the engine inside a database transaction.

        On SQLite the supervisor has to end it before a successor can write; on PostgreSQL the successor does not wait.
        """
        engine = self._engine
        if engine is None or not await self._trading():
            return False
        for _ in range(400):
            engine.send(signal.SIGSTOP)
            if await self._ledger.is_being_written():
                self.report.frozen_in_transaction += 1
                if self._world.setup.ledger_url:
                    return await self._succeed(engine, act)  # the successor ends the stopped one's session
                await asyncio.sleep(act.lasts_s)
                await self._kill(engine, random=True)
                return True
            engine.send(signal.SIGCONT)
            await asyncio.sleep(0.004)
            if not engine.running:
                break
        return False

    async def _kill_runner(self) -> bool:
        """Kill the runner of an engine: the engine must notice, drain, and leave by itself."""
        if self._engine is not None:
            await self._kill(self._engine, random=True)
        engine = await self._start(runner=True)
        await self._trading()
        await asyncio.sleep(self._plan.between(0.2, 2.0))
        engine.child.kill()
        engine.child.wait(5)
        self.report.runners_killed += 1
        if not await wait_gone(engine.pid, limit_s=40):
            raise AssertionError(f"engine {engine.pid} trades on without its runner: {engine.log}")
        return True

    async def _with_localnet(self, doing: object) -> None:
        try:
            await doing  # type: ignore[misc]
        except aiohttp.ClientError:
            await self._world.kill_localnet(away_s=0.1)
