"""
How long an engine with 50 trades in flight takes to go down, beside the slots that those trades need.

A real engine process on localnet at mainnet's pace; the metronome of the chaos runs enters everywhere at one bar's close. As
soon as the last transaction was sent the engine gets SIGTERM. The trades end when their last block is finalized, which a
watcher hears from the chain itself; the engine should be gone at most one slot later, its exit included.
"""

import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from chaos.ledger_view import SqliteView
from chaos.processes import Process, engine_command
from chaos.world import TRADED
from solders.keypair import Keypair
from support.localnet_process import engine_settings, fund, localnet_process

SLOT_MS = 400.0
SPEED = 4
"""A bar closes every 15 s."""
LANES = 9
AT_LEAST = 50
ROUNDS = 3


@dataclass
class Roots:
    """When the chain said that which slot is final, in seconds of the monotonic clock."""

    at_s: list[tuple[int, float]] = field(default_factory=list)

    async def listen(self, url: str) -> None:
        """Listen until cancelled."""
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "slotSubscribe", "params": []})
            async for message in socket:
                told = json.loads(message.data)
                if told.get("method") == "slotNotification":
                    self.at_s.append((told["params"]["result"]["root"], time.monotonic()))

    def final_s(self, slot: int) -> float:
        """Return when a slot became final."""
        return next(at for root, at in self.at_s if root >= slot)


@dataclass(frozen=True)
class Round:
    """One drain; times in seconds after SIGTERM."""

    trades: int
    drained_s: float
    final_s: float
    """When the last trade's block was final."""
    last_send_s: float
    """When the last transaction was sent: negative."""


async def main(emit: Callable[..., None]) -> None:
    options = ("--nodes", "1", "--slot-ms", str(SLOT_MS), "--seed", "5", "--speed", str(SPEED))
    rounds = []
    async with localnet_process(*options) as line:
        roots = Roots()
        listening = asyncio.create_task(roots.listen(line["nodes"][0]["websocket"]))
        try:
            for _ in range(ROUNDS):
                with tempfile.TemporaryDirectory() as name:
                    rounds.append(await drain_once(line, Path(name), roots))
                    print(rounds[-1], file=sys.stderr, flush=True)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    slot_s = SLOT_MS / 1000
    typical = sorted(rounds, key=lambda r: r.drained_s - r.final_s)[len(rounds) // 2]
    took, needed = ((t - typical.last_send_s) / slot_s for t in (typical.drained_s, typical.final_s))
    emit("drain trades in flight", min(r.trades for r in rounds), "trades", "higher", None, AT_LEAST)
    emit("drain from the last send", took, "slots", "lower", needed, round(needed + 1, 3))
    over = [(r.drained_s - r.final_s) / slot_s for r in rounds]
    emit("drain beyond finality, median", statistics.median(over), "slots", "lower", None, 1.0)
    emit("drain beyond finality, worst", max(over), "slots", "lower", None, None)


async def drain_once(line: dict[str, Any], folder: Path, roots: Roots) -> Round:
    """Start an engine on a new ledger, let it fill up with trades, and tell it to go."""
    wallet = Keypair()
    await fund(line, wallet, sol=1000)
    settings = engine_settings(line, folder=folder, wallet=wallet, tokens=dict.fromkeys(TRADED, ""))
    settings["strategies"] = [
        {"name": f"beat-{n}", "type": "metronome", "allocation_percent": 11, "parameters": {"holdBars": 60}}
        for n in range(LANES)
    ]
    settings["risk"] |= {"max_position_percent": 0.01, "max_open_intents": 100}
    settings["execution"] |= {"max_slippage_bps": 500, "max_price_impact_bps": 2000}
    settings["logging"] = {"level": "info"}
    config = folder / "engine.json"
    config.write_text(json.dumps(settings))
    command = engine_command("run", "--config", str(config), "--parent-pid", str(os.getpid()))
    engine = Process.start(command, log=folder / "engine.log")
    view = SqliteView(folder / "ledger.db")
    try:
        await all_sent(engine, view)
        told_s, told_ms = time.monotonic(), time.time() * 1000
        engine.send(signal.SIGTERM)
        code = await asyncio.wait_for(asyncio.to_thread(engine.child.wait), 90)
        gone_s = time.monotonic()
        if code != 0:
            raise RuntimeError(f"the engine ended with {code}: {engine.log.read_text()[-2000:]}")
        sent = (await view._rows("SELECT max(at_ms) FROM transitions WHERE event = 'SEND'"))[0][0]
        slot, trades = (await view._rows("SELECT max(slot), count(*) FROM fills"))[0]
        return Round(
            trades=trades,
            drained_s=gone_s - told_s,
            final_s=roots.final_s(slot) - told_s,
            last_send_s=(sent - told_ms) / 1000,
        )
    finally:
        await engine.kill()


async def all_sent(engine: Process, view: SqliteView) -> None:
    """Wait until enough trades are open and every one was sent."""
    for _ in range(6000):
        states = await view.states()
        if states["SUBMITTED"] + states["CONFIRMED"] >= AT_LEAST and not states["INTENT"] + states["SIGNED"]:
            return
        if not engine.running:
            break
        await asyncio.sleep(0.02)
    raise RuntimeError(f"not enough trades in flight: {dict(await view.states())}; {engine.log.read_text()[-3000:]}")
