"""
The engine as a process against localnet as a process: what a person on call would see when something is wrong.

Nothing here looks inside: signals, the admin port, the ledger's file and the chain are all there is.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
pytestmark = pytest.mark.timeout(600)  # processes start one after another; on a busy machine each takes long
PATIENCE_S = 180.0
LOCALNET = ("--nodes", "2", "--slot-ms", "40", "--speed", "600", "--scenario", "Viral", "--seed", "11")


class EngineProcess:
    """One engine and its admin port."""

    def __init__(self, process: asyncio.subprocess.Process, settings: dict[str, Any]) -> None:
        self.process, self._admin = process, settings["admin"]

    async def status(self) -> dict[str, Any]:
        port, token = (Path(self._admin[name]).read_text().strip() for name in ("port_file", "token_file"))
        header = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession() as s, s.get(f"http://127.0.0.1:{port}/v1/status", headers=header) as answer:
            data: dict[str, Any] = await answer.json()
            return data

    async def until(self, holds: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Poll the status until `holds` says so; the last status is in the error if it never does."""
        last: Any = None
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                last = await self.status()
                if holds(last):
                    return dict(last)
            except (OSError, aiohttp.ClientError) as error:
                last = last or repr(error)
            if self.process.returncode is not None:
                break
            await asyncio.sleep(0.1)
        raise AssertionError(
            f"never came true; exit code {self.process.returncode}, last status {json.dumps(last)[:3000]}"
        )

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


@asynccontextmanager
async def engine(settings: dict[str, Any], folder: Path) -> AsyncIterator[EngineProcess]:
    config = folder / "engine.json"
    config.write_text(json.dumps(settings))
    Path(settings["admin"]["port_file"]).unlink(missing_ok=True)
    log = (folder / "engine.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tradingbot_engine", "run", "--config", str(config), stdout=log, stderr=log
    )
    try:
        yield EngineProcess(process, settings)
    finally:
        log.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


async def audit(folder: Path) -> tuple[int, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "tradingbot_engine",
            "audit",
            "--config",
            str(folder / "engine.json"),
            "--output",
            "json",
        ),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    text = await process.stdout.read()
    return await process.wait(), json.loads(text)


def trades(status: dict[str, Any], *states: str) -> int:
    return sum(status.get("intents", {}).get(state, 0) for state in states)


def reasons(status: dict[str, Any]) -> set[str]:
    return {reason["type"] for reason in status.get("reasons", [])}


def chain_of(folder: Path) -> tuple[str, ...]:
    return tuple(row[0] for row in sqlite3.connect(folder / "ledger.db").execute("SELECT signature FROM attempts"))


@pytest.fixture
async def line() -> AsyncIterator[dict[str, Any]]:
    async with localnet_process(*LOCALNET) as line:
        yield line


@pytest.fixture
async def bot(line, tmp_path) -> dict[str, Any]:
    """Settings of a funded bot."""
    wallet = Keypair()
    await fund(line, wallet, sol=100)
    settings = engine_settings(line, folder=tmp_path, wallet=wallet, tokens=TOKENS)
    # A drain that gives up early says so (exit code 3); on a busy machine the trades' ends take longer than by default.
    return settings | {"shutdown": {"trade_timeout_s": 3600, "force_timeout_s": 3600}}


async def test_a_drain_follows_trades_to_their_end_and_the_chain_agrees_with_the_ledger(bot, tmp_path):
    """SIGTERM, exit code 0, nothing open, audit 0/0/0 over trades that really happened."""
    async with engine(bot, tmp_path) as running:
        await running.until(lambda s: trades(s, "DONE") >= 2)
        assert await running.stop() == 0
    code, proof = await audit(tmp_path)
    assert (code, proof["doubled"], proof["lost"], proof["phantom"], proof["open"]) == (0, 0, 0, 0, 0)
    assert proof["filled"] >= 2


async def test_sigquit_leaves_at_once_and_the_next_engine_resolves_what_was_open(line, bot, tmp_path):
    """
    Exit code 3 says that trades are open; they are journalled, so nothing is lost.

    The chain stands still, so that a drain would wait for them for an hour.
    """
    faults = f"{line['swap']}/localnet/faults"
    async with engine(bot, tmp_path) as running, aiohttp.ClientSession() as session:
        is_open = ("SIGNED", "SUBMITTED", "CONFIRMED")
        while True:
            await running.until(lambda s: trades(s, *is_open))
            async with session.post(faults, json={"kind": "halt"}) as answer:
                assert answer.status == 201
            if trades(await running.status(), *is_open):
                break
            await session.delete(faults)  # it ended just before
        assert await running.stop(signal.SIGQUIT) == 3
        await session.delete(faults)
    async with engine(bot, tmp_path) as running:
        await running.until(lambda s: s["phase"] == "READY")
        assert await running.stop() == 0
    code, proof = await audit(tmp_path)
    assert (code, proof["doubled"], proof["lost"], proof["phantom"], proof["open"]) == (0, 0, 0, 0, 0)


async def test_an_old_copy_of_the_ledger_stops_trading_before_anything_is_sent(bot, tmp_path):
    """The chain shows marks that the ledger does not know: LedgerBehindChain, and not one attempt more."""
    ledger = tmp_path / "ledger.db"
    async with engine(bot, tmp_path) as running:
        await running.until(lambda s: s["phase"] == "READY")
        assert await running.stop() in (0, 3)
    with sqlite3.connect(ledger) as source, sqlite3.connect(tmp_path / "old.db") as copy:
        source.backup(copy)
    known = chain_of(tmp_path)
    async with engine(bot, tmp_path) as running:
        await running.until(lambda s: trades(s, "DONE") >= len(known) + 1)
        assert await running.stop() == 0
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "old.db", ledger)
    async with engine(bot, tmp_path) as running:
        status = await running.until(lambda s: "LedgerBehindChain" in reasons(s))
        assert not status["trading"]
        await asyncio.sleep(3)
        assert chain_of(tmp_path) == known
        assert await running.stop() == 1


async def test_a_ledger_of_another_chain_is_refused_by_name(bot, tmp_path):
    """The same wallet and ledger against another genesis: nothing may be believed, nothing is sent."""
    async with engine(bot, tmp_path) as running:
        await running.until(lambda s: s["phase"] == "READY")
        await running.stop()
    known = chain_of(tmp_path)
    async with localnet_process(*LOCALNET[:-1], "12") as other:
        moved = engine_settings(
            other, folder=tmp_path, wallet=Keypair.from_json((tmp_path / "wallet.json").read_text()), tokens=TOKENS
        )
        await fund(other, Keypair.from_json((tmp_path / "wallet.json").read_text()), sol=10)
        async with engine(moved, tmp_path) as running:
            status = await running.until(lambda s: "WrongGenesis" in reasons(s))
            assert not status["trading"]
            assert await running.stop() == 1
    assert chain_of(tmp_path) == known


async def test_no_node_of_another_chain_is_believed_not_even_at_the_first_start(tmp_path):
    """
    The one that serves another chain is named and left out, the others are traded with; on a public cluster its own hash counts.

    Nothing is known of a bot before its first start, so whoever answers first must not decide which chain it is.
    """
    async with localnet_process(*LOCALNET, "--nodes", "3") as line:
        wallet = Keypair()
        await fund(line, wallet, sol=100)
        bot = engine_settings(line, folder=tmp_path, wallet=wallet, tokens=TOKENS)
        bot["bot"]["cluster"] = "mainnet-beta"
        async with engine(bot, tmp_path) as running:
            status = await running.until(lambda s: "WrongGenesis" in reasons(s))
            assert "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d" in status["reasons"][0]["message"]
            assert not status["trading"]
            assert await running.stop() == 1
        bot["bot"] |= {"cluster": "localnet", "genesis_hash": line["genesis_hash"]}
        lie = {"kind": "wrong_genesis", "nodes": [0]}
        async with aiohttp.ClientSession() as s, s.post(f"{line['swap']}/localnet/faults", json=lie) as answer:
            assert answer.status == 201, await answer.text()
        async with engine(bot, tmp_path) as running:
            status = await running.until(lambda s: s["phase"] == "READY")
            (told,) = [r["message"] for r in status["reasons"] if r["type"] == "WrongGenesis"]
            assert "n0" in told
            assert "n1" not in told
            assert status["trading"]
            await running.until(lambda s: trades(s, "DONE") >= 1)
            assert await running.stop() in (0, 3)


async def test_an_empty_wallet_is_named_and_trading_begins_when_it_is_funded(line, tmp_path):
    """Degraded, not dead: the person funds the wallet, the bot goes on by itself."""
    wallet = Keypair()
    settings = engine_settings(line, folder=tmp_path, wallet=wallet, tokens=TOKENS)
    async with engine(settings, tmp_path) as running:
        status = await running.until(lambda s: "WalletEmpty" in reasons(s))
        assert str(wallet.pubkey()) in status["reasons"][0]["message"]
        await fund(line, wallet, sol=10)
        await running.until(lambda s: s["phase"] == "READY" and not reasons(s))
        assert await running.stop() in (0, 3)


async def test_a_ledger_locked_by_somebody_else_stops_trading_with_a_reason_and_it_resumes(bot, tmp_path):
    """No journal, no trade: while the file is locked nothing is sent; afterwards trading goes on."""
    async with engine(bot, tmp_path) as running:
        await running.until(lambda s: s["phase"] == "READY")
        lock = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        known = chain_of(tmp_path)
        status = await running.until(lambda s: "LedgerUnavailable" in reasons(s))
        assert not status["trading"]
        await asyncio.sleep(2)
        assert chain_of(tmp_path) == known
        lock.execute("ROLLBACK")
        lock.close()
        await running.until(lambda s: "LedgerUnavailable" not in reasons(s) and s["trading"])
        assert await running.stop() in (0, 3)


async def test_pause_by_hand_survives_a_crash_and_only_resume_clears_it(bot, tmp_path):
    """A person's pause one second before a kill -9 is still a pause afterwards."""

    async def ask(running: EngineProcess, path: str) -> None:
        port, token = ((tmp_path / name).read_text().strip() for name in ("port", "token"))
        header = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession() as s, s.post(f"http://127.0.0.1:{port}{path}", headers=header) as answer:
            assert answer.status == 200

    async with engine(bot, tmp_path) as running:
        await running.until(lambda s: s["phase"] == "READY")
        await ask(running, "/v1/pause")
        running.process.kill()
        await running.process.wait()
    async with engine(bot, tmp_path) as running:
        status = await running.until(lambda s: s["phase"] == "READY")
        assert "Paused" in reasons(status)
        assert not status["trading"]
        await ask(running, "/v1/resume")
        await running.until(lambda s: s["trading"])
        assert await running.stop() in (0, 3)


async def test_bad_settings_are_exit_code_2_and_every_problem_is_told(tmp_path):
    config = tmp_path / "engine.json"
    config.write_text(json.dumps({"bot": {"name": "X"}, "rpc": {"endpoints": []}}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradingbot_engine", "run", "--config", str(config)), stderr=asyncio.subprocess.PIPE
    )
    _, text = await process.communicate()
    assert process.returncode == 2
    assert b"bot.name" in text
    assert b"rpc.endpoints" in text
    assert b"Traceback" not in text
