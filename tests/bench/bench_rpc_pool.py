"""
`rpc-pool`: getBalance at concurrency 50 through the pool with everything on, beside raw aiohttp + orjson and solana-py.

Three endpoints (one server, three addresses): rate and concurrency limits, breakers, the health watch, hedging after the
observed p95, retry budget, deadlines and single flight all take part. No two calls under way are equal, so that single
flight has its cost and spares nothing; nothing is batched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench import bench_rpc_calls
from bench.bench_rpc_calls import CALLS, CONCURRENCY, ROUNDS, measure
from pydantic import SecretStr
from support.server_process import server_process

from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EndpointSettings, RpcSettings


def everything_on(port: int) -> RpcSettings:
    """Return settings with every protection on, and bounds that 50 calls at once do not meet."""
    endpoints = tuple(
        EndpointSettings(
            name=name,
            url=SecretStr(f"http://127.0.0.1:{port}/{name}"),
            requests_per_second=1e6,
            concurrency=CONCURRENCY,
        )
        for name in ("one", "two", "three")
    )
    settings = RpcSettings(endpoints=endpoints)
    off = [name for name, group in settings if getattr(group, "enabled", True) is False]
    assert not off, off
    assert settings.single_flight
    return settings


async def main(emit: Callable[..., Any]) -> None:
    """Emit rate and CPU per call of the pool beside both baselines, and what its hedges cost."""
    shares: list[float] = []

    def look(pool: RpcPool) -> None:
        stats = pool.stats()
        assert stats.shared == 0, "equal calls shared requests: the bench would measure nothing"
        assert not pool.switched_off()
        shares.append(stats.hedges / (CALLS * ROUNDS + CALLS // 5) * 100)

    async with server_process(bench_rpc_calls.__file__) as port:
        got = await measure(port, everything_on, look)
    (raw_rate, raw_cpu), (rate, cpu), (solana_rate, solana_cpu) = got["raw"], got["pool"], got["solana"]
    emit("rpc-pool calls/s", rate, "calls/s", "higher", raw_rate, None)
    emit("rpc-pool calls/s against solana-py", rate, "calls/s", "higher", solana_rate, None)
    emit("rpc-pool CPU", cpu, "µs/call", "lower", raw_cpu, round(1.3 * raw_cpu, 3))
    emit("rpc-pool CPU against solana-py", cpu, "µs/call", "lower", solana_cpu, None)
    emit("rpc-pool hedges", shares[0], "% of calls", "lower", None, 10.0)
