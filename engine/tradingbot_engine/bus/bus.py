"""
The bus: events in the order of their source, to several consumers, with holes asked for at the source.

`publish` is one call per event and never blocks; order and holes follow from `ordered`, room and lag from `consumers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog

from tradingbot_engine.bus.consumers import Consumer
from tradingbot_engine.bus.ordered import Gap, OrderCounts, Ordering
from tradingbot_engine.clock import Clock
from tradingbot_engine.errors import EngineError
from tradingbot_engine.settings.bus import BusSettings

REPAIR_PAUSE_S = 0.05
"""Before the source is asked again about a hole, while its window lasts."""
REPAIRS_AT_ONCE = 16

Found: TypeAlias = Iterable[tuple[int, Any]]
"""(sequence, event) of what the source has in a hole, in any order."""
Repair: TypeAlias = Callable[[Gap], Awaitable[Found]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConsumerLag:
    """How far one consumer is behind."""

    name: str
    depth: int
    lag_s: float
    dropped: int
    conflated: int


class EventBus:
    """
    Ordered events for several consumers.

    Args:
        keys: How many keys are expected (tokens, say).
        repair: Asks the source for what is missing in a hole; absent, a hole waits for its window only.
    """

    def __init__(self, *, settings: BusSettings, clock: Clock, keys: int, repair: Repair | None = None) -> None:
        self._ordering = Ordering(
            window_s=settings.window_ms / 1000,
            window_size=settings.window_size,
            remembered=settings.remembered,
            keys=keys,
            now=clock.monotonic_s,
        )
        self._offer: Callable[..., Iterable[Any]] = self._ordering.offer if settings.ordering else _as_it_comes
        self._asks = self._ordering.asks
        self._clock, self._repair = clock, repair
        self._consumers: list[Consumer] = []
        self._puts: list[Callable[[Hashable, Any], None]] = []
        self._held_up = asyncio.Event()
        self.repairs_failed = 0

    def subscribe(self, consumer: Consumer) -> None:
        """Give everything that is published from now on to `consumer` too."""
        self._consumers.append(consumer)
        self._puts.append(consumer.put)

    def publish(self, key: Hashable, number: int, event: Any, after: int | None = None) -> None:
        """Take an event of the source; see `ordered.Ordering.offer`."""
        for item in self._offer(key, number, event, after):
            for put in self._puts:
                put(key, item)
        if self._asks:
            self._held_up.set()

    def rewind(self, key: Hashable, to: int) -> None:
        """The source's chain returned to `to`; see `ordered.Ordering.rewind`."""
        self._ordering.rewind(key, to)

    def forget(self, key: Hashable) -> None:
        """Nobody asks about `key` any more."""
        self._ordering.forget(key)

    async def run(self) -> None:
        """Ask for what is missing, and give up what does not come in time; until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            room = asyncio.Semaphore(REPAIRS_AT_ONCE)
            while True:
                asks = list(self._asks)
                self._asks.clear()
                if self._repair is not None:
                    for gap in asks:
                        tasks.create_task(self._ask(gap, self._repair, room), name=f"bus: repair {gap.key}")
                await self._pause()
                for key, items in self._ordering.expire():
                    for put in self._puts:
                        for item in items:
                            put(key, item)

    async def _pause(self) -> None:
        """Wait for a new hole, or until the oldest one is over."""
        due_s = self._ordering.next_due_s
        waits: set[asyncio.Task[Any]] = {asyncio.create_task(self._held_up.wait())}
        if due_s is not None:
            left_s = max(0.0, due_s - self._clock.monotonic_s())
            waits.add(asyncio.create_task(_sleep(self._clock, left_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._held_up.clear()

    async def _ask(self, gap: Gap, repair: Repair, room: asyncio.Semaphore) -> None:
        """Ask the source until the hole is filled or given up."""
        while self._is_open(gap):
            try:
                async with room:
                    found = await repair(gap)
            except (EngineError, OSError, TimeoutError) as error:
                self.repairs_failed += 1
                _log.debug("hole not repaired", key=str(gap.key), error=str(error))
            else:
                for number, event in sorted(found, key=lambda item: item[0]):
                    self.publish(gap.key, number, event)
                if self._is_open(gap):
                    self.repairs_failed += 1
            if self._is_open(gap):
                await self._clock.sleep(REPAIR_PAUSE_S)

    def _is_open(self, gap: Gap) -> bool:
        now = self._ordering.open_gap(gap.key)
        return now is not None and now.until == gap.until

    # --- what people see
    @property
    def counts(self) -> OrderCounts:
        """What was unusual so far."""
        return self._ordering.counts

    @property
    def waiting(self) -> int:
        """Events that wait for a missing one."""
        return self._ordering.waiting

    def lags(self) -> list[ConsumerLag]:
        """How far each consumer is behind."""
        return [ConsumerLag(c.name, len(c), c.lag_s, c.dropped, c.conflated) for c in self._consumers]


def _as_it_comes(key: Hashable, number: int, event: Any, after: int | None = None) -> tuple[Any]:
    return (event,)


async def _sleep(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)
