"""Nodes that answer what no node should: the engine trades on by the one that is sound, and nothing of it breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from support.fault_stage import NODES, done, localnet, stage
from support.mangling_proxy import ManglingProxy

MAX_ANSWER_BYTES = 1 << 20
SHARE = 0.4
"""Of the answers of two of three nodes; the third is only asked when these two have failed."""
TRADES = 6
LEAST_SPOILT = 50


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


async def test_answers_that_are_malformed_huge_slow_or_of_the_wrong_type_break_nothing_in_a_trading_engine(
    line, tmp_path
):
    """
    With the breakers off, so that the two spoilt nodes are asked all the time, and no hedge to hide them.

    No task dies, nothing is printed that a healthy engine would not say, status answers, trades come through, 0/0/0.
    """
    settings = {"max_answer_bytes": MAX_ANSWER_BYTES, "breaker": {"enabled": False}, "hedging": {"enabled": False}}
    async with AsyncExitStack() as open_, stage(line, tmp_path, lanes=4, rpc=settings) as bot:
        proxies = [
            await open_.enter_async_context(
                ManglingProxy(line["nodes"][n]["http"], seed=n, huge_bytes=2 * MAX_ANSWER_BYTES)
            )
            for n in range(NODES - 1)
        ]
        for n, endpoint in enumerate(bot.settings["rpc"]["endpoints"]):
            endpoint |= {"url": proxies[n].url} if n < len(proxies) else {"priority": 9}
        await bot.start()
        await bot.trading()
        for proxy in proxies:
            proxy.share = SHARE
        before = await bot.status()
        await bot.until(
            lambda s: (
                done(s) >= done(before) + TRADES
                and all(set(p.spoiled) == p.kinds for p in proxies)
                and sum(sum(p.spoiled.values()) for p in proxies) > LEAST_SPOILT
            )
        )
        for proxy in proxies:
            proxy.share = 0.0
        spoiled = sum((p.spoiled for p in proxies), Counter[str]())
        assert sum(spoiled.values()) > LEAST_SPOILT, spoiled
        await bot.until(lambda s: s["trading"] and all(e["healthy"] for e in s["rpc"]))
        await bot.prove()
    text = (tmp_path / "engine.log").read_text()
    for word in ("Traceback", "never retrieved", "unhandled", "Unclosed", "was destroyed"):
        assert word not in text, text[max(0, text.index(word) - 2000) :][:4000]
