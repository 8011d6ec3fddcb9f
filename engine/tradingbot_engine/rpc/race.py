"""One request, and further ones beside it while it is late; the first good answer ends the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from tradingbot_engine.rpc.alarms import Alarms

T = TypeVar("T")


class Race(Generic[T]):
    """
    Run `first`; every `delay_s` that nobody has a good answer, start what `another()` returns (None: nothing).

    When `run` returns or raises, none of its tasks is left, except that with `let_run` the extras that lost to `first`
    are handed to it instead of being cancelled. `first` runs in the caller's own task, so that the common case costs no
    task; it is ended as `asyncio.timeout` ends what it holds: by a cancel that is taken back.
    """

    __slots__ = ("_alarms", "_another", "_cancelling", "_delay_s", "_extras", "_good", "_task", "_winner")

    def __init__(
        self,
        *,
        delay_s: float,
        another: Callable[[], Coroutine[Any, Any, T] | None],
        good: Callable[[T], bool],
        alarms: Alarms,
    ) -> None:
        self._delay_s, self._another, self._good, self._alarms = delay_s, another, good, alarms
        self._extras: list[asyncio.Task[T]] = []
        self._winner: asyncio.Task[T] | None = None
        self._task: asyncio.Task[Any] | None = None
        """Who runs `first`, as long as it does."""
        self._cancelling = 0

    async def run(
        self, first: Coroutine[Any, Any, T], *, let_run: Callable[[asyncio.Task[T]], None] | None = None
    ) -> tuple[T, bool]:
        """Return the outcome, and whether `first` was still silent when another one answered."""
        self._alarms.set(self, self._delay_s)
        task = self._task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        try:
            outcome = await first
        except asyncio.CancelledError:
            self._task = None
            winner = self._winner
            ours = winner is not None and task.uncancel() <= self._cancelling
            await self._end_extras(None)
            if winner is None or not ours:
                raise  # somebody else wants us to end
            return winner.result(), True
        except BaseException:
            self._task = None
            if self._winner is not None:
                task.uncancel()
            await self._end_extras(None)
            raise
        finally:
            self._alarms.unset(self)
        self._task = None
        if self._winner is not None:
            task.uncancel()  # it was to be ended, and ended by itself
        if not self._extras:
            return outcome, False
        keep = None
        try:
            if self._good(outcome):
                keep = let_run
            else:
                outcome = await self._best_extra(outcome)
            return outcome, False
        finally:
            await self._end_extras(keep)

    def ring(self) -> None:
        """Start another one: `first`, and whoever was started since, is late."""
        coroutine = self._another()
        if coroutine is None:
            return
        extra = asyncio.get_running_loop().create_task(coroutine, name="rpc: hedge")
        self._extras.append(extra)
        extra.add_done_callback(self._extra_is_done)
        self._alarms.set(self, self._delay_s)

    def _extra_is_done(self, extra: asyncio.Task[T]) -> None:
        if self._task is None or self._winner is not None or extra.cancelled() or extra.exception() is not None:
            return
        if self._good(extra.result()):
            self._winner = extra
            self._alarms.unset(self)
            self._task.cancel()

    async def _best_extra(self, outcome: T) -> T:
        """Wait for the extras now that `first` has failed; return the first good outcome, else the last one."""
        for extra in asyncio.as_completed(self._extras):
            outcome = await extra
            if self._good(outcome):
                break
        return outcome

    async def _end_extras(self, let_run: Callable[[asyncio.Task[T]], None] | None) -> None:
        left = [extra for extra in self._extras if not extra.done()]
        for extra in left:
            if let_run is not None:
                let_run(extra)
            else:
                extra.cancel()
        if left and let_run is None:
            await asyncio.wait(left)
