"""No node can be asked: trading stops with its reason, goes on by itself when one is back, and exits go out first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from support.fault_stage import ALL_NODES, HEALTH_S, JITTER_S, PROBE_S, Stage, done, localnet, reasons, stage

NO_ENDPOINT = "NoEndpoint"
NEVER_S = 600
"""A cooldown that is never over: only a good health probe can bring a node back."""
SOON_S = 1
"""A cooldown that is over again and again while every node is still away."""
PROMISED_S = HEALTH_S + JITTER_S + PROBE_S
"""From the moment in which a node is back to the end of `NoEndpoint`."""
SCHEDULING_S = 0.5
"""
What the promise leaves out: the good probe's own four requests over loopback, and two timers of the event loop. A machine
that is idle needs 0.02 s. Time for which the kernel let the processes wait for a processor comes on top as measured.
"""


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


def moments(bot: Stage, event: str, *, since_s: float) -> list[float]:
    """Return when the engine logged an event of `NoEndpoint` since then, by its own clock, in Unix seconds."""
    lines = [line for line in bot.log() if (line.get("event"), line.get("reason")) == (event, NO_ENDPOINT)]
    times = [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines]
    return [at_s for at_s in times if at_s >= since_s]


@pytest.mark.parametrize(
    ("kind", "cooldown_s", "away_s"),
    [
        ("down", NEVER_S, 8),
        ("hang", SOON_S, 8),
        pytest.param("down", NEVER_S, 60, marks=[pytest.mark.slow, pytest.mark.timeout(400)]),
        pytest.param("hang", SOON_S, 60, marks=[pytest.mark.slow, pytest.mark.timeout(400)]),
    ],
)
async def test_a_partition_stops_trading_with_its_reason_and_it_resumes_within_a_probe_exits_first(
    line, tmp_path, kind, cooldown_s, away_s
):
    """
    NoEndpoint from first to last, no entry claimed meanwhile, over within interval, jitter and probe timeout, 0/0/0.

    Exits that came due meanwhile are signed before any entry.
    """
    async with stage(line, tmp_path, hold_bars=(3, 4), rpc={"breaker": {"cooldown_s": cooldown_s}}) as bot:
        await bot.start()
        await bot.trading()
        await bot.until(lambda s: sum(bool(t["position"]) for t in s["tokens"]) == len(s["tokens"]))
        await bot.fault(kind, nodes=ALL_NODES)
        gone = await bot.until(lambda s: NO_ENDPOINT in reasons(s))
        assert not gone["trading"]
        (since_ms,) = [r["since"] for r in gone["reasons"] if r["type"] == NO_ENDPOINT]
        ends = time.monotonic() + away_s
        while time.monotonic() < ends:
            seen = await bot.status()
            assert NO_ENDPOINT in reasons(seen), "told to be over while every node is away"
            assert not seen["trading"]
            await asyncio.sleep(0.2)
        assert not moments(bot, "over", since_s=since_ms / 1000), "told to be over while every node is away"
        healed_s, waited_s = time.time(), bot.waited_s()  # before, not after: the nodes are back while this is answered
        await bot.heal()
        await bot.until(lambda s: NO_ENDPOINT not in reasons(s))
        starved_s = bot.waited_s() - waited_s
        took_s = moments(bot, "over", since_s=healed_s)[0] - healed_s
        assert took_s <= PROMISED_S + SCHEDULING_S + starved_s, f"{took_s:.2f} s, {starved_s:.2f} s of them starved"
        resumed = await bot.until(lambda s: s["trading"])
        healed_ms = healed_s * 1000
        claimed = "SELECT id FROM intents WHERE purpose = 'ENTRY' AND created_at_ms BETWEEN {} AND {}"
        assert not bot.rows(claimed.format(since_ms, healed_ms)), "entries were claimed while no node could be asked"
        await bot.until(lambda s: done(s) >= done(resumed) + 8)
        signed = bot.rows(
            "SELECT i.purpose, p.created_at_ms, a.signed_at_ms FROM attempts a JOIN intents i ON i.id = a.intent_id "
            f"JOIN intents p ON p.id = i.position_id WHERE a.n = 1 AND a.signed_at_ms > {healed_ms}"
        )
        await bot.prove()
        print(
            f"{kind} for {away_s} s: NoEndpoint over after {took_s:.2f} s, {starved_s:.2f} s starved; {len(signed)} signed"
        )
    due = [at for purpose, opened, at in signed if purpose == "EXIT" and opened < since_ms]
    entries = [at for purpose, _, at in signed if purpose == "ENTRY"]
    assert due, "no exit came due meanwhile"
    assert entries
    assert max(due) <= min(entries), "an entry went out before an exit that had come due"


async def test_a_chain_that_stands_still_is_told_as_a_market_without_fresh_prices(line, tmp_path):
    """Every node answers, and none has anything new: nothing is bought, the reason says so, and it goes with the first slot."""
    async with stage(line, tmp_path) as bot:
        await bot.start()
        await bot.trading()
        await bot.fault("halt")
        still = await bot.until(lambda s: "StaleMarketData" in reasons(s))
        assert all(token["staleMs"] > 0 for token in still["tokens"])
        bought = bot.rows("SELECT count(*) FROM intents WHERE purpose = 'ENTRY'")
        await asyncio.sleep(3)
        assert bot.rows("SELECT count(*) FROM intents WHERE purpose = 'ENTRY'") == bought, (
            "bought at a price of the past"
        )
        await bot.heal()
        await bot.until(lambda s: not reasons(s) & {"StaleMarketData", NO_ENDPOINT} and done(s) > done(still))
        await bot.prove()
