"""The engine's commands of a pod on localnet, as processes: funded by the faucet, told the clock, settled after its end."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from solders.keypair import Keypair
from support.localnet_process import engine_settings, localnet_process

TOKENS = {"DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263": "BONK"}
LOCALNET = ("--nodes", "2", "--slot-ms", "40", "--speed", "600", "--scenario", "Viral", "--seed", "11")
OPEN = ("SIGNED", "SUBMITTED", "CONFIRMED")
PATIENCE_S = 180.0
pytestmark = pytest.mark.timeout(600)  # processes start one after another; on a busy machine each takes long


@asynccontextmanager
async def command(
    name: str, folder: Path, *options: str, settings: str = "engine.json"
) -> AsyncIterator[asyncio.subprocess.Process]:
    (folder / "port").unlink(missing_ok=True)
    with (folder / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tradingbot_engine", name, "--config", str(folder / settings), *options),
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ended(process: asyncio.subprocess.Process) -> int:
    return await asyncio.wait_for(process.wait(), PATIENCE_S)


async def until(folder: Path, holds: Any) -> dict[str, Any]:
    """Poll the admin port's status until `holds` says so."""
    last: Any = None
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            port, token = ((folder / name).read_text().strip() for name in ("port", "token"))
            header = {"Authorization": f"Bearer {token}"}
            async with aiohttp.ClientSession() as s, s.get(f"http://127.0.0.1:{port}/v1/status", headers=header) as a:
                last = await a.json()
            if holds(last):
                return dict(last)
        except (OSError, aiohttp.ClientError) as error:
            last = last or repr(error)
        await asyncio.sleep(0.1)
    raise AssertionError(f"never came true; last status {json.dumps(last)[:2000]}")


def attempts(folder: Path) -> int:
    with sqlite3.connect(folder / "ledger.db") as ledger:
        count: int = ledger.execute("SELECT count(*) FROM attempts").fetchone()[0]
    return count


def in_state(folder: Path, *states: str) -> int:
    marks = ",".join("?" * len(states))
    with sqlite3.connect(folder / "ledger.db") as ledger:
        count: int = ledger.execute(f"SELECT count(*) FROM intents WHERE state IN ({marks})", states).fetchone()[0]
    return count


async def test_a_pod_is_funded_and_told_the_clock_and_what_it_left_open_is_settled_without_a_new_trade(tmp_path: Path):
    """
    fund → run → the chain halts with trades open → killed → settle waits, then ends with nothing open, and nothing new.

    Localnet listens on every address, the settings hold neither the wallet's address nor the market's clock, as in a pod.
    """
    wallet = Keypair()
    async with localnet_process(*LOCALNET, "--host", "0.0.0.0") as line, aiohttp.ClientSession() as session:
        elsewhere = line["swap"].replace("127.0.0.1", "127.0.0.3")
        async with session.get(f"{elsewhere}/localnet/info") as answer:
            assert answer.status == 200
        settings = engine_settings(line, folder=tmp_path, wallet=wallet, tokens=TOKENS)
        del settings["wallet"]["address"]
        settings["market"] |= {"event_time": None, "clock_url": f"{line['swap']}/localnet/info"}
        (tmp_path / "engine.json").write_text(json.dumps(settings))

        for _ in range(2):  # the second time nothing is given
            async with command("fund", tmp_path) as funding:
                assert await ended(funding) == 0
        body = {"jsonrpc": "2.0", "id": 1, "method": "getBalance", "params": [str(wallet.pubkey())]}
        async with session.post(line["nodes"][0]["http"], json=body) as answer:
            assert (await answer.json())["result"]["value"] == 100 * 10**9

        faults = f"{line['swap']}/localnet/faults"
        async with command("run", tmp_path) as running:
            while True:
                status = await until(tmp_path, lambda s: sum(s.get("intents", {}).get(o, 0) for o in OPEN))
                async with session.post(faults, json={"kind": "halt"}) as answer:
                    assert answer.status == 201
                if in_state(tmp_path, *OPEN):
                    break
                await session.delete(faults)  # it ended just before
            assert abs(status["market"]["timeMs"] / 1000 - time.time()) > 60  # hours of the market passed in seconds
            running.send_signal(signal.SIGKILL)
            await running.wait()
        left, made = in_state(tmp_path, *OPEN), attempts(tmp_path)
        assert left >= 1

        # Another bot that was given this ledger has nothing in it, whatever is open there; it must be known to have had no other.
        (tmp_path / "another.json").write_text(json.dumps({**settings, "bot": settings["bot"] | {"name": "another"}}))
        async with command("settle", tmp_path, settings="another.json") as refused:
            told = await until(tmp_path, lambda s: s["reasons"])
            assert [reason["type"] for reason in told["reasons"]] == ["LedgerInUse"]
            refused.send_signal(signal.SIGTERM)
            assert await ended(refused) == 1
        async with command("settle", tmp_path, "--if-ours", settings="another.json") as settling:
            assert await ended(settling) == 0
        assert (in_state(tmp_path, *OPEN), attempts(tmp_path)) == (left, made)

        async with command("settle", tmp_path, "--if-ours") as settling:
            await until(tmp_path, lambda s: s["phase"] == "DRAINING" and s["inFlight"] >= 1)
            await asyncio.sleep(2)
            assert settling.returncode is None
            await session.delete(faults)
            assert await ended(settling) == 0
        assert in_state(tmp_path, *OPEN, "INTENT") == 0
        assert attempts(tmp_path) == made


async def test_fund_gives_nothing_away_elsewhere(tmp_path: Path):
    """A bot that is not on localnet has a wallet of real money; exit code 2 says that this is no place for the command."""
    line = {"nodes": [{"http": "http://127.0.0.1:1", "websocket": "ws://127.0.0.1:1"}], "swap": "http://127.0.0.1:1"}
    line["info"] = {"market_clock": None}
    settings = engine_settings(line, folder=tmp_path, wallet=Keypair(), tokens=TOKENS)
    settings["bot"]["cluster"] = "devnet"
    (tmp_path / "engine.json").write_text(json.dumps(settings))
    async with command("fund", tmp_path) as funding:
        assert await ended(funding) == 2
    assert "only localnet" in (tmp_path / "fund.log").read_text()
