"""
From a signal to the first byte sent, without the time that the swap API takes to quote.

The real path: queue, risk, claim and journal in SQLite with `synchronous=FULL`, swap instructions fetched, signed, sent to
localnet in a process of its own. Signals are made here, since strategies make few.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from solders.keypair import Keypair
from support.localnet_process import engine_settings, fund, localnet_process
from support.timed_quotes import TimedQuotes

from tradingbot_engine.app import Wired, assemble
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.portfolio import PositionState
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.lifecycle import Lifecycle, Phase
from tradingbot_engine.logs import configure_logs
from tradingbot_engine.metrics import Metrics
from tradingbot_engine.outside import open_outside
from tradingbot_engine.settings import EngineSettings
from tradingbot_engine.upkeep import repeat

TOKENS = {
    "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263": "BONK",
    "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm": "WIF",
    "JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN": "JUP",
}
STRATEGIES = ("bench-a", "bench-b")
"""Names that the core does not know, so that it wishes nothing about their positions."""
TRADES = 150


async def main(emit: Callable[..., None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        async with localnet_process("--nodes", "1", "--slot-ms", "100", "--seed", "5") as line:
            wallet, folder = Keypair(), Path(name)
            await fund(line, wallet, sol=1000)
            settings = EngineSettings(**engine_settings(line, folder=folder, wallet=wallet, tokens=TOKENS))
            configure_logs(settings.logging)
            clock = SystemClock()
            lifecycle = Lifecycle(clock=clock)
            outside = await open_outside(settings, clock=clock)
            timed = TimedQuotes(outside.executor)
            wired = await assemble(replace(outside, executor=timed), settings, lifecycle, Metrics())
            work = [
                wired.pipeline.decide_forever(),
                wired.pipeline.order_forever(),
                wired.pipeline.shed_forever(),
                wired.trades.mirror_forever(),
                outside.feed.run(wired.pipeline.emit),
            ]
            work += [wired.pipeline.trade_forever() for _ in range(settings.execution.workers)]
            work += [repeat(n, s, w, lifecycle=lifecycle, clock=clock) for n, s, w in wired.chores]
            tasks = [asyncio.create_task(w) for w in work]
            lifecycle.enter(Phase.READY)
            try:
                sent = await trade(wired, timed)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await outside.close()
    ordered = sorted(sent)
    emit("live-path p50", statistics.median(ordered), "ms", "lower", None, None)
    emit("live-path p99", ordered[int(len(ordered) * 0.99)], "ms", "lower", None, 20.0)


async def trade(wired: Wired, timed: TimedQuotes) -> list[float]:
    """Enter and leave positions, one signal at a time, until enough were sent; return times without quotes, in ms."""
    sent: dict[str, asyncio.Future[float]] = {}
    began: dict[str, float] = {}
    tally = wired.pipeline._tally
    approved, sending = tally.approved, tally.sending

    def starting(signal: Signal, intent_id: str) -> None:
        began[intent_id] = asked_at
        sent[intent_id] = asyncio.get_running_loop().create_future()
        approved(signal, intent_id)

    def leaving(attempt: Any) -> None:
        sending(attempt)
        spent = time.perf_counter() - began[attempt.intent_id] - timed.seconds[attempt.intent_id]
        if not sent[attempt.intent_id].done():
            sent[attempt.intent_id].set_result(spent * 1000)

    tally.approved = starting  # type: ignore[method-assign]
    wired.trades._driver._on_send = leaving
    latencies: list[float] = []
    deadline = time.monotonic() + 100
    for n in itertools.count():
        if len(latencies) == TRADES:
            return latencies
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {len(latencies)} of {TRADES} trades were sent; refused: {tally.refusals}")
        wish = next_wish(wired, n)
        if wish is None:
            await asyncio.sleep(0.02)
            continue
        before = len(sent)
        asked_at = time.perf_counter()
        wired.signals.put(wish)
        for _ in range(200):
            if len(sent) > before:
                break
            await asyncio.sleep(0.001)
        else:
            continue  # refused: the price moved, or the book was a moment behind
        try:
            latencies.append(await asyncio.wait_for(sent[list(sent)[-1]], 5))
        except TimeoutError:
            continue  # given up before anything was sent: the quote moved too far
    return latencies


def next_wish(wired: Wired, n: int) -> Signal | None:
    """Return an exit of a confirmed position, else an entry where none is held."""
    held = {(p.strategy, p.mint): p for p in wired.book.positions.values()}
    for strategy, mint in itertools.product(STRATEGIES, TOKENS):
        view = wired.outside.feed.health().tokens.get(mint)
        position = held.get((strategy, mint))
        leave = position is not None and position.state is PositionState.OPEN and not position.exit_open
        if view is None or not view.price or (position is not None and not leave):
            continue
        side, purpose, priority = (
            (Side.SELL, Purpose.EXIT, Priority.HIGH) if leave else (Side.BUY, Purpose.ENTRY, Priority.NORMAL)
        )
        own = position.id if leave and position is not None else None
        return Signal(strategy, "bench", 1, mint, side, purpose, f"wish:{n}", 0, view.price, "bench", priority, own)
    return None
