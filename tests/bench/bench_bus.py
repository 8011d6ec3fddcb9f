"""
bus: ordered events a second end to end, from `publish` to two consumers that handle each one.

The stream is what a network makes of a source's: per key the slot rises, every event names the one before it, one in fifty
comes after its successor, one in a hundred comes twice. Baselines without any order, over the same events: asyncio.Queue
(one put and one get an event, one queue per consumer) and a dict of handlers called at once. The goal is for the best of many
short rounds, what the code costs where nothing else takes the core; the medians tell what else ran.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import time
from collections.abc import Awaitable, Callable

from tradingbot_engine.bus.bus import EventBus
from tradingbot_engine.bus.consumers import ConsumerQueue, Overflow
from tradingbot_engine.bus.ordered import sequence
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.events import PriceTick
from tradingbot_engine.settings import BusSettings

EVENTS, KEYS, ROUNDS = 20_000, 100, 60
TURN = 256
"""Published before the consumers get their turn, as a feed does between two reads of its socket."""
Told = tuple[str, int, PriceTick, int | None]


def stream() -> tuple[list[Told], int]:
    """Return what arrives, in order of arrival, and how many of them are repetitions."""
    chance = random.Random(1)
    made: list[Told] = []
    before: dict[int, int | None] = dict.fromkeys(range(KEYS))
    for n in range(EVENTS):
        key = n % KEYS
        slot = n // KEYS
        number = sequence(slot)
        made.append((f"mint-{key}", number, PriceTick(f"mint-{key}", slot, slot * 400, 1.0, 10**9, n), before[key]))
        before[key] = number
    repeated = 0
    told = list(made)
    for n in range(KEYS, EVENTS - KEYS):
        if chance.random() < 0.02:
            told[n], told[n + KEYS] = told[n + KEYS], told[n]
    out: list[Told] = []
    for one in told:
        out.append(one)
        if chance.random() < 0.01:
            out.append(one)
            repeated += 1
    return out, repeated


class Handler:
    """What a consumer does at least: look at the event, and check that it is in order."""

    def __init__(self) -> None:
        self.count = self.disorder = 0
        self.slots: dict[str, int] = {}

    def take(self, event: PriceTick) -> None:
        slots = self.slots
        if event.slot < slots.get(event.mint, 0):
            self.disorder += 1
        slots[event.mint] = event.slot
        self.count += 1


async def through_the_bus(told: list[Told]) -> list[Handler]:
    clock = SystemClock()
    bus = EventBus(settings=BusSettings(), clock=clock, keys=KEYS)
    handlers = [Handler(), Handler()]
    queues = [
        ConsumerQueue(f"c{n}", max_size=100_000, overflow=Overflow.DROP_OLDEST, now=clock.monotonic_s) for n in range(2)
    ]

    async def consume(queue: ConsumerQueue, handler: Handler) -> None:
        take = handler.take
        while handler.count < EVENTS:
            for event in await queue.take():
                take(event)

    for queue in queues:
        bus.subscribe(queue)
    running = asyncio.create_task(bus.run())
    consumers = [asyncio.create_task(consume(q, h)) for q, h in zip(queues, handlers, strict=True)]
    publish = bus.publish
    for n, (key, number, event, after) in enumerate(told):
        publish(key, number, event, after)
        if n % TURN == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*consumers)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not any(lag.dropped for lag in bus.lags())
    return handlers


async def through_asyncio_queues(told: list[Told]) -> list[Handler]:
    handlers = [Handler(), Handler()]
    queues: list[asyncio.Queue[PriceTick | None]] = [asyncio.Queue() for _ in handlers]

    async def consume(queue: asyncio.Queue[PriceTick | None], handler: Handler) -> None:
        while (event := await queue.get()) is not None:
            handler.take(event)

    consumers = [asyncio.create_task(consume(q, h)) for q, h in zip(queues, handlers, strict=True)]
    for n, (_, _, event, _) in enumerate(told):
        for queue in queues:
            queue.put_nowait(event)
        if n % TURN == 0:
            await asyncio.sleep(0)
    for queue in queues:
        queue.put_nowait(None)
    await asyncio.gather(*consumers)
    return handlers


async def through_a_dict(told: list[Told]) -> list[Handler]:
    handlers = [Handler(), Handler()]
    subscribers = {f"mint-{n}": [handler.take for handler in handlers] for n in range(KEYS)}
    for n, (key, _, event, _) in enumerate(told):
        for take in subscribers[key]:
            take(event)
        if n % TURN == 0:
            await asyncio.sleep(0)
    return handlers


async def rates(
    work: Callable[[list[Told]], Awaitable[list[Handler]]], told: list[Told]
) -> tuple[list[float], list[Handler]]:
    """Return events a second in each of many short rounds, and the last handlers."""
    found, handlers = [], []
    for _ in range(ROUNDS):
        gc.collect()
        began = time.perf_counter()
        handlers = await work(told)
        found.append(len(told) / (time.perf_counter() - began))
    return found, handlers


async def main(emit: Callable[..., None]) -> None:
    told, repeated = stream()
    queued, wrong = await rates(through_asyncio_queues, told)
    assert wrong[0].disorder > 0, "the stream is in order: nothing is measured"
    called, _ = await rates(through_a_dict, told)
    ordered, handlers = await rates(through_the_bus, told)
    for handler in handlers:
        assert (handler.count, handler.disorder) == (EVENTS, 0), "lost, repeated or out of order"
    assert repeated > 0
    for what, of, goal in (("", max, 500_000), (", median round", statistics.median, None)):
        name = f"bus ordered, 2 consumers{what}"
        emit(f"{name} (baseline asyncio.Queue)", of(ordered), "events/s", "higher", of(queued), goal)
        emit(f"{name} (baseline dict dispatch)", of(ordered), "events/s", "higher", of(called), None)
