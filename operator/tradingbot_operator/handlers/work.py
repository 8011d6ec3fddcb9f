"""Which bot's turn it is: each bot has its own task, so that none waits for another, and never two at once."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tradingbot_operator.kube.store import Key

_log = logging.getLogger(__name__)
FIRST_RETRY_S = 0.5
FINISH_S = 1.0
LAST_RETRY_S = 60.0
"""A pass that fails is repeated after this at the latest; the watch wakes it sooner when something changed."""


class Again(Exception):
    """A pass wants to be repeated soon; not a fault."""

    def __init__(self, why: str, *, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass
class _Turn:
    task: asyncio.Task[None] | None = None
    dirty: bool = False
    failures: int = 0
    timer: asyncio.TimerHandle | None = None


class Work:
    """
    Run passes over bots.

    A bot that is woken while its pass runs gets one more pass after it: what woke it is never lost, and never queued twice.

    Args:
        run: One pass; returns in how many seconds the next is due, None for not before something wakes it.
    """

    def __init__(self, run: Callable[[Key], Awaitable[float | None]]) -> None:
        self._run = run
        self._turns: dict[Key, _Turn] = {}
        self._stopped = False

    def wake(self, key: Key) -> None:
        """Have a pass over a bot, now or right after the one that runs."""
        if self._stopped:
            return
        turn = self._turns.setdefault(key, _Turn())
        if turn.task is not None:
            turn.dirty = True
            return
        if turn.timer is not None:
            turn.timer.cancel()
            turn.timer = None
        turn.task = asyncio.create_task(self._take(key, turn), name=f"pass over {'/'.join(key)}")

    @property
    def waiting(self) -> int:
        """How many bots have a pass under way."""
        return sum(turn.task is not None for turn in self._turns.values())

    def failures(self, key: Key) -> int:
        """How many passes over a bot failed in a row."""
        turn = self._turns.get(key)
        return turn.failures if turn else 0

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
        if tasks:
            await asyncio.wait(tasks, timeout=FINISH_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, key: Key, turn: _Turn) -> None:
        after_s: float | None = None
        try:
            turn.dirty = False
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
        turn.task = None
        if self._stopped:
            return
        if turn.dirty:
            self.wake(key)
        elif after_s is not None:
            turn.timer = asyncio.get_running_loop().call_later(after_s, self.wake, key)
        elif not turn.failures:
            self._turns.pop(key, None)

    def _back_off_s(self, turn: _Turn) -> float:
        limit_s: float = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(turn.failures - 1, 10))
        return limit_s * random.uniform(0.5, 1.0)
