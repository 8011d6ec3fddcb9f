"""Many alarms of which nearly all are taken back in time, behind one timer of the event loop."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Rung(Protocol):
    """Who has an alarm, one at a time."""

    def ring(self) -> None:
        """Be told that its time is over."""


class Alarms:
    """
    Alarms of one event loop; who set one is rung once its time is over, never before.

    A timer of the loop costs more than a request's whole way through the dispatch, and a call that is answered in time
    needs none: so there is one, for whoever is due first, and it finds out then who still waits.
    """

    __slots__ = ("_at_s", "_due_s", "_timer")

    def __init__(self) -> None:
        self._due_s: dict[Rung, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = 0.0
        """When the timer comes, if there is one; the loop's time."""

    def set(self, who: Rung, after_s: float) -> None:
        """Ring `who` after this time, instead of when it was to be rung before."""
        loop = asyncio.get_running_loop()
        due_s = self._due_s[who] = loop.time() + after_s
        if self._timer is None or due_s < self._at_s:
            self._start(loop, due_s)

    def unset(self, who: Rung) -> None:
        """Do not ring `who` any more."""
        self._due_s.pop(who, None)

    def close(self) -> None:
        """Ring nobody any more."""
        self._due_s.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _start(self, loop: asyncio.AbstractEventLoop, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._at_s = loop.call_at(at_s, self._come), at_s

    def _come(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        # A loop's timer may come early by what its clock cannot tell apart.
        now_s = max(loop.time(), self._at_s)
        try:
            for who in [who for who, due_s in self._due_s.items() if due_s <= now_s]:
                if self._due_s.pop(who, None) is not None:  # the one before may have ended this one
                    who.ring()
        finally:  # were one to raise, the others are rung at once
            if self._due_s:
                first_s = min(self._due_s.values())
                if self._timer is None or first_s < self._at_s:
                    self._start(loop, first_s)
