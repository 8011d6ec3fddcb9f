"""
`hung-node`: p99 of reads through the pool while one of three nodes hangs, beside p99 with all three healthy.

Both pools live in one process at one time and their calls alternate, so that whatever disturbs the machine disturbs both.
The server (one process, three addresses) answers after a moment of its own, as nodes do; the hung address never answers.
The goal is 1.5 × the healthy p99 plus the hedge delay of the settings.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson
import uvloop
from aiohttp import web
from bench.bench_rpc_calls import KEYS
from pydantic import SecretStr
from support.server_process import server_process

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EndpointSettings, RpcSettings

CALLS = 3000
AT_ONCE = 10
PAUSE_S = 0.02
"""Between two calls of a worker: the bench measures the nodes' and the pool's time, not that of a busy processor."""
NODE_MS = (15.0, 30.0)
"""How long a healthy node takes, evenly spread."""


async def serve() -> None:
    """Answer every getBalance, late, but under /hung never; until standard input ends. Tell the port first."""

    async def answer(request: web.Request) -> web.Response:
        question = orjson.loads(await request.read())
        if request.path == "/hung":
            await asyncio.sleep(3600)
        await asyncio.sleep(random.uniform(*NODE_MS) / 1000)
        result: Any = {"context": {"slot": int(time.time() * 2.5)}, "value": 42}
        if question["method"] == "getHealth":
            result = "ok"
        elif question["method"] == "getSlot":
            result = int(time.time() * 2.5)
        return web.Response(
            body=orjson.dumps({"jsonrpc": "2.0", "id": question["id"], "result": result}),
            content_type="application/json",
        )

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


def settings_of(port: int, first: str) -> RpcSettings:
    """Return default settings over three nodes, of which `first` is the best by priority."""
    endpoints = tuple(
        EndpointSettings(
            name=name, url=SecretStr(f"http://127.0.0.1:{port}/{name}"), priority=place, requests_per_second=1e6
        )
        for place, name in enumerate((first, "two", "three"))
    )
    return RpcSettings(endpoints=endpoints)


async def main(emit: Callable[..., Any]) -> None:
    """Emit both p99s and medians."""
    async with server_process(__file__) as port:
        healthy, hung = settings_of(port, "one"), settings_of(port, "hung")
        async with RpcPool(healthy, clock=SystemClock()) as all_well, RpcPool(hung, clock=SystemClock()) as one_hung:
            took: dict[str, list[float]] = {"healthy": [], "hung": []}
            left = iter(range(CALLS))

            async def worker() -> None:
                for number in left:
                    for name, pool in (("healthy", all_well), ("hung", one_hung)):
                        await asyncio.sleep(PAUSE_S)
                        began = time.perf_counter()
                        await Rpc(pool).get_balance(KEYS[number % len(KEYS)])
                        took[name].append((time.perf_counter() - began) * 1000)

            await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
            stats = one_hung.stats()
    well, ill = (sorted(took[name]) for name in ("healthy", "hung"))
    p99 = CALLS * 99 // 100
    goal = 1.5 * well[p99] + hung.hedging.delay_ms
    emit("hung-node p99", ill[p99], "ms", "lower", well[p99], round(goal, 3))
    emit("hung-node p50", ill[CALLS // 2], "ms", "lower", well[CALLS // 2], None)
    emit("hung-node worst", ill[-1], "ms", "lower", well[-1], None)
    emit("hung-node hedges", stats.hedges / CALLS * 100, "% of calls", "lower", None, 10.0)


if __name__ == "__main__":
    uvloop.run(serve())
