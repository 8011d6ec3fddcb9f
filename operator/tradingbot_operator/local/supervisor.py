"""
The runner: localnet and one engine as processes, kept running, and stopped in the order that loses nothing.

Start: orphans of a killed run are ended, localnet, money for its wallet, settings, engine. Stop: the engine drains while
localnet still serves, then the audit asks the chain, then localnet goes.
"""

import asyncio
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from tradingbot_operator.crd.v1alpha1 import TradingBot, effective_cluster
from tradingbot_operator.errors import BadInput, Failed
from tradingbot_operator.local import faucet
from tradingbot_operator.local.admin import AdminPort, AdminUnreachable
from tradingbot_operator.local.audit import AUDIT_S, ask_audit
from tradingbot_operator.local.board import Board
from tradingbot_operator.local.chain import Chain, localnet_chain, same_time
from tradingbot_operator.local.drain import QUIT_S, drain, open_intents
from tradingbot_operator.local.localnet import LocalnetOptions, ask_info, localnet_command, remember, wait_for_line
from tradingbot_operator.local.process import ENGINE, Backoff, Child, how_it_ended
from tradingbot_operator.local.render import Places, Resolved, base_units, render, risk
from tradingbot_operator.local.state_dir import StateDir, write_private
from tradingbot_operator.local.summary import NO_PROOF
from tradingbot_operator.local.supplies import Supplies

POLL_S = 0.5
LOGS_S = 60.0
LEAST_FUNDS: dict[str, float] = {"SOL": 100, "USDC": 15_000}
FUND_S = 30.0
READY_S = 60.0
LOCALNET_END_S = 15.0
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
        self._bot, self._supplies, self._state, self._options = bot, supplies, state, localnet
        self._duration_s, self._board, self._session, self._engine_command = duration_s, board, session, engine
        self._reload = reload
        self._admin = AdminPort(port_file=state.admin_port, token_file=state.admin_token, session=session)
        self._stop, self._quit = asyncio.Event(), asyncio.Event()
        self._engine: Child | None = None
        self._localnet: Child | None = None
        self._chain: Chain | None = supplies.chain
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
            Failed: Something needed cannot be had.
        """
        await asyncio.to_thread(self._end_orphans)
        self._state.admin_port.unlink(missing_ok=True)
        loops: list[asyncio.Task[None]] = []
        audit: dict[str, Any] | None = None
        code = 1
        try:
            started = await self._unless_stopped(self._start())
            if started:
                work = [self._keep_engine(), self._poll(), self._end_in_time()]
                work += [self._keep_localnet()] if self._localnet else []
                work += [self._follow_manifest()] if self._reload else []
                loops = [asyncio.create_task(loop) for loop in work]
                for loop in loops:
                    loop.add_done_callback(self._loop_ended)
                await self._stop.wait()
            code = await self._drain()
            if self._failure is None and not self._quit.is_set():
                audit = await self._audit() if started else None
            if code in (0, 1) and isinstance(left := (audit or {}).get("open"), int) and left > 0:
                code = 3
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._end_children()
        if self._failure is not None:
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
        if self._options is not None:
            await self._start_localnet(port=None)
            await self._check_tokens()
            await self._fund()
        self._configure()

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

    async def _start_localnet(self, *, port: int | None) -> None:
        assert self._options is not None
        command = localnet_command(
            self._options,
            state_dir=self._state.localnet,
            parent_pid=os.getpid(),
            port=port,
            engine=self._engine_command,
        )
        self._localnet = Child.start("localnet", command, state=self._state, stdout=self._state.localnet_out)
        try:
            line = await wait_for_line(self._localnet, self._state.localnet_out)
        except Failed as error:
            files = (self._options.replay, self._options.faults)
            raise BadInput(str(error)) if any(file in str(error) for file in files if file) else error from None
        remember(self._state, self._options)
        chain = localnet_chain(line, await ask_info(self._session, line))
        if self._chain is not None and same_time(self._chain.event_time, chain.event_time):
            chain = replace(chain, event_time=self._chain.event_time)
        self._chain = chain
        self._board.say(f"localnet serves {len(self._chain.nodes)} nodes, the first at {self._chain.nodes[0].url}")

    async def _check_tokens(self) -> None:
        """Refuse tokens that were added to the manifest after this localnet had been born: the engine would wait for ever."""
        assert self._chain is not None
        try:
            missing = [
                f"spec.market.tokens[{index}].mint: value {token.mint}: localnet makes its tokens when it is born, and that of"
                f" {self._state.path} was born without this one: remove it, or begin anew with another --state-dir"
                for index, token in enumerate(self._bot.spec.market.tokens)
                if not await faucet.exists(self._session, self._chain.nodes[0].url, token.mint)
            ]
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError, ValueError, KeyError):
            return  # a node that does not answer now is the engine's to wait for
        if missing:
            raise BadInput("\n".join(missing))

    async def _fund(self) -> None:
        """Give a wallet that has nothing its play money; one that traded keeps what it has."""
        quote = self._bot.spec.market.quote
        wanted = {"SOL": LEAST_FUNDS["SOL"], quote: LEAST_FUNDS[quote]}  # SOL pays the fees whatever is traded
        wanted[quote] = max(wanted[quote], (self._bot.spec.risk.capital or 0) * 1.5)
        missing = {name: whole for name, whole in wanted.items() if not self._funded(name).exists()}
        if missing:
            self._board.say(
                f"asking the faucet for play money, and waiting until it is final: wallet {self._supplies.wallet_address}"
            )
            await asyncio.gather(*(self._give(name, whole) for name, whole in missing.items()))
            self._board.say(f"the faucet gave {' and '.join(f'{n:g} {name}' for name, n in missing.items())}")

    async def _give(self, name: str, whole: float) -> None:
        assert self._chain is not None
        address, url = self._supplies.wallet_address, self._chain.nodes[0].url
        units = base_units(whole, name) or 1
        if name == "SOL":
            await faucet.fund(self._session, url, address, lamports=units, patience_s=FUND_S)
        else:
            await faucet.fund_token(
                self._session,
                url,
                str(self._chain.swap_url),
                address,
                mint=faucet.USDC_MINT,
                base_units=units,
                patience_s=FUND_S,
            )
        write_private(self._funded(name), address)

    def _funded(self, name: str) -> Path:
        """Return the file that says that the wallet was given SOL, or USDC."""
        return self._state.path / ("funded" if name == "SOL" else f"funded-{name}")

    def _configure(self) -> None:
        """Write the engine's settings; a change of what may change while it runs gives a new generation."""
        assert self._chain is not None
        remembered = self._state.claim_for(self._bot, fingerprint(self._bot))
        places = Places(
            sqlite=str(self._state.ledger),
            wallet_key=self._supplies.wallet_key,
            admin_port=str(self._state.admin_port),
            admin_token=str(self._state.admin_token),
        )
        resolved = Resolved(
            chain=self._chain,
            wallet_address=self._supplies.wallet_address,
            ledger_url=self._supplies.ledger_url,
            swap_api_key=self._supplies.swap_api_key,
        )
        settings = render(
            self._bot,
            places=places,
            resolved=resolved,
            cluster_id=f"laptop-{remembered['id']}",
            generation=int(remembered["generation"]),
        )
        write_private(self._state.engine_config, json.dumps(settings, indent=2))

    # --- kept running
    async def _keep_engine(self) -> None:
        backoff = Backoff()
        command = (*self._engine_command, "run", "--config", str(self._state.engine_config))
        while not self._stop.is_set():
            self._state.admin_port.unlink(missing_ok=True)
            began = time.monotonic()
            self._engine = Child.start("engine", (*command, "--parent-pid", str(os.getpid())), state=self._state)
            code = await self._engine.wait()
            if self._stop.is_set():
                return
            log = self._state.log("engine")
            if code == BAD_SETTINGS:
                raise BadInput(f"the engine refuses its settings:\n{self._engine.last_words(lines=10)}")
            self._board.engine_ended()
            self._board.restarts += 1
            pause_s = backoff.after(time.monotonic() - began)
            self._board.say(f"the engine ended ({how_it_ended(code)}), starting it again in {pause_s:g} s; log: {log}")
            await asyncio.sleep(pause_s)

    async def _keep_localnet(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            assert self._localnet is not None
            began = time.monotonic()
            code = await self._localnet.wait()
            pause_s = backoff.after(time.monotonic() - began)
            log = self._state.log("localnet")
            self._board.say(f"localnet ended ({how_it_ended(code)}), starting it again in {pause_s:g} s; log: {log}")
            await asyncio.sleep(pause_s)
            before = self._chain
            port = _port(before.nodes[0].url) if before else None
            try:
                await self._start_localnet(port=port)
            except Failed as error:
                self._board.say(str(error))
                continue
            if self._chain != before and not self._stop.is_set():
                self._configure()
                if self._engine is not None:
                    what = "its clock moved" if same_nodes(before, self._chain) else "it moved to other ports"
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
        limit = time.monotonic() + READY_S
        while self._board.status.get("phase") != "READY" and time.monotonic() < limit:
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
            self._configure()
            generation = int(self._state.remembered()["generation"])
            try:
                await self._admin.live(generation=generation, paused=bot.spec.paused, risk=risk(bot.spec))
                self._board.say(f"the changed manifest is in force (generation {generation})")
            except AdminUnreachable as error:
                self._board.say(f"the engine did not take the changed manifest, its next start will: {error}")

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error if isinstance(error, Exception) else Failed(str(error))
            self.stop(str(error) if isinstance(error, BadInput | Failed) else f"{type(error).__name__}: {error}")

    # --- stop
    async def _drain(self) -> int:
        """Drain the engine and return the run's exit code."""
        engine = self._engine
        if engine is None:  # stopped before anything could trade
            return 1 if self._failure else 0
        if engine.ended:  # crashed, and not yet started again
            return 3 if open_intents(self._board) else 1
        return await drain(
            engine, admin=self._admin, board=self._board, shutdown=self._bot.spec.shutdown, leave=self._quit
        )

    async def _audit(self) -> dict[str, Any] | None:
        """Ask the chain what became of every trade; a paper bot has none there."""
        if self._bot.spec.mode == "Paper" or self._chain is None:
            return None
        self._board.say("asking the chain what became of every trade")
        ended = asyncio.create_task(self._quit.wait())
        asking = asyncio.create_task(
            ask_audit(self._state, rpc=self._audit_node(), engine=self._engine_command, limit_s=AUDIT_S)
        )
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

    def _audit_node(self) -> str | None:
        """Return localnet's last node, which faults leave alone; elsewhere the settings name the nodes."""
        return self._chain.nodes[-1].url if self._chain and self._options else None

    async def _end_children(self) -> None:
        if self._engine is not None and not self._engine.ended:
            await self._engine.end(patience_s=0)
        if self._localnet is not None and not self._localnet.ended:
            await self._localnet.end(patience_s=LOCALNET_END_S)
        self._supplies.forget()  # first: on a full disk what follows fails
        for role in ("engine", "localnet"):
            self._state.record(role, None)


def fingerprint(bot: TradingBot) -> str:
    """Return a short hash of what may change while a bot runs."""
    live = json.dumps({"paused": bot.spec.paused, "risk": risk(bot.spec)}, sort_keys=True)
    return hashlib.sha256(live.encode()).hexdigest()[:16]


def fixed_part(bot: TradingBot) -> dict[str, Any]:
    """Return what cannot change while a bot runs: all but the pause and the risk numbers, capital excepted."""
    data = bot.spec.model_dump(by_alias=True, exclude={"paused"})
    data["risk"] = {"capital": bot.spec.risk.capital}
    return {
        "spec": data,
        "name": bot.metadata.name,
        "namespace": bot.metadata.namespace,
        "cluster": effective_cluster(bot.spec),
    }


def same_nodes(one: Chain | None, other: Chain | None) -> bool:
    """Return whether two chains are served at the same addresses."""
    return one is not None and other is not None and (one.nodes, one.swap_url) == (other.nodes, other.swap_url)


def _port(url: str) -> int | None:
    port = url.rstrip("/").rpartition(":")[2].partition("/")[0]
    return int(port) if port.isdigit() else None
