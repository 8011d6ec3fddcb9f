"""One request, and further ones beside it while it is late; the first good answer ends the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Race(Generic[T]):
    """
    Run `first`; every `delay_s` that nobody has a good answer, start what `another()` returns (None: nothing).

    When `run` returns or raises, none of its tasks is left, except that with `let_run` the extras that lost to `first`
    are handed to it instead of being cancelled. `first` runs in the caller's own task: the common case costs no task.
    """

    __slots__ = ("_another", "_delay_s", "_extras", "_good", "_loop", "_scope", "_timer", "_winner")

    def __init__(
        self, *, delay_s: float, another: Callable[[], Coroutine[Any, Any, T] | None], good: Callable[[T], bool]
    ) -> None:
        self._delay_s, self._another, self._good = delay_s, another, good
        self._loop = asyncio.get_running_loop()
        self._extras: list[asyncio.Task[T]] = []
        self._winner: asyncio.Task[T] | None = None
        self._scope: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(
        self, first: Coroutine[Any, Any, T], *, let_run: Callable[[asyncio.Task[T]], None] | None = None
    ) -> tuple[T, bool]:
        """Return the outcome, and whether `first` was still silent when another one answered."""
        self._timer = self._loop.call_later(self._delay_s, self._late)
        keep = False
        try:
            try:
                async with asyncio.timeout(None) as self._scope:
                    outcome = await first
            except TimeoutError:
                if self._winner is None:
                    raise
                return self._winner.result(), True
            finally:
                self._scope = None
                self._timer.cancel()
            if self._extras:
                if not self._good(outcome):
                    outcome = await self._best_extra(outcome)
                else:
                    keep = let_run is not None
            return outcome, False
        finally:
            if self._extras:
                await self._end_extras(let_run if keep else None)

    def _late(self) -> None:
        coroutine = self._another()
        if coroutine is None:
            return
        task = self._loop.create_task(coroutine, name="rpc: hedge")
        self._extras.append(task)
        task.add_done_callback(self._extra_is_done)
        self._timer = self._loop.call_later(self._delay_s, self._late)

    def _extra_is_done(self, task: asyncio.Task[T]) -> None:
        if self._scope is None or self._winner is not None or task.cancelled() or task.exception() is not None:
            return
        if self._good(task.result()):
            self._winner = task
            self._scope.reschedule(self._loop.time())  # ends `first` at its next await

    async def _best_extra(self, outcome: T) -> T:
        """Wait for the extras now that `first` has failed; return the first good outcome, else the last one."""
        for task in asyncio.as_completed(self._extras):
            outcome = await task
            if self._good(outcome):
                break
        return outcome

    async def _end_extras(self, let_run: Callable[[asyncio.Task[T]], None] | None) -> None:
        left = [task for task in self._extras if not task.done()]
        for task in left:
            if let_run is not None:
                let_run(task)
            else:
                task.cancel()
        if left and let_run is None:
            await asyncio.wait(left)
