"""Which bot's turn it is: each bot has its own task, so that none waits for another, and never two at once."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tradingbot_operator.kube.store import Key
from tradingbot_operator.turnstile import Place, Turnstile

_log = logging.getLogger(__name__)
FIRST_RETRY_S = 0.5
FINISH_S = 1.0
AT_ONCE = 8
"""Passes under way at once: a thousand that are all begun are all told of last."""
SLOW_S = 3.0
"""A pass that takes longer is not counted among these, nor is one that only waits for an engine."""
LAST_RETRY_S = 60.0
"""A pass that fails is repeated after this at the latest; the watch wakes it sooner when something changed."""


Cause = tuple[str, str]
"""What woke a bot, where that is known: uid and resourceVersion of an object."""


class Again(Exception):
    """A pass wants to be repeated soon; not a fault."""

    def __init__(self, why: str, *, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass
class _Turn:
    task: asyncio.Task[None] | None = None
    place: Place | None = None
    """In the turnstile; None while it waits for one, and its pass has not begun."""
    woken_s: float = 0.0
    dirty: bool = False
    told: set[Cause] = field(default_factory=set)
    wrote: set[Cause] = field(default_factory=set)
    failures: int = 0
    timer: asyncio.TimerHandle | None = None


class Work:
    """
    Run passes over bots.

    A bot that is woken while its pass runs gets one more pass after it: what woke it is never lost, and never queued twice.

    Args:
        run: One pass; returns in how many seconds the next is due, None for not before something wakes it.
        first: Whether a bot goes before all others that wait.
    """

    def __init__(
        self, run: Callable[[Key], Awaitable[float | None]], *, first: Callable[[Key], bool] = lambda key: False
    ) -> None:
        self._run, self._first = run, first
        self._turns: dict[Key, _Turn] = {}
        self._turnstile = Turnstile(AT_ONCE, patience_s=SLOW_S)
        self._stopped = False

    def wake(self, key: Key, cause: Cause | None = None) -> None:
        """
        Have a pass over a bot, now or right after the one that runs.

        Args:
            key: The bot's.
            cause: The version of an object that the watch told of. If it turns out to be what the pass that runs has
                written itself, then that pass knew of it, and none is needed after it.
        """
        if self._stopped:
            return
        turn = self._turns.setdefault(key, _Turn())
        if turn.task is not None:
            if turn.place is None:
                return  # it has not looked yet
            if cause is None:
                turn.dirty = True
            else:
                turn.told.add(cause)
            return
        if turn.timer is not None:
            turn.timer.cancel()
            turn.timer = None
        turn.woken_s = asyncio.get_running_loop().time()
        turn.task = asyncio.create_task(self._take(key, turn), name=f"pass over {'/'.join(key)}")

    @property
    def waiting(self) -> int:
        """How many bots have a pass under way."""
        return sum(turn.task is not None for turn in self._turns.values())

    def failures(self, key: Key) -> int:
        """How many passes over a bot failed in a row."""
        turn = self._turns.get(key)
        return turn.failures if turn else 0

    def wrote(self, key: Key, cause: Cause) -> None:
        """Take note of what the pass over a bot has written itself."""
        if (turn := self._turns.get(key)) is not None and turn.task is not None:
            turn.wrote.add(cause)

    def idle(self, key: Key) -> None:
        """Take note that the pass over a bot only waits, and asks nothing of the API server: the next one may begin."""
        if (turn := self._turns.get(key)) is not None and turn.place is not None:
            turn.place.leave()

    def woken_ago_s(self, key: Key) -> float:
        """Return how long ago the pass that runs over a bot was asked for."""
        turn = self._turns.get(key)
        return asyncio.get_running_loop().time() - turn.woken_s if turn is not None and turn.task is not None else 0.0

    async def stop(self) -> None:
        """
        Let no new pass begin, and those that run end by themselves within `FINISH_S`, so that a bot whose objects changed is also told so.

        Later they are broken off: the next operator begins with what it then finds.
        """
        self._stopped = True
        tasks = [turn.task for turn in self._turns.values() if turn.task is not None]
        for turn in self._turns.values():
            if turn.timer is not None:
                turn.timer.cancel()
            if turn.task is not None and turn.place is None:
                turn.task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=FINISH_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, key: Key, turn: _Turn) -> None:
        after_s: float | None = None
        try:
            async with self._turnstile.enter(first=self._first(key)) as turn.place:
                turn.dirty = False
                turn.told.clear()
                turn.wrote.clear()
                after_s = await self._run(key)
            turn.failures = 0
        except Again as error:
            turn.failures += 1
            after_s = error.after_s if error.after_s is not None else self._back_off_s(turn)
            _log.debug("%s/%s: again in %.1f s: %s", *key, after_s, error)
        except Exception:
            turn.failures += 1
            after_s = self._back_off_s(turn)
            _log.exception("the pass over %s/%s failed; again in %.1f s", *key, after_s)
        turn.task = turn.place = None
        if self._stopped:
            return
        if turn.dirty or turn.told - turn.wrote:
            self.wake(key)
        elif after_s is not None:
            turn.timer = asyncio.get_running_loop().call_later(after_s, self.wake, key)
        elif not turn.failures:
            self._turns.pop(key, None)

    def _back_off_s(self, turn: _Turn) -> float:
        limit_s: float = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(turn.failures - 1, 10))
        return limit_s * random.uniform(0.5, 1.0)
