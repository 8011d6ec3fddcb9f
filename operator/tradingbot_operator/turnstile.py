"""A limit of how much is under way at once that nothing which hangs can use up."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Place:
    """A place inside, until it is left."""

    def __init__(self, given_back: Callable[[], None]) -> None:
        self._given_back: Callable[[], None] | None = given_back

    def leave(self) -> None:
        """Make room for the next one; the second time nothing happens."""
        given_back, self._given_back = self._given_back, None
        if given_back is not None:
            given_back()


class Turnstile:
    """
    Let so many in at once, in the order in which they came, but those that go first before all others.

    Args:
        limit: How many.
        patience_s: Who is inside for longer counts no more: what hangs slows the others down for this long, and then no more.
    """

    def __init__(self, limit: int, *, patience_s: float) -> None:
        self._free, self._patience_s = limit, patience_s
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    @asynccontextmanager
    async def enter(self, *, first: bool = False) -> AsyncIterator[Place]:
        """Wait for a place, and hold it to the end, or until it is left."""
        await self._take(first)
        place = Place(self._give)
        timer = asyncio.get_running_loop().call_later(self._patience_s, place.leave)
        try:
            yield place
        finally:
            timer.cancel()
            place.leave()

    async def _take(self, first: bool) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (not first, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give()  # it was given a place, and will not use it
            raise

    def _give(self) -> None:
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
