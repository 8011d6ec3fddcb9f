"""
Closing out with a real engine on localnet: what is held is sold, nothing is bought, whatever dies in the middle.

The strategy buys at every bar's close at which it holds nothing: an engine that forgot the wish would show it within a second.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_stage import PENDING, Stage, localnet, reasons, stage

HELD = "SELECT count(*) FROM positions WHERE state <> 'CLOSED'"
HELD_FOR_SURE = "SELECT count(*) FROM positions WHERE state = 'OPEN'"
EXITS_SIGNED = "SELECT count(*) FROM attempts a JOIN intents i ON i.id = a.intent_id WHERE i.signal_reason = 'CloseOut'"
SALES = "SELECT count(*) FROM intents WHERE signal_reason = 'CloseOut' AND state = 'DONE'"
OPEN = f"SELECT count(*) FROM intents WHERE state IN {PENDING}"
BAR_S = 1.0
HANG_S = 120.0
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


def number(bot: Stage, sql: str) -> int:
    return int(bot.rows(sql)[0][0])


async def kill(bot: Stage) -> None:
    assert bot.process is not None
    bot.process.send_signal(signal.SIGKILL)
    await bot.process.wait()


async def holding(bot: Stage, least: int) -> None:
    """Let the engine run until it holds so many positions that are final."""
    await bot.start()
    await bot.until(lambda s: s["phase"] == "READY" and number(bot, HELD_FOR_SURE) >= least)


def bought_since_the_wish(bot: Stage, *, signed_after_ms: float) -> tuple[int, int]:
    """Return how many entries were claimed after the wish, and how many were signed after some later time."""
    (since_ms,) = bot.rows("SELECT closing_since_ms FROM bots")[0]
    assert since_ms > 0, "the wish is not in the ledger"
    claimed = f"SELECT count(*) FROM intents WHERE purpose = 'ENTRY' AND created_at_ms > {since_ms}"
    signed = "SELECT count(*) FROM attempts a JOIN intents i ON i.id = a.intent_id WHERE i.purpose = 'ENTRY' AND a.signed_at_ms > "
    return number(bot, claimed), number(bot, f"{signed}{signed_after_ms}")


async def test_an_engine_that_is_killed_while_it_closes_out_goes_on_selling_and_never_buys_again(line, tmp_path):
    """
    Told, killed as soon as it answers; started, killed with exits signed and positions held; started: it sells the rest.

    Nobody tells the second and the third engine anything: the wish is in the ledger. The audit says 0/0/0 at the end.
    """
    async with stage(line, tmp_path, lanes=3, hold_bars=(60,)) as bot:
        await holding(bot, 6)
        await bot.ask("/v1/close-out", method="POST", body={"by": "the test"})
        await kill(bot)
        killed_ms = time.time() * 1000
        held = number(bot, HELD)
        assert held >= 6, "it was too quick: nothing was left for the next engine"

        await bot.start()
        async with asyncio.timeout(HANG_S):
            while number(bot, EXITS_SIGNED) < 1:
                await asyncio.sleep(0.02)
        await kill(bot)
        assert number(bot, HELD) >= 1, "it was too quick: nothing was left for the last engine"

        await bot.start()
        status = await bot.until(lambda s: (s.get("closing") or {}).get("done"))
        assert (status["closing"]["by"], status["closing"]["positionsLeft"]) == ("the test", 0)
        assert reasons(status) >= {"ClosingOut"}
        assert status["trading"] is False
        assert (number(bot, HELD), number(bot, OPEN)) == (0, 0)
        assert number(bot, SALES) >= held - 3, "sold by other exits than those of closing out"
        await asyncio.sleep(3 * BAR_S)
        assert bought_since_the_wish(bot, signed_after_ms=killed_ms) == (0, 0)
        assert number(bot, HELD) == 0
        await bot.prove()


async def close_out_command(bot: Stage, *options: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "tradingbot_engine",
            "close-out",
            "--config",
            str(bot.folder / "engine.json"),
            *options,
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    text, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, text.decode()


async def test_settle_sells_what_a_dead_engine_held_and_ends(line, tmp_path):
    """
    Killed with positions and trades open; `settle --sell` follows the ones, sells the others, exits with 0, buys nothing.

    The wish stays in the ledger: an engine that is started on it afterwards trades only once a person takes it back.
    """
    async with stage(line, tmp_path, lanes=2, hold_bars=(60,)) as bot:
        await holding(bot, 4)
        await kill(bot)
        killed_ms = time.time() * 1000
        assert number(bot, HELD) >= 4

        nodes = bot.settings["rpc"]["endpoints"]
        bot.settings["rpc"]["endpoints"] = [{"name": "gone", "url": "http://127.0.0.1:1"}]
        await bot.start("settle", "--sell", "--by", "a job")
        await bot.until(lambda s: "NoEndpoint" in reasons(s))
        assert await bot.stop() == 3, "a Job whose pod is ended before it began has not sold anything"
        bot.settings["rpc"]["endpoints"] = nodes

        await bot.start("settle", "--sell", "--by", "a job")
        assert bot.process is not None
        assert await asyncio.wait_for(bot.process.wait(), 300) == 0
        assert (number(bot, HELD), number(bot, OPEN)) == (0, 0)
        assert number(bot, SALES) >= 3
        assert bought_since_the_wish(bot, signed_after_ms=killed_ms) == (0, 0)

        await bot.start()
        status = await bot.until(lambda s: (s.get("closing") or {}).get("done") and s["phase"] == "READY")
        assert status["closing"]["by"] == "a job"
        assert await close_out_command(bot) == (0, "closed out: nothing is held any more\n")
        assert await close_out_command(bot, "--undo") == (0, "the bot may open positions again\n")
        await bot.until(lambda s: s["closing"] is None and s["trading"] and number(bot, HELD) >= 1)
        await bot.prove()
