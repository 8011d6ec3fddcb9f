"""The world of a chaos run: a localnet with one fault-free node, a funded wallet, one ledger, and engines on it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from chaos.processes import TESTS, Process, engine_command
from solders.keypair import Keypair

TRADED = (
    "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263",
    "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm",
    "JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN",
    "4k3Dyjzvzp8eMZWUXbBCjEvwSkkk59S5iCNLY3QrkX6R",
    "HZ1JovNiVvGrGNiiYvEozEVgZ58xaU3RKwX8eACQBCt3",
    "jtojtomepa8beP8AuQc6eXt5FriJwfFMwQx2v2f9mCL",
)
WALLET_LAMPORTS = 500 * 10**9
CAPITAL_LAMPORTS = 100 * 10**9
START_S = 90.0


class WorldBroken(Exception):
    """Something that no fault explains: localnet does not come up, the audit cannot be done."""


@dataclass(frozen=True)
class Setup:
    """How large and how fast the world is."""

    seed: int
    slot_ms: float = 25.0
    speed: float = 120.0
    """Event time over wall time: a bar lasts 60 / speed seconds."""
    nodes: int = 3
    lanes: int = 4
    """Instances of the metronome per token: positions that are held at once."""
    hold_bars: tuple[int, ...] = (1, 2, 3, 4)
    """How long the lanes hold, in turn; after one bar the exit is under way before its entry is final."""
    workers: int = 16
    """Trades that the engine follows at once."""
    tokens: int = 6
    scenario: str = "viral"
    slippage_bps: int = 60
    ledger_url: str | None = None
    """A PostgreSQL database; SQLite without."""
    mark: str = "Memo"
    """How each swap carries its intent's id (`execution.mark`)."""
    broken: str = ""
    """A rule of the protocol that the engines break (`launch.py`), to see whether the storm notices."""


@dataclass
class World:
    """Everything that runs, and the addresses of it."""

    setup: Setup
    directory: Path
    http: aiohttp.ClientSession
    localnet: Process | None = None
    nodes: list[dict[str, str]] = field(default_factory=list)
    gateway: str = ""
    wallet: Keypair = field(default_factory=Keypair)
    _starts: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def audit_url(self) -> str:
        """The node on which localnet refuses every fault."""
        return self.nodes[-1]["http"]

    @property
    def sqlite(self) -> Path:
        return self.directory / "ledger.sqlite"

    @property
    def config(self) -> Path:
        return self.directory / "engine.json"

    # --- localnet
    async def start(self) -> None:
        """Start localnet, fund the wallet, write the engine's settings."""
        self.directory.mkdir(parents=True, exist_ok=True)
        key = self.directory / "wallet.json"
        key.write_text(json.dumps(list(bytes(self.wallet))))
        key.chmod(0o600)
        await self.start_localnet()
        await self.fund()
        await self.write_config()

    async def start_localnet(self) -> None:
        """Start localnet on its state directory: born the first time, resumed on the same ports afterwards."""
        s = self.setup
        out = self.directory / "localnet.out"
        command = [sys.executable, "-m", "tradingbot_engine", "localnet", "--output", "json"]
        command += ["--nodes", str(s.nodes + 1), "--audit-node", str(s.nodes), "--slot-ms", str(s.slot_ms)]
        command += ["--speed", str(s.speed), "--seed", str(s.seed), "--scenario", s.scenario]
        command += ["--state-dir", str(self.directory / "localnet"), "--parent-pid", str(os.getpid())]
        self.localnet = Process.start(command, log=self.directory / "localnet.log", stdout=out)
        for _ in range(int(START_S / 0.05)):
            text = out.read_text()
            if "\n" in text:
                line = json.loads(text.split("\n", 1)[0])
                self.nodes, self.gateway = line["nodes"], line["swap"]
                return
            if not self.localnet.running:
                raise WorldBroken(f"localnet did not start: {self.localnet.log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)
        raise WorldBroken("localnet did not start in time")

    async def kill_localnet(self, *, away_s: float) -> None:
        """SIGKILL, a pause, and again on the same state: what was not on disk is a fork."""
        assert self.localnet is not None
        await self.localnet.kill()
        await asyncio.sleep(away_s)
        await self.start_localnet()

    async def rpc(self, method: str, params: list[Any] | None = None, *, url: str | None = None) -> Any:
        """Ask the fault-free node (or another)."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or []}
        limit = aiohttp.ClientTimeout(total=5)
        async with self.http.post(url or self.audit_url, json=body, timeout=limit) as answer:
            data = await answer.json(content_type=None)
        if "error" in data:
            raise WorldBroken(f"{method}: {data['error']}")
        return data["result"]

    async def fund(self) -> None:
        """Ask the faucet and wait for finality."""
        address = str(self.wallet.pubkey())
        await self.rpc("requestAirdrop", [address, WALLET_LAMPORTS])
        for _ in range(600):
            if (await self.rpc("getBalance", [address, {"commitment": "finalized"}]))["value"] > 0:
                return
            await asyncio.sleep(0.1)
        raise WorldBroken("the faucet did not fund the wallet")

    async def fault(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Switch a fault on; None if localnet refuses it now (a fork of final blocks)."""
        async with self.http.post(f"{self.gateway}/localnet/faults", json=body) as answer:
            data: dict[str, Any] = await answer.json()
            if answer.status == 409:
                return None
            if answer.status != 201:
                raise WorldBroken(f"localnet does not know the fault {body}: {data}")
            return data

    async def unfault(self, fault_id: str | None = None) -> None:
        """Switch one fault off, or all."""
        tail = f"/{fault_id}" if fault_id else ""
        async with self.http.delete(f"{self.gateway}/localnet/faults{tail}") as answer:
            await answer.read()

    async def info(self) -> dict[str, Any]:
        async with self.http.get(f"{self.gateway}/localnet/info") as answer:
            data: dict[str, Any] = await answer.json()
            return data

    # --- engines
    async def write_config(self) -> None:
        """Render the engine's settings: many small trades, short patience, tight slippage so that some fail."""
        s = self.setup
        clock = (await self.info())["market_clock"]
        share = int(10_000 / s.lanes) / 100
        endpoints = [
            {"name": f"node-{i}", "url": n["http"], "websocket_url": n["websocket"], "requests_per_second": 10_000, "concurrency": 1_000}
            for i, n in enumerate(self.nodes[: s.nodes])
        ]  # fmt: skip
        ledger = {"url": s.ledger_url} if s.ledger_url else {"sqlite_path": str(self.sqlite)}
        settings = {
            "bot": {"name": "chaos", "mode": "Live", "cluster": "localnet", "cluster_id": "chaos"},
            "wallet": {"address": str(self.wallet.pubkey()), "key_file": str(self.directory / "wallet.json")},
            "rpc": {
                "endpoints": endpoints,
                "request_timeout_s": 0.6,
                # Slots are sixteen times as fast as the network's, and so is everything that waits for a node.
                "health": {"interval_s": 2, "jitter_s": 0.3, "probe_timeout_s": 0.6, "probes_per_second": 20},
                "breaker": {"cooldown_s": 4},
            },
            "market": {
                "quote": "SOL",
                "tokens": [{"mint": m} for m in TRADED[: s.tokens]],
                "max_staleness_ms": 5_000,
                "event_time": clock,
                "history_url": self.gateway,
                "price_url": self.gateway,
            },
            "strategies": [
                {"name": f"beat-{n}", "type": "metronome", "allocation_percent": share, "parameters": {"holdBars": s.hold_bars[n % len(s.hold_bars)]}}
                for n in range(s.lanes)
            ],
            "risk": {
                "capital": CAPITAL_LAMPORTS,
                "max_position_percent": 0.02,
                "max_strategy_percent": share,
                "strategy_drawdown_percent": 99,
                "drawdown": {"warning_percent": 90, "halt_percent": 95, "emergency_percent": 99},
                "daily_loss": {"warning_percent": 90, "halt_percent": 95},
                "failed_fee_budget_lamports": 10**12,
                "max_open_intents": 4 * s.workers,
            },
            "execution": {
                "mark": s.mark,
                "swap": {"base_url": self.gateway, "timeout_s": 1.0},
                "max_slippage_bps": s.slippage_bps,
                "max_price_impact_bps": 2_000,
                "resend_interval_s": 0.2,
                "poll_interval_s": 0.1,
                "workers": s.workers,
                "priority_fee": {"max_lamports": 10_000},
            },
            "ledger": ledger,
            "shutdown": {"trade_timeout_s": 20, "force_timeout_s": 40},
            "admin": {"port": 0},
            "logging": {"level": "info"},
        }  # fmt: skip
        self.config.write_text(json.dumps(settings, indent=1))

    async def start_engine(self, *, crash_at: str = "", runner: bool = False) -> Process:
        """Start an engine; it takes the shards from whoever holds them. `runner`: as the child of a runner."""
        number = next(self._starts)
        log = self.directory / f"engine-{number:04d}.log"
        command = engine_command("run", "--config", str(self.config))
        env = {"TRADINGBOT_CRASH_AT": crash_at} if crash_at else {}
        env |= {"CHAOS_BREAK": self.setup.broken} if self.setup.broken else {}
        if not runner:
            return Process.start([*command, "--parent-pid", str(os.getpid())], log=log, **env)
        pid_file = self.directory / f"engine-{number:04d}.pid"
        process = Process.start(
            [sys.executable, str(TESTS / "chaos" / "runner.py"), str(pid_file), *command], log=log, **env
        )
        for _ in range(500):
            if pid_file.exists() and pid_file.read_text():
                process.pid = int(pid_file.read_text())
                return process
            await asyncio.sleep(0.02)
        raise WorldBroken("the runner started no engine")

    async def audit(self) -> dict[str, Any]:
        """Compare chain and ledger by the product's own command, asked from the fault-free node."""
        command = [sys.executable, "-m", "tradingbot_engine", "audit", "--state-dir", str(self.directory)]
        command += ["--rpc", self.audit_url, "--output", "json"]
        out = self.directory / "audit.json"
        process = Process.start(command, log=self.directory / "audit.log", stdout=out)
        while process.running:
            await asyncio.sleep(0.1)
        text = out.read_text().strip()
        if not text:
            raise WorldBroken(f"the audit failed: {process.log.read_text()[-2000:]}")
        return dict(json.loads(text.splitlines()[-1]))

    async def stop(self) -> None:
        """End localnet."""
        if self.localnet is not None:
            await self.localnet.kill()
