"""The wall clock jumps while trades are in flight: nothing expires falsely, nothing is stuck, and it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_stage import check, done, localnet, reasons, stage

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


@pytest.mark.parametrize(
    ("offset_ms", "way"),
    [
        (HOUR_MS, "forward"),
        (-HOUR_MS, "back"),
        pytest.param(2 * MINUTE_MS, "forward", marks=pytest.mark.slow),
        pytest.param(-2 * MINUTE_MS, "back", marks=pytest.mark.slow),
        pytest.param(30 * DAY_MS, "forward", marks=pytest.mark.slow),
        pytest.param(-30 * DAY_MS, "back", marks=pytest.mark.slow),
    ],
)
async def test_a_clock_that_jumps_expires_and_sticks_nothing_and_is_told(line, tmp_path, offset_ms, way):
    """Trades go on under the new time; no attempt is taken for expired; the check `clock` says how far and which way."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    async with stage(line, tmp_path, lanes=3) as bot:
        bot.environment = {"STAGE_CLOCK": str(clock)}
        await bot.start()
        await bot.until(lambda s: done(s) >= 2 and s["openIntents"] >= 2)
        clock.write_text(str(offset_ms))
        told = await bot.until(lambda s: check(s, "clock")[0] == "Unhealthy")
        assert f"jumped {abs(offset_ms) / 1000:.1f} s {way}" in check(told, "clock")[1]
        open_then = {
            row[0] for row in bot.rows("SELECT id FROM intents WHERE state IN ('SIGNED','SUBMITTED','CONFIRMED')")
        }
        await bot.until(
            lambda s: s["trading"] and done(s) >= done(told) + 6 and reasons(s) <= {"Degraded", "Unhealthy"}
        )
        proof = await bot.prove()
        expired = bot.rows("SELECT count(*) FROM transitions WHERE event = 'EXPIRE'")[0][0]
        abandoned = bot.rows(
            "SELECT count(*) FROM attempts a JOIN intents i ON i.id = a.intent_id WHERE i.state = 'ABANDONED'"
        )
        ended = {row[0] for row in bot.rows("SELECT id FROM intents WHERE state IN ('DONE','FAILED')")}
    assert expired == 0, "an attempt was taken for expired, by a clock that says nothing about the chain"
    assert abandoned[0][0] == 0, "a signed intent was given up"
    assert open_then <= ended
    assert proof["filled"] >= 8
