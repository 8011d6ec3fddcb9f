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
from support.server_process import server_process

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EndpointSettings, RpcSettings

CONCURRENCY = 50
CALLS = 3000
SLOW_CALLS = 500
ROUNDS = 7
KEYS = tuple(str(Pubkey(number.to_bytes(32, "big"))) for number in range(1, 512))
"""Every call under way asks about another account: equal ones would share a request."""

Call = Callable[[str], Awaitable[int]]


async def serve() -> None:
    """Answer every getBalance until standard input ends; tell the port first."""

    async def answer(request: web.Request) -> web.Response:
        question = orjson.loads(await request.read())
        result = {"context": {"apiVersion": "2.3.6", "slot": 5}, "value": 42}
        body = {"jsonrpc": "2.0", "id": question["id"], "result": result}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def timed(call: Call, calls: int) -> tuple[float, float]:
    """Return calls per second and client CPU microseconds per call."""
    left = iter(range(calls))

    async def worker() -> None:
        for number in left:
            assert await call(KEYS[number % len(KEYS)]) == 42

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return calls / (time.perf_counter() - wall), (time.process_time() - cpu) / calls * 1e6


def raw_call(session: aiohttp.ClientSession, url: str) -> Call:
    async def call(key: str) -> int:
        body = orjson.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "getBalance", "params": [key, {"commitment": "confirmed"}]}
        )
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            value: int = orjson.loads(await answer.read())["result"]["value"]
            return value

    return call


def one_endpoint(port: int) -> RpcSettings:
    """Return settings of one endpoint without a bound that this bench would meet."""
    url = SecretStr(f"http://127.0.0.1:{port}/")
    endpoint = EndpointSettings(name="bench", url=url, requests_per_second=1e6, concurrency=CONCURRENCY)
    return RpcSettings(endpoints=(endpoint,), request_timeout_s=10)


async def measure(
    port: int,
    settings_of: Callable[[int], RpcSettings] = one_endpoint,
    seen_pool: Callable[[RpcPool], None] | None = None,
) -> dict[str, tuple[float, float]]:
    """Return each client's median calls per second and CPU microseconds per call."""
    url = f"http://127.0.0.1:{port}/"
    async with (
        RpcPool(settings_of(port), clock=SystemClock()) as pool,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(10)) as session,
        AsyncClient(url) as solana,
    ):
        rpc = Rpc(pool)

        async def ours(key: str) -> int:
            return (await rpc.get_balance(key)).result

        async def theirs(key: str) -> int:
            return (await solana.get_balance(Pubkey.from_string(key))).value

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
        if seen_pool is not None:
            seen_pool(pool)
    return {
        name: (statistics.median(rate for rate, _ in rounds), statistics.median(cpu for _, cpu in rounds))
        for name, rounds in seen.items()
    }


async def main(emit: Callable[..., Any]) -> None:
    """Emit rate and CPU per call of the pool beside both baselines."""
    async with server_process(__file__) as port:
        got = await measure(port)
    (raw_rate, raw_cpu), (rate, cpu), (solana_rate, solana_cpu) = got["raw"], got["pool"], got["solana"]
    emit("rpc-calls/s", rate, "calls/s", "higher", raw_rate, None)
    emit("rpc-calls/s against solana-py", rate, "calls/s", "higher", solana_rate, None)
    emit("rpc-calls CPU", cpu, "µs/call", "lower", raw_cpu, round(1.3 * raw_cpu, 3))
    emit("rpc-calls CPU against solana-py", cpu, "µs/call", "lower", solana_cpu, None)


if __name__ == "__main__":
    uvloop.run(serve())
