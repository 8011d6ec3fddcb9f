"""Those who take events: each with a queue of its own, bounded, whose lag anybody can see."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from enum import StrEnum
from typing import Any, Protocol

from tradingbot_engine.bus.ordered import Gap, Late


class Overflow(StrEnum):
    """What a full queue does with one more event; either way it is counted."""

    DROP_OLDEST = "DropOldest"
    """The newest matter most."""
    DROP_NEWEST = "DropNewest"
    """What was begun is finished."""


class Consumer(Protocol):
    """Somebody who takes events; a slow one loses, by its own rule, and holds nobody up."""

    name: str
    dropped: int
    """Events lost since the queue was full."""
    conflated: int
    """Events that were merged into a waiting one."""

    def put(self, key: Hashable, item: Any) -> None:
        """Queue an item; never blocks and never fails."""

    def __len__(self) -> int:
        """How many items wait."""

    @property
    def lag_s(self) -> float:
        """How long the oldest waiting item has waited at most, in seconds."""


class ConsumerQueue:
    """
    A bounded queue; the consumer takes all that waits at once.

    Args:
        max_size: Items that wait at most.
        now: Monotonic seconds.
    """

    def __init__(self, name: str, *, max_size: int, overflow: Overflow, now: Callable[[], float]) -> None:
        self.name, self.dropped, self.conflated = name, 0, 0
        self._max_size, self._overflow, self._now = max_size, overflow, now
        self._items: deque[Any] = deque()
        self._since_s = 0.0
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def lag_s(self) -> float:
        return self._now() - self._since_s if self._items else 0.0

    def put(self, key: Hashable, item: Any) -> None:
        items = self._items
        if 0 < len(items) < self._max_size:  # by far the most frequent
            items.append(item)
        elif not items:
            self._begin()
            items.append(item)
        else:
            self.dropped += 1
            if self._overflow is Overflow.DROP_OLDEST:
                items.popleft()
                items.append(item)

    def _begin(self) -> None:
        """The first item comes: its wait begins, the consumer's ends."""
        self._since_s = self._now()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take_now(self) -> deque[Any]:
        """Take all that waits, oldest first; may be nothing."""
        items, self._items = self._items, deque()
        return items

    async def take(self) -> deque[Any]:
        """Wait until something waits, and take all of it, oldest first; for one task."""
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.take_now()


class ConflatingQueue(ConsumerQueue):
    """
    A queue in which a newer item is merged into the waiting one of its key, which keeps its place.

    Args:
        merge: `merge(waiting, newer)`. Marks (`Late`, `Gap`) are never merged, and nothing is merged across them.
    """

    def __init__(
        self,
        name: str,
        *,
        max_size: int,
        overflow: Overflow,
        now: Callable[[], float],
        merge: Callable[[Any, Any], Any],
    ) -> None:
        super().__init__(name, max_size=max_size, overflow=overflow, now=now)
        self._merge = merge
        self._keyed: dict[Hashable, list[Any]] = {}
        """The waiting entry of each key that may still be merged into: [key, item]."""

    def put(self, key: Hashable, item: Any) -> None:
        mark = isinstance(item, Late | Gap)
        waiting: list[Any] | None = None if mark else self._keyed.get(key)
        if waiting is not None:
            waiting[1] = self._merge(waiting[1], item)
            self.conflated += 1
            return
        if not self._items:
            self._begin()
        if len(self._items) >= self._max_size:
            self.dropped += 1
            if self._overflow is Overflow.DROP_NEWEST:
                return
            oldest: list[Any] = self._items.popleft()
            if self._keyed.get(oldest[0]) is oldest:
                del self._keyed[oldest[0]]
        entry = [key, item]
        self._items.append(entry)
        if mark:
            self._keyed.pop(key, None)
        else:
            self._keyed[key] = entry

    def take_now(self) -> deque[Any]:
        self._keyed.clear()
        return deque(item for _, item in super().take_now())
