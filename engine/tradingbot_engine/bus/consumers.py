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
        merge: If given, an item of a key that waits already is merged into the waiting one, which keeps its place:
            `merge(waiting, newer)`. Marks (`Late`, `Gap`) are never merged.
        now: Monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        max_size: int,
        overflow: Overflow,
        now: Callable[[], float],
        merge: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self.name, self.dropped, self.conflated = name, 0, 0
        self._max_size, self._overflow, self._now, self._merge = max_size, overflow, now, merge
        self._items: deque[Any] = deque()
        self._keyed: dict[Hashable, list[Any]] = {}
        self._since_s = 0.0
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def lag_s(self) -> float:
        return self._now() - self._since_s if self._items else 0.0

    def put(self, key: Hashable, item: Any) -> None:
        items = self._items
        if not items:
            self._since_s = self._now()
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
        if self._merge is not None:
            self._put_merged(key, item)
        elif len(items) < self._max_size:
            items.append(item)
        else:
            self.dropped += 1
            if self._overflow is Overflow.DROP_OLDEST:
                items.popleft()
                items.append(item)

    def _put_merged(self, key: Hashable, item: Any) -> None:
        assert self._merge is not None
        mark = isinstance(item, Late | Gap)
        waiting = None if mark else self._keyed.get(key)
        if waiting is not None:
            waiting[1] = self._merge(waiting[1], item)
            self.conflated += 1
            return
        if len(self._items) >= self._max_size:
            self.dropped += 1
            if self._overflow is Overflow.DROP_NEWEST:
                return
            self._forget(self._items.popleft())
        entry = [key, item]
        self._items.append(entry)
        if mark:
            self._keyed.pop(key, None)  # what comes after the mark stays after it
        else:
            self._keyed[key] = entry

    def _forget(self, entry: list[Any]) -> None:
        if self._keyed.get(entry[0]) is entry:
            del self._keyed[entry[0]]

    def take_now(self) -> deque[Any]:
        """Take all that waits, oldest first; may be nothing."""
        items, self._items = self._items, deque()
        if self._merge is None:
            return items
        self._keyed.clear()
        return deque(item for _, item in items)

    async def take(self) -> deque[Any]:
        """Wait until something waits, and take all of it, oldest first; for one task."""
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.take_now()
