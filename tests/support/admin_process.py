"""
An engine's admin port as a process of its own: the engine's real server, with a stand-in for what is behind it.

    python admin_process.py FOLDER

FOLDER/token holds the token; FOLDER/port is written. FOLDER/state.json is the ledger's row of the bot (generation, paused,
risk), kept over restarts as the ledger keeps it; FOLDER/told.json, if there, overrides fields of the status and may say
{"hangs": true} or {"drain_open": 2}. FOLDER/log holds one line of JSON for each thing that it was told.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from tradingbot_engine.api.server import AdminServer, LiveSettings
from tradingbot_engine.settings import AdminSettings


class StandIn:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._phase = "READY"

    def _read(self, name: str) -> dict[str, Any]:
        path = self._folder / name
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def _note(self, **what: Any) -> None:
        with (self._folder / "log").open("a") as log:
            log.write(json.dumps({"at": time.time(), **what}) + "\n")

    async def _told(self) -> dict[str, Any]:
        told = self._read("told.json")
        while told.get("hangs"):
            await asyncio.sleep(0.05)
            told = self._read("told.json")
        return told

    def ready(self) -> tuple[bool, str]:
        return self._phase == "READY", self._phase

    async def status(self) -> dict[str, Any]:
        told = await self._told()
        row = {"generation": 0, "paused": False} | self._read("state.json")
        reasons = [{"type": "Paused", "since": 0, "message": "by the manifest"}] if row["paused"] else []
        open_intents = told.get("drain_open", 0) if self._phase == "STOPPED" else told.get("openIntents", 0)
        return {
            "botId": "bot-1", "phase": self._phase, "trading": self._phase == "READY" and not row["paused"],
            "generation": row["generation"], "paused": row["paused"], "reasons": reasons, "openIntents": open_intents,
            "inFlight": 0, "queueUtilization": 0.25, "tier": "NORMAL", "shards": [{"shard": 0, "epoch": 1, "since": 0}],
        } | {name: value for name, value in told.items() if name not in ("drain_open", "hangs", "openIntents")}  # fmt: skip

    async def apply_live(self, live: LiveSettings) -> bool:
        await self._told()
        row = {"generation": 0} | self._read("state.json")
        kept = live.generation >= row["generation"]
        self._note(what="live", kept=kept, **live.model_dump())
        if kept:
            (self._folder / "state.json").write_text(json.dumps(live.model_dump()))
        return kept

    async def latch(self, latched: bool) -> None:
        self._note(what="latch", latched=latched)

    async def close_out(self, by: str) -> None:
        await self._told()
        self._note(what="close-out", by=by)

    async def reopen(self) -> None:
        await self._told()
        self._note(what="reopen")

    async def drain(self, *, wait: bool) -> dict[str, Any]:
        told = await self._told()
        self._note(what="drain")
        self._phase = "STOPPED"
        return {"drained": True, "inFlight": 0, "openIntents": told.get("drain_open", 0), "progress": None}


async def main(folder: Path) -> None:
    settings = AdminSettings(host="127.0.0.1", port=0, port_file=folder / "port", token_file=folder / "token")
    server = AdminServer(settings=settings, control=StandIn(folder), registry=CollectorRegistry())
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
