"""
More signals than the engine can take: exits are kept, refusals have reasons, and it stays answerable.

The signals are those of real strategies on a real market, each wish to enter repeated as often as the test says.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_stage import Stage, done, localnet, refused_exits, stage

FLOOD = 5_000
LOAD_REASONS = {"Overloaded", "QueueFull", "Late"}
SMALL = {"max_size": 400, "deadline_ms": 400}
"""A queue that such a flood fills."""
TARGET = 0.6
"""The utilisation at which the autoscaler adds a pod."""
KEPT = 0.99
LEAST_EXITS = 10
"""Of fewer a share says nothing."""
WINDOWS_S = 45
"""The measure is a mean over 15 s: so much longer than a burst has to last it may take on a busy machine to rise."""


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


async def exits(bot: Stage) -> int:
    """Return how many exits the strategies asked for."""
    samples = [s for s in (await bot.ask("/metrics")).splitlines() if s.startswith("tradingbot_signals_total{")]
    return round(sum(float(s.rsplit(" ", 1)[1]) for s in samples if 'purpose="EXIT"' in s))


def refused_since(before: dict[str, Any], now: dict[str, Any]) -> Counter[str]:
    """Return the refusals between two looks, by reason."""
    return Counter(now["signals"]["refused"]) - Counter(before["signals"]["refused"])


async def kept_share(bot: Stage) -> float:
    """Return which share of all exits was not refused for load; positions are left in their own time, so wait for some."""
    asked = 0

    async def enough(_: dict[str, Any]) -> bool:
        nonlocal asked
        asked = await exits(bot)
        return asked >= LEAST_EXITS

    await bot.until(enough)
    lost = sum(refused_exits(bot.log())[reason] for reason in LOAD_REASONS)
    return 1 - lost / asked


async def test_a_flood_of_five_thousand_signals_at_once_costs_no_exit_and_is_refused_by_reason(line, tmp_path):
    """They come just before an exit; the queue fills beyond its thresholds; status answers; trading goes on; 0/0/0."""
    async with stage(line, tmp_path, lanes=4, queue=SMALL, execution={"workers": 2}) as bot:
        bot.environment = {"STAGE_FLOOD": str(tmp_path / "flood")}
        await bot.start()
        before = await bot.until(lambda s: done(s) >= 6)
        bot.flood(at_once=FLOOD)
        flooded = await bot.until(lambda s: s["signals"]["total"] >= before["signals"]["total"] + FLOOD)
        after = await bot.until(lambda s: sum(refused_since(before, s).values()) >= FLOOD * 0.9)
        refused = refused_since(before, after)
        assert refused["Overloaded"] > 0, refused
        assert refused["QueueFull"] > 0, refused
        assert max(s["queueUtilization"] for s in (flooded, after)) > min(before["queueUtilization"], TARGET)
        calm = await bot.until(lambda s: s["trading"] and done(s) >= done(after) + 6)
        assert not refused_since(after, calm)["QueueFull"], "the flood is over, and the queue is still full"
        assert await kept_share(bot) >= KEPT
        await bot.prove()


@pytest.mark.parametrize("lasts_s", [15, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(400)])])
async def test_a_tenfold_burst_keeps_the_exits_and_shows_in_the_measure_that_the_autoscaler_reads(
    line, tmp_path, lasts_s
):
    """Utilisation rises above the target in status and /metrics, entries are refused with reasons, exits are kept; 0/0/0."""
    queue = {"max_size": 60, "deadline_ms": 300}
    crowd = {"execution": {"workers": 1}, "risk": {"max_open_intents": 24}}
    async with stage(line, tmp_path, lanes=8, queue=queue, **crowd) as bot:
        bot.environment = {"STAGE_FLOOD": str(tmp_path / "flood")}
        await bot.start()
        before = await bot.until(lambda s: done(s) >= 6)
        bot.flood(each=9)
        highest = measured = 0.0
        ends = time.monotonic() + lasts_s
        while (now := time.monotonic()) < ends or (min(highest, measured) <= TARGET and now < ends + WINDOWS_S):
            status = await bot.status()  # an admin port that starved would not answer in time
            highest = max(highest, status["queueUtilization"])
            measured = max(measured, await bot.metric("tradingbot_queue_utilization"))
            await asyncio.sleep(max(0.1, time.monotonic() - now))  # on a busy machine asking must not be the load
        bot.flood()
        after = await bot.status()
        refused = refused_since(before, after)
        assert sum(refused[reason] for reason in LOAD_REASONS) > 0, refused
        assert highest > TARGET
        assert measured > TARGET
        assert after["signals"]["total"] > before["signals"]["total"] + 100
        await bot.until(lambda s: s["trading"] and done(s) >= done(after) + 4)
        assert await kept_share(bot) >= KEPT
        await bot.prove()
