"""The engine as a process with `execution.mark: Guard`: killed around the send, resumed, and proven by the audit."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from solders.keypair import Keypair
from support.localnet_process import engine_settings, fund, localnet_process

TOKENS = {
    "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263": "BONK",
    "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm": "WIF",
}
LOCALNET = ("--nodes", "2", "--slot-ms", "40", "--speed", "600", "--scenario", "Viral", "--seed", "11")
PATIENCE_S = 180.0


async def engine(folder: Path, *, crash_at: str = "") -> asyncio.subprocess.Process:
    environment = {**os.environ, **({"TRADINGBOT_CRASH_AT": crash_at} if crash_at else {})}
    with (folder / "engine.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tradingbot_engine", "run", "--config", str(folder / "engine.json")),
            stdout=log,
            stderr=log,
            env=environment,
        )


async def audit(folder: Path) -> tuple[int, dict[str, Any]]:
    config = str(folder / "engine.json")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradingbot_engine", "audit", "--config", config, "--output", "json"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    text = await process.stdout.read()
    return await process.wait(), json.loads(text)


async def resolved(folder: Path, port_file: Path) -> None:
    """Wait until the engine is up, something has been executed, and nothing of before is open any more."""
    states: dict[str, int] = {}
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        if not port_file.exists():
            continue
        with sqlite3.connect(folder / "ledger.db") as books:
            states = dict(books.execute("SELECT state, count(*) FROM intents GROUP BY state").fetchall())
        if states.get("DONE", 0) >= 2 and not {"SIGNED", "SUBMITTED", "EXPIRED"} & states.keys():
            return
    pytest.fail(f"never resolved: {states}")


async def guards_told(admin: dict[str, Any]) -> dict[str, Any]:
    """Return what status says of the guards, once it does."""
    port, token = (Path(admin[name]).read_text().strip() for name in ("port_file", "token_file"))
    deadline = time.monotonic() + PATIENCE_S
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        while time.monotonic() < deadline:
            async with http.get(f"http://127.0.0.1:{port}/v1/status") as answer:
                guards = (await answer.json()).get("guards")
            if guards and guards["outstanding"]:
                return dict(guards)
            await asyncio.sleep(0.5)
    pytest.fail("status never told of a guard")


@pytest.mark.timeout(900)
async def test_a_guarded_bot_that_is_killed_around_its_sends_trades_each_intent_once(tmp_path: Path) -> None:
    """SIGKILL just before a send, and just after one; the next process resumes, drains, and the audit says 0/0/0."""
    async with localnet_process(*LOCALNET) as line:
        wallet = Keypair()
        await fund(line, wallet, sol=100)
        settings = engine_settings(line, folder=tmp_path, wallet=wallet, tokens=TOKENS)
        settings["execution"]["mark"] = "Guard"
        settings["shutdown"] = {"trade_timeout_s": 3600, "force_timeout_s": 3600}  # every trade is followed to its end
        (tmp_path / "engine.json").write_text(json.dumps(settings))
        for point in ("send:before", "send:after#2"):
            process = await engine(tmp_path, crash_at=point)
            try:
                assert await asyncio.wait_for(process.wait(), PATIENCE_S) == -9, point
            finally:
                if process.returncode is None:
                    process.kill()
        port_file = Path(settings["admin"]["port_file"])
        port_file.unlink(missing_ok=True)
        process = await engine(tmp_path)
        try:
            await resolved(tmp_path, port_file)
            guards = await guards_told(settings["admin"])
            assert guards["outstanding"] >= 1
            assert guards["lamportsAtMost"] == guards["outstanding"] * 890_880
            assert guards["failedFeeLamportsToday"] == 0
            process.terminate()
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        code, document = await audit(tmp_path)
        assert (code, document["verdict"]) == (0, "proven"), document
        assert (document["doubled"], document["lost"], document["phantom"], document["open"]) == (0, 0, 0, 0)
        assert document["filled"] >= 2
