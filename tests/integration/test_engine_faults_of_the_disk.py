"""The disk of the ledger is full while the engine trades: nothing leaves unjournalled, it says so, and goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fault_stage import ALL_NODES, PENDING, done, localnet, reasons, stage
from support.small_disk import fill, small_disk

FULL_S = 10
AWAY = "LedgerUnavailable"


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small") as place:
        yield place


async def test_a_full_disk_for_ten_seconds_stops_trading_with_a_reason_and_nothing_leaves_unjournalled(
    line, tmp_path, disk
):
    """LedgerUnavailable, not one signature more on the chain than in the ledger, trading again by itself, 0/0/0."""
    async with stage(line, tmp_path, ledger={"sqlite_path": str(disk / "ledger.db")}) as bot:
        await bot.start()
        await bot.trading()
        ballast = fill(disk)
        told = await bot.until(lambda s: AWAY in reasons(s))
        assert not told["trading"]
        attempts = bot.rows("SELECT count(*) FROM attempts")
        await asyncio.sleep(FULL_S)
        seen = await bot.status()
        assert AWAY in reasons(seen)
        assert not seen["trading"]
        assert bot.rows("SELECT count(*) FROM attempts") == attempts, "the disk was not full"
        assert 0 < await bot.sent() <= attempts[0][0], "a transaction left that was not journalled"
        ballast.unlink()
        await bot.until(lambda s: AWAY not in reasons(s) and s["trading"] and done(s) >= done(told) + 4)
        await bot.prove()


async def test_an_engine_that_ends_while_its_disk_is_full_says_by_its_code_that_trades_are_open(line, tmp_path, disk):
    """3, whatever else the disk refuses; also of an engine that was started on it and never got as far as trading."""
    ledger = {"sqlite_path": str(disk / "ledger.db")}
    async with stage(line, tmp_path, ledger=ledger, shutdown={"trade_timeout_s": 1, "force_timeout_s": 8}) as bot:
        await bot.start()
        await bot.trading()
        drop = await bot.fault("drop_send", nodes=ALL_NODES)
        await bot.until(lambda s: s["intents"].get("SUBMITTED", 0) + s["intents"].get("SIGNED", 0) > 0)
        ballast = fill(disk)
        await bot.until(lambda s: AWAY in reasons(s))
        assert await bot.stop() == 3
        assert bot.rows(f"SELECT count(*) FROM intents WHERE state IN {PENDING}")[0][0] > 0
        await bot.start()
        await bot.until(lambda s: AWAY in reasons(s))
        assert await bot.stop() == 3
        ballast.unlink()
        await bot.heal(drop)
        await bot.start()
        await bot.until(lambda s: s["phase"] == "READY")
        await bot.prove()
