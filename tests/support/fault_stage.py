"""A stage for fault tests: localnet and the engine as processes, seen from outside only; one node never lies, for the audit."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from chaos.processes import TESTS
from solders.keypair import Keypair
from support.localnet_process import engine_settings, fund

TOKENS = {
    "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263": "BONK",
    "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm": "WIF",
    "JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN": "JUP",
}
NODES = 3
ALL_NODES = list(range(NODES))
SLOT_MS = float(os.environ.get("STAGE_SLOT_MS", "40"))
"""A machine that is busy otherwise keeps up with longer ones."""
SPEED = 60
"""A bar lasts a second."""
HEALTH_S, JITTER_S, PROBE_S = 0.8, 0.2, 1.5
"""`rpc.health`: how often a node is probed, and how long that may take."""
BUSY_SHARE, PATIENCE = 0.1, 2
"""An engine under test takes a fifth to a third of a processor."""
PENDING = ("INTENT", "SIGNED", "SUBMITTED", "CONFIRMED", "EXPIRED")


@contextmanager
def localnet(*options: str) -> Iterator[dict[str, Any]]:
    """Start localnet with one node more, which has no faults; yield its line with `info`; stop it by its pid."""
    command = [sys.executable, "-m", "tradingbot_engine", "localnet", "--output", "json"]
    command += ["--nodes", str(NODES + 1), "--audit-node", str(NODES), "--slot-ms", str(SLOT_MS)]
    command += [
        "--speed",
        str(SPEED),
        "--scenario",
        "Viral",
        "--seed",
        "11",
        "--parent-pid",
        str(os.getpid()),
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        yield {**json.loads(process.stdout.readline()), "pid": process.pid}
    finally:
        process.terminate()
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


def processor_s(pid: int) -> float:
    """Return how many seconds of a processor a process has had; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def starved_s(pid: int) -> float:
    """Return how many seconds a process's first thread could have run and was not let; it runs the event loop."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


class Stage:
    """One bot on a localnet: its settings, its engine's process, and what can be seen and broken from outside."""

    def __init__(
        self, line: dict[str, Any], folder: Path, http: aiohttp.ClientSession, settings: dict[str, Any]
    ) -> None:
        self.line, self.folder, self.settings, self._http = line, folder, settings, http
        self.process: asyncio.subprocess.Process | None = None
        self.environment: dict[str, str] = {}

    # --- the engine
    async def start(self, command: str = "run", *options: str) -> None:
        """Start an engine with the settings as they are now, by one of its commands."""
        config = self.folder / "engine.json"
        config.write_text(json.dumps(self.settings))
        Path(self.settings["admin"]["port_file"]).unlink(missing_ok=True)
        path = os.pathsep.join(p for p in (str(TESTS), os.environ.get("PYTHONPATH", "")) if p)
        with (self.folder / "engine.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    str(TESTS / "support" / "fault_launch.py"),
                    command,
                    "--config",
                    str(config),
                    *options,
                ),
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": path} | self.environment,
                start_new_session=True,
            )

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 45) -> int:
        """Send a signal and wait for the end; return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def ask(self, path: str, *, method: str = "GET", body: Any = None) -> str:
        """Ask the admin port; `body` is sent as JSON."""
        port, token = (Path(self.settings["admin"][name]).read_text().strip() for name in ("port_file", "token_file"))
        limit = aiohttp.ClientTimeout(total=20)
        headers = {"Authorization": f"Bearer {token}"}
        async with self._http.request(
            method, f"http://127.0.0.1:{port}{path}", headers=headers, timeout=limit, json=body
        ) as answer:
            return await answer.text()

    async def status(self) -> dict[str, Any]:
        return dict(json.loads(await self.ask("/v1/status")))

    async def metric(self, sample: str) -> float:
        """Return the value of one sample, written as /metrics writes it; 0 without it."""
        for line in (await self.ask("/metrics")).splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    async def sent(self) -> int:
        """Return how many intents had a first byte sent."""
        return round(await self.metric("tradingbot_signal_to_send_seconds_count"))

    async def until(
        self, holds: Callable[[dict[str, Any]], Any], *, seconds: float = 100, every_s: float = 0.1
    ) -> dict[str, Any]:
        """
        Poll the status until `holds` says so; the last status is in the error if it never does.

        The seconds are those of an engine that runs: on a machine that gives it hardly any processor it is waited for up to
        `PATIENCE` times as long, and asked less often, since each answer would cost it what it has.
        """
        assert self.process is not None
        last: Any = None
        began_s, worked_s = time.monotonic(), processor_s(self.process.pid)
        while self.process.returncode is None:
            asked_s = time.monotonic()
            try:
                last = await self.status()
                verdict = holds(last)
                if await verdict if inspect.isawaitable(verdict) else verdict:
                    return dict(last)
            except (OSError, TimeoutError, aiohttp.ClientError) as error:
                last = last or repr(error)
            passed_s = time.monotonic() - began_s
            worked = processor_s(self.process.pid) - worked_s >= seconds * BUSY_SHARE
            if passed_s >= seconds and (worked or passed_s >= seconds * PATIENCE):
                break
            await asyncio.sleep(max(every_s, time.monotonic() - asked_s))
        tail = (self.folder / "engine.log").read_text()[-3000:]
        raise AssertionError(
            f"never came true; exit code {self.process.returncode}, {time.monotonic() - began_s:.0f} s, "
            f"last status {json.dumps(last)[:4000]}, log {tail}"
        )

    async def trading(self) -> dict[str, Any]:
        """Wait until trades come through."""
        return await self.until(lambda s: s["phase"] == "READY" and done(s) >= 2)

    def waited_s(self) -> float:
        """Return for how long the engine and localnet have waited for a processor that others had; by the kernel's count."""
        assert self.process is not None
        return sum(starved_s(pid) for pid in (self.process.pid, self.line["pid"]))

    # --- floods
    def flood(self, *, each: int = 0, at_once: int = 0) -> None:
        """Let each wish bring about so many more from now on, and the next exit `at_once`; see `fault_launch.flood`."""
        path = Path(self.environment["STAGE_FLOOD"])
        for told, name in ((each, path), (at_once, Path(f"{path}.once"))):
            if told or name == path:
                new = name.with_suffix(".new")
                new.write_text(str(told))
                new.replace(name)

    # --- faults
    async def fault(self, kind: str, **body: Any) -> str:
        """Switch a fault of localnet on; return its id."""
        async with self._http.post(f"{self.line['swap']}/localnet/faults", json={"kind": kind, **body}) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["id"])

    async def heal(self, fault_id: str = "") -> None:
        """Switch one fault off, or all."""
        tail = f"/{fault_id}" if fault_id else ""
        async with self._http.delete(f"{self.line['swap']}/localnet/faults{tail}") as answer:
            assert answer.status < 300, await answer.text()

    # --- the ledger and the chain
    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Read the ledger."""
        if url := self.settings["ledger"].get("url"):
            return rows_of_postgres(url, sql)
        path = self.settings["ledger"]["sqlite_path"]
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            return db.execute(sql).fetchall()

    def log(self) -> list[dict[str, Any]]:
        """Return what the engines of this stage wrote."""
        lines = (self.folder / "engine.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def faults_of_the_program(self) -> list[str]:
        """Return the log lines that no fault explains."""
        return [str(line) for line in self.log() if line.get("event") in ("trade task failed", "loop failed")]

    async def settle(self) -> dict[str, Any]:
        """Drain, follow what is left with a second engine, and return the audit's proof from the node without faults."""
        await self.heal()
        if self.process is not None and self.process.returncode is None:
            await self.stop()
        if self.rows(f"SELECT 1 FROM intents WHERE state IN {PENDING} LIMIT 1"):
            self.settings["strategies"] = [s | {"allocation_percent": 0.01} for s in self.settings["strategies"]]
            self.settings["shutdown"] |= {"graceful": True, "trade_timeout_s": 30, "force_timeout_s": 60}
            self.environment = {}
            await self.start()
            await self.until(lambda s: s["phase"] == "READY")
            await self.stop(seconds=70)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tradingbot_engine", "audit", "--config", str(self.folder / "engine.json")),
            *("--rpc", self.line["nodes"][NODES]["http"], "--output", "json"),
            stdout=asyncio.subprocess.PIPE,
        )
        text, _ = await process.communicate()
        proof = json.loads(text)
        return dict(proof) | {"code": process.returncode}

    async def prove(self) -> dict[str, Any]:
        """Settle, and see that nothing is doubled, lost, phantom or open, and that no task died."""
        proof = await self.settle()
        found = {name: proof[name] for name in ("code", "doubled", "lost", "phantom", "open")}
        assert found == {"code": 0, "doubled": 0, "lost": 0, "phantom": 0, "open": 0}, proof
        assert not self.faults_of_the_program()
        return proof


def rows_of_postgres(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Read a PostgreSQL database; blocks."""

    async def read() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url, timeout=20)
        try:
            return [tuple(row) for row in await connection.fetch(sql, timeout=20)]
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:  # a loop of its own, beside the test's
        return thread.submit(asyncio.run, read()).result()


@asynccontextmanager
async def stage(
    line: dict[str, Any], folder: Path, *, lanes: int = 2, hold_bars: tuple[int, ...] = (1, 2), **changes: Any
) -> AsyncIterator[Stage]:
    """Make a funded bot on that localnet; `changes` are settings of groups, laid over those of the stage."""
    limit = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=limit) as http:
        async with http.get(f"{line['swap']}/localnet/info") as answer:
            line = {**line, "info": await answer.json()}
        wallet = Keypair()
        await fund({**line, "nodes": line["nodes"][NODES:]}, wallet, sol=200)
        bot = engine_settings({**line, "nodes": line["nodes"][:NODES]}, folder=folder, wallet=wallet, tokens=TOKENS)
        share = int(10_000 / lanes) / 100
        bot["strategies"] = [
            {
                "name": f"beat-{n}",
                "type": "metronome",
                "allocation_percent": share,
                "parameters": {"holdBars": hold_bars[n % len(hold_bars)]},
            }
            for n in range(lanes)
        ]
        for group, values in laid_over(OWN, changes).items():
            bot[group] = laid_over(bot.get(group, {}), values)
        acts = Stage(line, folder, http, bot)
        await acts.heal()
        try:
            yield acts
        finally:
            if acts.process is not None and acts.process.returncode is None:
                acts.process.kill()
                await acts.process.wait()
            await acts.heal()


OWN: dict[str, Any] = {
    "rpc": {
        "request_timeout_s": 2.0,
        "health": {
            "interval_s": HEALTH_S,
            "jitter_s": JITTER_S,
            "probe_timeout_s": PROBE_S,
            "probes_per_second": 10,
        },
        "breaker": {"failure_threshold": 3, "cooldown_s": 2},
    },
    "market": {"max_staleness_ms": 5_000},
    "risk": {
        "capital": 100 * 10**9,
        "max_strategy_percent": 100,
        "max_position_percent": 0.02,
        "strategy_drawdown_percent": 99,
        "drawdown": {"warning_percent": 90, "halt_percent": 95, "emergency_percent": 99},
        "daily_loss": {"warning_percent": 90, "halt_percent": 95},
        "failed_fee_budget_lamports": 10**12,
        "max_open_intents": 64,
    },
    "execution": {
        "max_slippage_bps": 500,
        "max_price_impact_bps": 2_000,
        "resend_interval_s": 0.2,
        "poll_interval_s": 0.1,
        "priority_fee": {"max_lamports": 10_000},
    },
    "health": {"interval_s": 0.25},
    "shutdown": {"trade_timeout_s": 20, "force_timeout_s": 40},
    "logging": {"level": "info"},
}
"""Small trades, short patience: what takes minutes on a public cluster takes seconds here."""


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with the values of `above` over it, group by group."""
    out = dict(below)
    for name, value in above.items():
        out[name] = laid_over(out.get(name, {}), value) if isinstance(value, Mapping) else value
    return out


def done(status: Mapping[str, Any]) -> int:
    """Return how many trades are final."""
    return int(status.get("intents", {}).get("DONE", 0))


def reasons(status: Mapping[str, Any]) -> set[str]:
    """Return the types of the reasons."""
    return {reason["type"] for reason in status.get("reasons", [])}


def node(status: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what status shows of one endpoint."""
    (found,) = [endpoint for endpoint in status["rpc"] if endpoint["name"] == name]
    return dict(found)


def check(status: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Return state and message of one health check."""
    (found,) = [c for c in status["health"]["checks"] if c["name"] == name]
    return str(found["state"]), str(found["message"])


def refused_exits(log: list[dict[str, Any]]) -> Counter[str]:
    """Count refused exits by reason, from the log."""
    lines = [line for line in log if line.get("event") == "signal refused" and line.get("purpose") == "EXIT"]
    return Counter(str(line["reason"]) for line in lines)
