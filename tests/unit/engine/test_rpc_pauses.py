"""How long a node is left alone that limits us, and how long an answer is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from rpc_pools import pool_over, says
from scripted_rpc import Raw, ScriptedNode

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.rpc.errors import RpcThrottled, RpcTimeout

EPOCH = {"absoluteSlot": 968, "blockHeight": 900}
AT = {"context": {"slot": 1000}, "value": 1}


@pytest.mark.parametrize("asked", ["0", "-1", "Sun, 09 Sep 2001 01:46:45 GMT"])
async def test_who_limits_every_try_and_asks_for_no_pause_is_left_alone_longer_each_time(asked: str) -> None:
    """It would else be asked as fast as it refuses; and it is not healthy, whatever the pause that it names."""
    clock = ManualClock()
    busy = [True]

    def handler(method: str, params: list[Any]) -> Any:
        if busy[0]:
            raise Raw(429, b"{}", {"Retry-After": asked})
        return {"getHealth": "ok", "getSlot": 1000, "getEpochInfo": EPOCH}.get(method, AT)

    node = ScriptedNode(handler)
    async with pool_over(node, clock=clock) as pool:
        for _ in range(600):
            with contextlib.suppress(RpcThrottled):
                await pool.call("getBalance", ["k"])
            assert not pool.endpoints()[0].healthy
            await clock.advance(0.1)
        assert 6 <= len(node.calls) <= 20, "refusals of one minute"
        busy[0] = False
        await clock.advance(10)
        await pool.call("getBalance", ["k"])
        assert pool.endpoints()[0].healthy


async def test_a_node_that_answers_every_probe_with_429_is_not_healthy() -> None:
    """Its word is no word of health, also when it says that it may be asked at once; calls that it takes say otherwise."""
    clock = ManualClock()
    limits = [True]

    def handler(method: str, params: list[Any]) -> Any:
        if limits[0]:
            raise Raw(429, b"{}", {"Retry-After": "0"})
        return {"getHealth": "ok", "getSlot": 1000, "getEpochInfo": EPOCH}.get(method, AT)

    async with pool_over(ScriptedNode(handler), says(AT), clock=clock) as pool:
        for _ in range(4):
            await pool.probe()
            await clock.advance(12)
            seen = pool.endpoints()[0]
            assert (seen.healthy, "Throttled" in seen.error) == (False, True)
        limits[0] = False
        await pool.probe()
        assert pool.endpoints()[0].healthy


async def test_a_send_and_a_blockhash_wait_less_than_history_does() -> None:
    """A price runs meanwhile, and the bytes go out again anyway; an archive reads from its disk."""
    times = {"urgent_timeout_s": 0.1, "request_timeout_s": 0.2, "history_timeout_s": 0.6, "urgent_deadline_s": 0.25}
    node = ScriptedNode(lambda method, params: asyncio.sleep(0.4, AT))
    took: dict[str, float] = {}
    options: dict[str, Any] = {"hedging": {"enabled": False}, "breaker": {"enabled": False}}
    async with pool_over(node, **times, **options) as pool:
        for method in ("sendTransaction", "getLatestBlockhash", "getBalance", "getBlock", "getSignaturesForAddress"):
            began_s = asyncio.get_running_loop().time()
            try:
                await pool.call(method, ["x"])
            except RpcTimeout:
                took[method] = asyncio.get_running_loop().time() - began_s
    assert list(took) == ["sendTransaction", "getLatestBlockhash", "getBalance"], "history was waited for"
    assert max(took["sendTransaction"], took["getLatestBlockhash"]) < took["getBalance"]


async def test_a_send_is_over_within_its_own_deadline_however_many_nodes_hang() -> None:
    """After it the trade is looked for; a call's long deadline is for reads that nobody trades on."""
    times = {"urgent_timeout_s": 0.1, "request_timeout_s": 0.2, "urgent_deadline_s": 0.25, "call_deadline_s": 60}
    nodes = [ScriptedNode(lambda method, params: asyncio.sleep(3600)) for _ in range(8)]
    options: dict[str, Any] = {"hedging": {"enabled": False}, "retry_budget": {"enabled": False}}
    async with pool_over(*nodes, **times, **options) as pool:
        for method, asked in (("sendTransaction", 3), ("getBalance", 8)):
            with pytest.raises(RpcTimeout):
                await pool.call(method, ["x"])
            calls = sum(n.methods().count(method) for n in nodes)
            assert calls <= asked, method
            assert calls >= asked - 1, method
