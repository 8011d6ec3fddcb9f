"""A protection that the settings switch off shouts: in status, in the health checks, in a metric and in the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_stage import check, localnet, stage

OFF: dict[str, Any] = {
    "shutdown": {"graceful": False},
    "rpc": {
        "breaker": {"enabled": False},
        "hedging": {"enabled": False},
        "health": {"enabled": False},
        "retry_budget": {"enabled": False},
    },
    "queue": {"backpressure": False},
    "bus": {"ordering": False},
}


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


def names(settings: dict[str, Any], before: str = "") -> set[str]:
    """Return the dotted names of the switches."""
    out: set[str] = set()
    for name, value in settings.items():
        out |= names(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}"}
    return out


async def test_every_protection_that_is_switched_off_shouts_and_the_bot_still_trades_exactly_once(line, tmp_path):
    """`switchedOff` with what is lost, check `protections` Degraded, the metric 1, a warning each; 0/0/0 all the same."""
    off = names(OFF)
    async with stage(line, tmp_path, **OFF) as bot:
        await bot.start()
        await bot.trading()
        status = await bot.until(lambda s: check(s, "protections")[0] == "Degraded")
        told = {entry["setting"]: entry["lost"] for entry in status["switchedOff"]}
        assert set(told) == off
        assert all(told.values())
        assert all(name in check(status, "protections")[1] for name in off)
        assert status["health"]["state"] == "Degraded"
        metrics = await bot.ask("/metrics")
        shouting = {
            line.split('"')[1] for line in metrics.splitlines() if line.startswith("tradingbot_protection_off{")
        }
        assert shouting == off
        assert all(f'tradingbot_protection_off{{protection="{name}"}} 1.0' in metrics for name in off)
        logged = {line["setting"] for line in bot.log() if line.get("event") == "PROTECTION SWITCHED OFF"}
        assert logged == off
        assert await bot.stop() in (0, 3)
        bot.settings["shutdown"]["graceful"] = True  # what was left open is followed by the next engine
        await bot.prove()


async def test_with_every_protection_on_nothing_shouts(line, tmp_path):
    """The same places are silent, so that what they say means something."""
    async with stage(line, tmp_path) as bot:
        await bot.start()
        status = await bot.trading()
        assert status["switchedOff"] == []
        assert check(status, "protections") == ("Healthy", "")
        assert "tradingbot_protection_off{" not in await bot.ask("/metrics")
