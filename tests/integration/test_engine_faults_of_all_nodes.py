"""No node can be asked: trading stops with its reason, goes on by itself when one is back, and exits go out first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_stage import ALL_NODES, HEALTH_S, JITTER_S, PROBE_S, done, localnet, reasons, stage

from tradingbot_engine.nodes import EXITS_FIRST_S

NO_ENDPOINT = "NoEndpoint"
NEVER_S = 600
"""A cooldown that is never over: only a good health probe can bring a node back."""
SOON_S = 1
"""A cooldown that is over again and again while every node is still away."""
LOOKS_S = 1.0
"""How often what is known of the nodes is read, and status is asked."""
BUSY_S = 6.0
"""What a busy machine may add; far below the cooldown that a missing probe would cost."""


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


@pytest.mark.parametrize(
    ("kind", "cooldown_s", "away_s"),
    [
        ("down", NEVER_S, 8),
        ("hang", SOON_S, 8),
        pytest.param("down", NEVER_S, 60, marks=[pytest.mark.slow, pytest.mark.timeout(400)]),
        pytest.param("hang", SOON_S, 60, marks=[pytest.mark.slow, pytest.mark.timeout(400)]),
    ],
)
async def test_a_partition_stops_trading_with_its_reason_and_it_resumes_by_itself_exits_first(
    line, tmp_path, kind, cooldown_s, away_s
):
    """
    NoEndpoint from first to last, no entry claimed or signed meanwhile, back at the first good probe, 0/0/0.

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
        await bot.heal()
        healed_ms, healed_s = time.time() * 1000, time.monotonic()
        resumed = await bot.until(lambda s: s["trading"] and NO_ENDPOINT not in reasons(s))
        assert time.monotonic() - healed_s <= HEALTH_S + JITTER_S + PROBE_S + LOOKS_S + EXITS_FIRST_S + BUSY_S
        claimed = "SELECT id FROM intents WHERE purpose = 'ENTRY' AND created_at_ms BETWEEN {} AND {}"
        assert not bot.rows(claimed.format(since_ms, healed_ms)), "entries were claimed while no node could be asked"
        await bot.until(lambda s: done(s) >= done(resumed) + 8)
        signed = bot.rows(
            "SELECT i.purpose, p.created_at_ms, a.signed_at_ms FROM attempts a JOIN intents i ON i.id = a.intent_id "
            f"JOIN intents p ON p.id = i.position_id WHERE a.n = 1 AND a.signed_at_ms > {healed_ms}"
        )
        await bot.prove()
    due = [at for purpose, opened, at in signed if purpose == "EXIT" and opened < since_ms]
    entries = [at for purpose, _, at in signed if purpose == "ENTRY"]
    assert due, "no exit came due meanwhile"
    assert entries
    assert max(due) <= min(entries), "an entry went out before an exit that had come due"
