"""
Memory of one engine with 100 tokens and 25 h of bars each, and how much it grows over a million events.

A child process holds the whole engine's code, both strategies, the signal queue and a real SQLite ledger, and takes the
events through the pipeline as a feed would. Nodes and trades are left out: their number is bounded by settings.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil

TOKENS, BARS, EVENTS = 100, 1500, 1_000_000


async def main(emit: Callable[..., None]) -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, __file__, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    text = await child.stdout.read()
    if await child.wait() != 0:
        raise RuntimeError("the engine under measure failed")
    result = json.loads(text)
    emit("engine-memory 100 tokens", result["warm_mib"], "MiB", "lower", result["empty_mib"], 150.0)
    emit("engine-memory growth over 1M events", result["grown_mib"], "MiB", "lower", None, 5.0)


def rss_mib() -> float:
    return float(psutil.Process(os.getpid()).memory_info().rss) / 2**20


async def child() -> None:
    from tradingbot_engine import engine  # noqa: F401  the whole engine's code counts
    from tradingbot_engine.bus.core_events import CoreEvents
    from tradingbot_engine.bus.seen import SeenSignals
    from tradingbot_engine.bus.signals import SignalQueue
    from tradingbot_engine.clock import SystemClock
    from tradingbot_engine.core.decide import decide
    from tradingbot_engine.core.state import CoreState, StrategyConfig
    from tradingbot_engine.domain.events import BAR_MS, Bar, HistoryLoaded, PriceTick, QuoteInUsd
    from tradingbot_engine.domain.tokens import Token
    from tradingbot_engine.ledger.factory import open_ledger
    from tradingbot_engine.lifecycle import Lifecycle
    from tradingbot_engine.metrics import Metrics
    from tradingbot_engine.pipeline import Pipeline
    from tradingbot_engine.settings import BusSettings, LedgerSettings, QueueSettings
    from tradingbot_engine.tally import Tally
    from tradingbot_engine.upkeep import BarKeeper

    empty = rss_mib()
    chance = random.Random(7)
    clock = SystemClock()
    mints = [f"{n:x}".rjust(43, "1") for n in range(TOKENS)]
    origin_ms = 1_750_000_000_000 // BAR_MS * BAR_MS
    with tempfile.TemporaryDirectory() as folder:
        ledger = open_ledger(
            LedgerSettings(sqlite_path=Path(folder) / "l.db"), holder="a" * 32, clock=clock, paper=True
        )
        await ledger.open()
        state = CoreState.create(
            [Token(m, m[-4:], 6) for m in mints],
            [StrategyConfig("momentum", "momentum_5m"), StrategyConfig("reversion", "mean_revert_1h")],
        )
        decide(state, QuoteInUsd(origin_ms, 150.0))
        for mint in mints:
            bars = tuple(
                Bar(origin_ms - (BARS - n) * BAR_MS, 1.0, 1.01, 0.99, 1.0 + n % 7 / 1000, 10**9, 10**13)
                for n in range(BARS)
            )
            decide(state, HistoryLoaded(mint, bars))
        bars_kept = BarKeeper(ledger=ledger)
        pipeline = Pipeline(
            state=state,
            events=CoreEvents(settings=BusSettings(), clock=clock, tokens=TOKENS),
            signals=SignalQueue(settings=QueueSettings(), workers=16, clock=clock),
            ledger=ledger,
            book=None,  # type: ignore[arg-type]  # nothing is traded here
            bars=bars_kept,
            trades=None,  # type: ignore[arg-type]
            lifecycle=Lifecycle(clock=clock),
            tally=Tally(metrics=Metrics(), clock=clock),
            clock=clock,
            approve=lambda signal: None,  # type: ignore[arg-type,return-value]
            limits=lambda intent: None,  # type: ignore[arg-type,return-value]
            owner_of=lambda mint: None,
            seen=SeenSignals(size=10_000),
        )
        core = asyncio.create_task(pipeline.decide_forever())
        prices = dict.fromkeys(mints, 1.0)

        async def play(events: int, first: int) -> None:
            for n in range(first, first + events):
                mint = mints[n % TOKENS]
                prices[mint] *= 1 + chance.gauss(0, 0.0005)
                pipeline.emit(PriceTick(mint, n, origin_ms + n * 3, prices[mint], 10**13, 10**7))
                if n % 2000 == 0:
                    await bars_kept.flush()
                    await asyncio.sleep(0)

        await play(EVENTS // 5, 0)  # queues, buffers and the ledger's pages reach their size
        warm = rss_mib()
        await play(EVENTS, EVENTS // 5)
        await asyncio.sleep(0.1)
        grown = rss_mib() - warm
        core.cancel()
        await ledger.close()
    print(json.dumps({"empty_mib": empty, "warm_mib": warm, "grown_mib": grown}))


if __name__ == "__main__":
    asyncio.run(child())
