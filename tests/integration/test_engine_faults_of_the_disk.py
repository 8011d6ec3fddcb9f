"""The disk of the ledger is full while the engine trades: nothing leaves unjournalled, it says so, and goes on by itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fault_stage import done, localnet, reasons, stage

FULL_S = 10
AWAY = "LedgerUnavailable"


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"this user may not mount a small file system: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take every byte that is left."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(os.urandom(4096))
        except OSError:
            pass
    return ballast


async def test_a_full_disk_for_ten_seconds_stops_trading_with_a_reason_and_nothing_leaves_unjournalled(
    line, tmp_path, small_disk
):
    """LedgerUnavailable, not one signature more on the chain than in the ledger, trading again by itself, 0/0/0."""
    async with stage(line, tmp_path, ledger={"sqlite_path": str(small_disk / "ledger.db")}) as bot:
        await bot.start()
        await bot.trading()
        ballast = fill(small_disk)
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
