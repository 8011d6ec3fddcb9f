"""
`rpc-calls`: getBalance at concurrency 50 through the pool, beside raw aiohttp + orjson and solana-py, in the same run.

The server runs in a process of its own, so that CPU per call is the client's alone. Rounds alternate between the clients
and the median counts: what disturbs the machine disturbs all of them.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web
from pydantic import SecretStr
from solana.rpc.async_api import AsyncClient
from solders.pubkey import Pubkey

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EndpointSettings

CONCURRENCY = 50
CALLS = 3000
SLOW_CALLS = 500
ROUNDS = 7
KEY = "11111111111111111111111111111112"

Call = Callable[[], Awaitable[int]]


async def serve() -> None:
    """Answer every getBalance until standard input ends; tell the port first."""

    async def answer(request: web.Request) -> web.Response:
        question = orjson.loads(await request.read())
        result = {"context": {"apiVersion": "2.3.6", "slot": 5}, "value": 42}
        body = {"jsonrpc": "2.0", "id": question["id"], "result": result}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def timed(call: Call, calls: int) -> tuple[float, float]:
    """Return calls per second and client CPU microseconds per call."""
    left = iter(range(calls))

    async def worker() -> None:
        for _ in left:
            assert await call() == 42

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return calls / (time.perf_counter() - wall), (time.process_time() - cpu) / calls * 1e6


def raw_call(session: aiohttp.ClientSession, url: str) -> Call:
    async def call() -> int:
        body = orjson.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "getBalance", "params": [KEY, {"commitment": "confirmed"}]}
        )
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            value: int = orjson.loads(await answer.read())["result"]["value"]
            return value

    return call


async def measure(port: int) -> dict[str, tuple[float, float]]:
    url = f"http://127.0.0.1:{port}/"
    endpoint = EndpointSettings(name="bench", url=SecretStr(url))
    key = Pubkey.from_string(KEY)
    async with (
        RpcPool((endpoint,), request_timeout_s=10, max_in_flight=200, clock=SystemClock()) as pool,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(10)) as session,
        AsyncClient(url) as solana,
    ):
        rpc = Rpc(pool)

        async def ours() -> int:
            return (await rpc.get_balance(KEY)).result

        async def theirs() -> int:
            return (await solana.get_balance(key)).value

        clients: dict[str, tuple[Call, int]] = {
            "raw": (raw_call(session, url), CALLS),
            "pool": (ours, CALLS),
            "solana": (theirs, SLOW_CALLS),
        }
        seen: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
        for call, calls in clients.values():
            await timed(call, calls // 5)  # connections and caches
        for _ in range(ROUNDS):
            for name, (call, calls) in clients.items():
                seen[name].append(await timed(call, calls))
    return {
        name: (statistics.median(rate for rate, _ in rounds), statistics.median(cpu for _, cpu in rounds))
        for name, rounds in seen.items()
    }


async def main(emit: Callable[..., Any]) -> None:
    """Emit rate and CPU per call of the pool beside both baselines."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, __file__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        got = await measure(int(await server.stdout.readline()))
    finally:
        server.stdin.close()
        await server.wait()
    (raw_rate, raw_cpu), (rate, cpu), (solana_rate, solana_cpu) = got["raw"], got["pool"], got["solana"]
    emit("rpc-calls/s", rate, "calls/s", "higher", raw_rate, None)
    emit("rpc-calls/s against solana-py", rate, "calls/s", "higher", solana_rate, None)
    emit("rpc-calls CPU", cpu, "µs/call", "lower", raw_cpu, round(1.3 * raw_cpu, 3))
    emit("rpc-calls CPU against solana-py", cpu, "µs/call", "lower", solana_cpu, None)


if __name__ == "__main__":
    uvloop.run(serve())
