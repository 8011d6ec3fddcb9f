"""
burst-latency: from a critical signal to the first byte sent, while ten times as many other signals come in.

The real path, as in `bench_live_path`: queue, risk, claim in SQLite with `synchronous=FULL`, build, sign, send to localnet in a
process of its own; the time that the swap API takes to quote is left out. Measured are stop losses alone. In turn, so that
what disturbs the machine disturbs both alike: calm, the trades of this benchmark and nothing else; and a burst, beside them
entries of other strategies, NORMAL and LOW, at ten times the rate at which signals came in before, in clumps as a market's
slots make them; those that risk lets through are traded.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from solders.keypair import Keypair
from support.localnet_process import engine_settings, fund, localnet_process
from support.timed_quotes import TimedQuotes

from tradingbot_engine.app import Wired, assemble
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.intents import OrderIntent
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
OWN = ("bench-a", "bench-b", "bench-c")
"""Names that the core does not know, so that it wishes nothing about their positions."""
OTHERS = tuple(f"burst-{n}" for n in range(8))
EXITS, TURNS = 30, 6
"""Stop losses measured in each phase, and how often calm and burst take turns."""
PHASE_S = 90.0
TIMES, CLUMP_S = 10, 0.1


class Stopwatch:
    """When each signal was put, and how long its first attempt took to leave."""

    def __init__(self, quotes: TimedQuotes) -> None:
        self.quotes = quotes
        self.put_s: dict[str, float] = {}
        self.began_s: dict[str, float] = {}
        self.left_ms: dict[str, float] = {}

    def attach(self, wired: Wired) -> None:
        pipeline: Any = wired.pipeline
        approve, on_send = pipeline._approve, wired.trades._driver._on_send
        assert on_send is not None

        def approving(signal: Signal) -> Any:
            intent = approve(signal)
            if isinstance(intent, OrderIntent) and signal.trigger_id in self.put_s:
                self.began_s[intent.id] = self.put_s[signal.trigger_id]
            return intent

        def leaving(attempt: Any) -> None:
            on_send(attempt)
            began = self.began_s.pop(attempt.intent_id, None)
            if began is not None:
                spent_s = time.perf_counter() - began - self.quotes.seconds.get(attempt.intent_id, 0.0)
                self.left_ms[attempt.intent_id] = spent_s * 1000

        pipeline._approve = approving
        wired.trades._driver._on_send = leaving


@asynccontextmanager
async def a_trading_engine() -> AsyncIterator[tuple[Wired, Stopwatch]]:
    with tempfile.TemporaryDirectory() as name:
        async with localnet_process("--nodes", "1", "--slot-ms", "100", "--seed", "5") as line:
            wallet = Keypair()
            await fund(line, wallet, sol=1000)
            settings = EngineSettings(**engine_settings(line, folder=Path(name), wallet=wallet, tokens=TOKENS))
            configure_logs(settings.logging)
            clock = SystemClock()
            lifecycle = Lifecycle(clock=clock)
            outside = await open_outside(settings, clock=clock)
            watch = Stopwatch(TimedQuotes(outside.executor))
            wired = await assemble(replace(outside, executor=watch.quotes), settings, lifecycle, Metrics())
            watch.attach(wired)
            pipeline = wired.pipeline
            work = [pipeline.decide_forever(), pipeline.order_forever(), pipeline.shed_forever()]
            work += [wired.trades.mirror_forever(), outside.feed.run(pipeline.emit)]
            work += [pipeline.trade_forever() for _ in range(settings.execution.workers)]
            work += [repeat(n, s, w, lifecycle=lifecycle, clock=clock) for n, s, w in wired.chores]
            tasks = [asyncio.create_task(w) for w in work]
            lifecycle.enter(Phase.READY)
            try:
                yield wired, watch
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await outside.close()


async def stop_losses(wired: Wired, watch: Stopwatch, numbers: itertools.count[int]) -> tuple[list[float], float]:
    """Open positions and leave them until EXITS exits were sent; return their times in ms, and signals put a second."""
    sent: list[float] = []
    put, began = 0, time.monotonic()
    while len(sent) < EXITS:
        if time.monotonic() > began + PHASE_S:
            raise TimeoutError(f"{len(sent)} of {EXITS} exits were sent; refused: {wired.pipeline._tally.refusals}")
        wish = next_wish(wired, next(numbers))
        if wish is None:
            await asyncio.sleep(0.005)
            continue
        before = len(watch.left_ms)
        watch.put_s[wish.trigger_id] = time.perf_counter()
        wired.signals.put(wish)
        put += 1
        for _ in range(300):
            await asyncio.sleep(0.002)
            if len(watch.left_ms) > before:
                if wish.purpose is Purpose.EXIT:
                    sent.append(next(reversed(watch.left_ms.values())))
                break
    return sent, put / (time.monotonic() - began)


def next_wish(wired: Wired, n: int) -> Signal | None:
    """Return the stop loss of a confirmed position, else an entry where none is held."""
    held = {(p.strategy, p.mint): p for p in wired.book.positions.values()}
    tokens = wired.outside.feed.health().tokens
    entry: Signal | None = None
    for strategy, mint in itertools.product(OWN, TOKENS):
        view, position = tokens.get(mint), held.get((strategy, mint))
        if view is None or not view.price:
            continue
        if position is None:
            entry = entry or wish_for(strategy, mint, n, view.price, Priority.NORMAL)
        elif position.state is PositionState.OPEN and not position.exit_open:
            return replace(
                wish_for(strategy, mint, n, view.price, Priority.CRITICAL),
                side=Side.SELL,
                purpose=Purpose.EXIT,
                position_id=position.id,
            )
    return entry


def wish_for(strategy: str, mint: str, n: int, price: float, priority: Priority) -> Signal:
    return Signal(strategy, "bench", 1, mint, Side.BUY, Purpose.ENTRY, f"wish:{n}", 0, price, "bench", priority)


async def burst(wired: Wired, rate: float, numbers: itertools.count[int], offered: list[int]) -> None:
    """Put `rate` entries of other strategies a second, in clumps."""
    chance = random.Random(2)
    due = 0.0
    while True:
        due += rate * CLUMP_S
        while due >= 1:
            due -= 1
            mint = chance.choice(list(TOKENS))
            view = wired.outside.feed.health().tokens.get(mint)
            if view is not None and view.price:
                priority = chance.choice((Priority.NORMAL, Priority.LOW))
                wired.signals.put(wish_for(chance.choice(OTHERS), mint, next(numbers), view.price, priority))
                offered[0] += 1
        await asyncio.sleep(CLUMP_S)


def p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


async def main(emit: Callable[..., None]) -> None:
    numbers, offered = itertools.count(), [0]
    calm: list[float] = []
    hot: list[float] = []
    async with a_trading_engine() as (wired, watch):
        await stop_losses(wired, watch, numbers)  # connections, plans and pages are warm after this
        for _ in range(TURNS):
            sent, rate = await stop_losses(wired, watch, numbers)
            calm += sent
            flood = asyncio.create_task(burst(wired, TIMES * rate, numbers, offered))
            try:
                sent, _ = await stop_losses(wired, watch, numbers)
            finally:
                flood.cancel()
                await asyncio.gather(flood, return_exceptions=True)
            hot += sent
        refusals = dict(wired.pipeline._tally.refusals)
    assert offered[0] > EXITS * TURNS, "no burst came: nothing is measured"
    print(f"{rate:.1f} signals/s calm, {offered[0]} in the bursts; refused {refusals}", file=sys.stderr)
    print(f"worst of the calm {sorted(calm)[-4:]}, of the bursts {sorted(hot)[-4:]}", file=sys.stderr)
    emit("burst-latency p50, critical (baseline calm)", statistics.median(hot), "ms", "lower", statistics.median(calm))
    emit("burst-latency p99, critical (baseline calm)", p99(hot), "ms", "lower", p99(calm), round(2 * p99(calm), 3))
