"""
Durable intents per second: claims in groups, against one commit per claim, on both databases.

Each of the `WORKERS` tasks claims one intent after the other, as trades do; a claim is answered after its commit is durable.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from support import postgres
from support.ledgers import NOW_MS, a_bot, a_risk, an_entry, limits, own

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.ledger.port import ClaimOutcome, Ledger
from tradingbot_engine.ledger.postgres import PostgresLedger
from tradingbot_engine.ledger.sqlite import SqliteLedger

SECONDS = 4.0
WORKERS = 16
"""As many as an engine follows trades at once, by default."""
RICH = 10**17
GOAL_PER_S, GOAL_P99_MS = 2000, 10.0


async def measure(ledger: Ledger, *, workers: int) -> tuple[float, float]:
    """Return (claims/s, p99 in milliseconds); every one must be granted."""
    rows = await ledger.shards()
    me = [await own(ledger, row.shard, holder=f"{workers}") for row in rows]
    wide = limits(max_strategy_quote=RICH, max_open_intents=10**9)
    took_s: list[float] = []

    async def work(name: int, until: float) -> None:
        n = 0
        while (started := time.perf_counter()) < until:
            n += 1
            label = f"{workers}-{name}-{n}-{until}"
            order = an_entry(label, mint=label)
            started = time.perf_counter()
            result = await ledger.claim(order, ownership=me[n % len(me)], limits=wide)
            took_s.append(time.perf_counter() - started)
            assert result.outcome is ClaimOutcome.CLAIMED, result

    warm_until = time.perf_counter() + 0.5
    await asyncio.gather(*(work(n, warm_until) for n in range(workers)))
    took_s.clear()
    started = time.perf_counter()
    await asyncio.gather(*(work(n, started + SECONDS) for n in range(workers)))
    elapsed = time.perf_counter() - started
    took_s.sort()
    return len(took_s) / elapsed, took_s[int(len(took_s) * 0.99)] * 1000


async def compare(name: str, made: Callable[[], Ledger], emit: Callable[..., None]) -> None:
    """Measure one task (so one claim in each commit), then many."""
    ledger = made()
    await ledger.open()
    await ledger.adopt_bot(a_bot(wallet_lamports=RICH, wallet_quote=RICH), risk=a_risk(marked_at_ms=NOW_MS))
    single, single_p99 = await measure(ledger, workers=1)
    grouped, grouped_p99 = await measure(ledger, workers=WORKERS)
    await ledger.close()
    emit(f"ledger-intents {name}", grouped, "1/s", "higher", baseline=single, goal=GOAL_PER_S)
    emit(f"ledger-intents {name} p99", grouped_p99, "ms", "lower", baseline=single_p99, goal=GOAL_P99_MS)


async def main(emit: Callable[..., None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await compare("sqlite", lambda: SqliteLedger(Path(folder) / "ledger.db", clock=SystemClock()), emit)
    if postgres.programs() is None:
        return
    with postgres.server() as running:
        await compare(
            "postgres",
            lambda: PostgresLedger(running.url(), holder="bench", clock=SystemClock(), paper=False),
            emit,
        )
