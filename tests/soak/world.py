"""What a soak trades on: localnet with one fault-free node, one engine, and mild trouble all the time."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from typing import Any

from chaos.processes import TESTS, Process
from chaos.world import START_S, World, WorldBroken

METRONOME_PERCENT, REAL_PERCENT = 20, 10
SMALL = 100
"""Memories that are bounded by settings are full when the warm-up ends: what grows then, leaks."""
REAL = (("momentum", "momentum_5m"), ("reversion", "mean_revert_1h"))
TROUBLES: tuple[dict[str, Any], ...] = (
    {"kind": "latency", "latency_ms": 150, "jitter_ms": 150, "probability": 0.7},
    {"kind": "rate_limited", "retry_after_s": 1, "probability": 0.5},
    {"kind": "down", "methods": ["websocket"]},
    {"kind": "hang", "methods": ["websocket"]},
    {"kind": "lag", "slots": 10},
    {"kind": "http_error", "status": 502, "probability": 0.3},
)
"""One node has one of them now and then; the two others are well meanwhile."""


class SoakWorld(World):
    """The world of the chaos runs with real strategies beside the metronome, and an engine whose metrics can be read."""

    async def write_config(self) -> None:
        """Change what the chaos runs trade with: real strategies too, a port for the metrics, the patience of the defaults."""
        await super().write_config()
        settings = json.loads(self.config.read_text())
        for lane in settings["strategies"]:
            lane["allocation_percent"] = METRONOME_PERCENT
        settings["strategies"] += [{"name": n, "type": t, "allocation_percent": REAL_PERCENT} for n, t in REAL]
        settings["bot"] |= {"name": "soak", "cluster_id": "soak"}
        settings["rpc"].pop("request_timeout_s")
        settings["execution"].pop("poll_interval_s")
        settings["execution"]["max_slippage_bps"] = 200
        settings["idempotency"] = {"cache_size": SMALL}
        settings["bus"] = {"remembered": SMALL}
        settings["admin"] = {"port": 0, "port_file": str(self.directory / "port")}
        self.config.write_text(json.dumps(settings, indent=1))

    async def start_soaked(self, *, leak: str = "") -> tuple[Process, int]:
        """Start the engine and wait until it trades; return it and its admin port."""
        command = [sys.executable, str(TESTS / "soak" / "launch.py"), "run", "--config", str(self.config)]
        env = {"SOAK_LEAK": leak} if leak else {}
        engine = Process.start([*command, "--parent-pid", str(os.getpid())], log=self.directory / "engine.log", **env)
        for _ in range(int(START_S / 0.1)):
            if '"READY"' in engine.log.read_text(errors="replace"):
                return engine, int((self.directory / "port").read_text())
            if not engine.running:
                break
            await asyncio.sleep(0.1)
        await engine.kill()
        raise WorldBroken(f"the engine did not start: {engine.log.read_text()[-2000:]}")


class Trouble:
    """Lets one node suffer mildly now and then, from a seed."""

    def __init__(self, world: World, *, seed: int) -> None:
        self._world, self._random = world, random.Random(f"soak-{seed}")
        self.counts: Counter[str] = Counter()

    async def forever(self) -> None:
        """Switch troubles on and off until cancelled; all are off when it ends."""
        try:
            while True:
                await asyncio.sleep(self._random.uniform(1, 6))
                trouble = self._random.choice(TROUBLES)
                node = self._random.randrange(self._world.setup.nodes)
                fault = await self._world.fault(trouble | {"nodes": [node]})
                about = "websocket " if trouble.get("methods") else ""
                self.counts[about + trouble["kind"]] += fault is not None
                await asyncio.sleep(self._random.uniform(1, 5))
                if fault is not None:
                    await self._world.unfault(str(fault["id"]))
        finally:
            await self._world.unfault()
