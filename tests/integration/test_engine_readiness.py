"""
`/readyz` of a real engine process: able to take shards, which nodes and market have no part in.

On a bad day of the nodes' a new pod must count as ready, or no rollout would ever end.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

KEY = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
NOBODY = "http://127.0.0.1:9"
"""Where no node listens."""


@asynccontextmanager
async def engine(folder: Path, **changes: Any) -> AsyncIterator[tuple[asyncio.subprocess.Process, Any]]:
    """Run an engine whose only node is away; ends it by SIGKILL if it did not end before."""
    settings = {
        "bot": {"name": "first", "mode": "Paper", "cluster": "devnet"},
        "wallet": {"address": KEY},
        "rpc": {"endpoints": [{"name": "a", "url": NOBODY}], "request_timeout_s": 0.5, "call_deadline_s": 0.5},
        "market": {"tokens": [{"mint": KEY}]},
        "strategies": [{"name": "m", "type": "momentum_5m"}],
        "ledger": {"sqlite_path": str(folder / "ledger.db")},
        "admin": {"port": 0, "port_file": str(folder / "port"), "token_file": str(folder / "token")},
    }
    (folder / "engine.json").write_text(json.dumps(settings | changes))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradingbot_engine", "run", "--config", str(folder / "engine.json")),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        while not (folder / "port").exists():
            assert process.returncode is None, "the engine refuses to start"
            await asyncio.sleep(0.02)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{(folder / 'port').read_text()}") as session:
            yield process, session
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def reasons(session: aiohttp.ClientSession, folder: Path) -> list[str]:
    token = (folder / "token").read_text()
    answer = await session.get("/v1/status", headers={"Authorization": f"Bearer {token}"})
    return [reason["type"] for reason in (await answer.json())["reasons"]]


async def until_told(session: aiohttp.ClientSession, folder: Path, wanted: str) -> None:
    async with asyncio.timeout(60):
        while wanted not in await reasons(session, folder):
            await asyncio.sleep(0.05)


async def readyz(session: aiohttp.ClientSession) -> tuple[int, str]:
    answer = await session.get("/readyz")
    return answer.status, (await answer.text()).strip()


async def test_an_engine_that_no_node_answers_is_ready_and_says_why_it_does_not_trade(tmp_path):
    """Also what is switched off is told from the first moment, not only once it trades."""
    async with engine(tmp_path, queue={"backpressure": False}) as (process, session):
        await until_told(session, tmp_path, "NoEndpoint")
        assert await readyz(session) == (200, "ok")
        token = (tmp_path / "token").read_text()
        answer = await session.get("/v1/status", headers={"Authorization": f"Bearer {token}"})
        status = await answer.json()
        assert status["phase"] == "STARTING"
        assert [off["setting"] for off in status["switchedOff"]] == ["queue.backpressure"]
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_an_engine_whose_ledger_is_away_is_not_ready_until_it_is_back(tmp_path):
    """Then it waits for the nodes, and says nothing of the ledger any more."""
    lock = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    lock.execute("PRAGMA locking_mode = EXCLUSIVE")
    lock.execute("BEGIN EXCLUSIVE")
    async with engine(tmp_path) as (_, session):
        await until_told(session, tmp_path, "LedgerUnavailable")
        status, why = await readyz(session)
        assert (status, why) in ((503, "STARTING"), (503, "LedgerUnavailable"))
        lock.execute("ROLLBACK")
        lock.close()
        await until_told(session, tmp_path, "NoEndpoint")
        assert await reasons(session, tmp_path) == ["NoEndpoint"]
        assert await readyz(session) == (200, "ok")


async def test_an_engine_whose_key_is_wrong_is_not_ready_whatever_the_nodes_do(tmp_path):
    """The key is looked at before any node is asked."""
    (tmp_path / "id.json").write_text("[1, 2, 3]")
    live = {"bot": {"name": "first", "mode": "Live", "cluster": "devnet"}}
    wallet = {"wallet": {"address": KEY, "key_file": str(tmp_path / "id.json")}}
    async with engine(tmp_path, **live, **wallet) as (_, session):
        await until_told(session, tmp_path, "BadConfiguration")
        status, why = await readyz(session)
        assert status == 503
        assert why.startswith("BadConfiguration")
