"""The engine is told to stop while trades are in flight: what is critical is finished, the rest is journalled, and it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from support.fault_stage import ALL_NODES, Stage, localnet, stage

STEPS = ["Shedding", "FinishingCritical", "FollowingTrades", "HandingOver", "Flushing", "Done"]
LOCKED_S = 1.6
"""How long the ledger stands still, below the time after which that is an error."""


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


async def ended(bot: Stage, *, seconds: float = 45) -> tuple[int, list[dict[str, Any]]]:
    """Watch the status until the engine is gone; return its exit code and each progress of the drain that was seen."""
    assert bot.process is not None
    seen: list[dict[str, Any]] = []
    ends = time.monotonic() + seconds
    while bot.process.returncode is None and time.monotonic() < ends:
        try:
            status = await bot.status()
        except (OSError, TimeoutError, aiohttp.ClientError, json.JSONDecodeError):
            status = {}
        if "drain" in status:
            seen.append(status["drain"] | {"phase": status["phase"]})
        await asyncio.sleep(0.03)
    return await asyncio.wait_for(bot.process.wait(), 1), seen


def steps_logged(bot: Stage) -> list[str]:
    """Return the steps of the newest drain, as the log tells them."""
    log = bot.log()
    begins = max(n for n, line in enumerate(log) if line.get("event") == "drain requested")
    steps = [str(line["step"]) for line in log[begins:] if line.get("event") == "draining"]
    return list(dict.fromkeys(steps))


async def drain_command(bot: Stage) -> tuple[int, str]:
    """Run `tradingbot-engine drain`, as a preStop hook does; return exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradingbot_engine", "drain", "--config", str(bot.folder / "engine.json")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    text, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, text.decode()


async def test_sigterm_sigint_and_sigusr1_drain_alike_and_status_shows_how_far_it_is(line, tmp_path):
    """The same steps in the same order, exit code 0, nothing open, no position opened once it began; 0/0/0."""
    async with stage(line, tmp_path) as bot:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            await bot.start()
            await bot.trading()
            await bot.until(lambda s: s["inFlight"] >= 2)
            began_ms = time.time() * 1000
            assert bot.process is not None
            bot.process.send_signal(number)
            code, seen = await ended(bot)
            assert code == 0
            assert steps_logged(bot) == STEPS
            following = [p for p in seen if p["step"] == "FollowingTrades" and p["inFlight"]]
            assert following, "no progress was seen"
            assert all(p["why"] == number.name and p["phase"] == "DRAINING" for p in following)
            assert all(0 < p["tradeTimeoutLeftMs"] <= 20_000 for p in following)
            assert following[-1]["inFlight"] <= following[0]["inFlight"]
            late = f"SELECT count(*) FROM intents WHERE purpose = 'ENTRY' AND created_at_ms > {began_ms + 200}"
            assert bot.rows(late) == [(0,)], "a position was opened while draining"
        await bot.prove()


async def test_queued_exits_are_finished_and_queued_entries_are_shed(line, tmp_path):
    """
    The ledger stands still, signals pile up behind its only worker, the stop comes: then it goes on.

    Every exit that waited is claimed, sent and followed to its end; no entry is.
    """
    async with stage(line, tmp_path, lanes=6, hold_bars=(1, 2, 3, 4, 5, 6), execution={"workers": 1}) as bot:
        bot.environment = {"STAGE_FLOOD": str(tmp_path / "flood")}
        await bot.start()
        await bot.trading()
        bot.flood(each=5)
        await bot.until(lambda s: sum(bool(t["position"]) for t in s["tokens"]) == len(s["tokens"]))
        lock = sqlite3.connect(bot.settings["ledger"]["sqlite_path"], isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(LOCKED_S)
        assert bot.process is not None
        bot.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        lock.execute("ROLLBACK")
        lock.close()
        unlocked_ms = time.time() * 1000
        code, _ = await ended(bot)
        after = bot.rows(f"SELECT purpose, state FROM intents WHERE created_at_ms >= {unlocked_ms}")
        assert code == 0
        (finishing,) = [e for e in bot.log() if e.get("event") == "draining" and e.get("step") == "FinishingCritical"][
            :1
        ]
        assert finishing["queued"] >= 1, "no exit waited"
        assert finishing["shed"] >= 1, "no entry waited"
        assert after, "no queued exit was finished"
        assert {purpose for purpose, _ in after} == {"EXIT"}
        assert {state for _, state in after} <= {"DONE", "FAILED"}
        await bot.prove()


async def test_the_drain_command_waits_for_the_end_and_tells_what_is_left_by_its_exit_code(line, tmp_path):
    """0 after a clean drain; 3 when the trade timeout leaves trades, which are journalled for the next engine; 0/0/0."""
    async with stage(line, tmp_path) as bot:
        await bot.start()
        await bot.trading()
        await bot.until(lambda s: s["inFlight"] >= 2)
        code, text = await drain_command(bot)
        assert (code, text.strip()) == (0, "drained; trades still open in the ledger: 0")
        assert (await bot.status())["phase"] == "STOPPED"
        assert await bot.stop() == 0

        bot.settings["shutdown"] |= {"trade_timeout_s": 1.5, "force_timeout_s": 20}
        await bot.start()
        await bot.trading()
        await bot.fault("drop_send", nodes=ALL_NODES)
        deaf_ms = time.time() * 1000
        # What was sent before may still land within the timeout; what was begun since cannot.
        begun = f"SELECT count(*) FROM intents WHERE state IN ('SIGNED', 'SUBMITTED') AND created_at_ms >= {deaf_ms}"
        await bot.until(lambda _: bot.rows(begun)[0][0] >= 2)
        code, text = await drain_command(bot)
        left = bot.rows("SELECT count(*) FROM intents WHERE state IN ('SIGNED', 'SUBMITTED', 'CONFIRMED')")[0][0]
        assert left >= 2
        assert (code, text.strip()) == (3, f"drained; trades still open in the ledger: {left}")
        assert await bot.stop() == 3
        await bot.prove()


async def test_the_force_timeout_ends_a_drain_whose_ledger_hangs(line, tmp_path):
    """Somebody holds the ledger and never lets go: the process ends all the same, with exit code 3; nothing is lost."""
    async with stage(line, tmp_path, shutdown={"trade_timeout_s": 1, "force_timeout_s": 4}) as bot:
        await bot.start()
        await bot.trading()
        await bot.until(lambda s: s["inFlight"] >= 2)
        lock = sqlite3.connect(bot.settings["ledger"]["sqlite_path"], isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        began_s = time.monotonic()
        assert bot.process is not None
        bot.process.send_signal(signal.SIGTERM)
        code, _ = await ended(bot, seconds=40)
        took_s = time.monotonic() - began_s
        lock.execute("ROLLBACK")
        lock.close()
        assert code == 3
        assert took_s >= 4, "the drain did not wait for its ledger"
        assert took_s < 30
        assert any(line.get("event") == "the force timeout ends the drain" for line in bot.log())
        await bot.prove()
