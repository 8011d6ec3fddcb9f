"""The circuit breaker of one endpoint: who keeps failing is left alone for a while, then tried with few requests."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from tradingbot_engine.settings.rpc import BreakerSettings


class BreakerState(StrEnum):
    """See the `Breaker`'s table."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


_LEGAL = {
    (BreakerState.CLOSED, BreakerState.OPEN),  # failure_threshold failures in a row
    (BreakerState.OPEN, BreakerState.HALF_OPEN),  # the cooldown is over, or a health probe was good
    (BreakerState.HALF_OPEN, BreakerState.CLOSED),  # half_open_probes trials were answered
    (BreakerState.HALF_OPEN, BreakerState.OPEN),  # a trial failed
}


class Breaker:
    """
    CLOSED lets everything through, OPEN nothing, HALF_OPEN `half_open_probes` trials at once. A trial that was under way
    when a health probe was good does not count: it may hang since before the node was back, and says nothing of it now.

    Reads no clock: every method is told the time, monotonic seconds.
    """

    __slots__ = (
        "_failures",
        "_good_trials",
        "_on_change",
        "_settings",
        "_state",
        "_trials",
        "_until_s",
        "closed",
        "invited",
        "period",
    )

    def __init__(
        self, settings: BreakerSettings, *, on_change: Callable[[BreakerState, BreakerState], None] | None = None
    ) -> None:
        self._settings = settings
        self._on_change = on_change
        self._state = BreakerState.CLOSED
        self.closed = True
        """Whether it lets everything through, by itself: what every call asks first."""
        self._failures = 0
        self._until_s = 0.0
        self._trials = 0
        self._good_trials = 0
        self.period = 1
        """Which trials count: those that began since the last good probe."""
        self.invited = False
        """Whether it is HALF_OPEN and a health probe was good since it was last OPEN."""

    def state(self, now_s: float) -> BreakerState:
        """Return where it stands; an OPEN one whose cooldown is over is HALF_OPEN."""
        if self._state is BreakerState.OPEN and now_s >= self._until_s:
            self._move(BreakerState.HALF_OPEN)
        return self._state

    @property
    def trials(self) -> int:
        """Trials under way."""
        return self._trials

    def allows(self, now_s: float) -> bool:
        """Return whether a request may start now."""
        if self.closed:
            return True
        return self.state(now_s) is BreakerState.HALF_OPEN and self._trials < self._settings.half_open_probes

    def start(self, now_s: float) -> int:
        """Note that a request starts; returns 0, or which trial it is: `end_trial` must be told its end, and who judges it."""
        if self.closed or self.state(now_s) is not BreakerState.HALF_OPEN:
            return 0
        self._trials += 1
        return self.period

    def end_trial(self, trial: int) -> None:
        """Note that a trial is over, whatever came of it."""
        if trial == self.period:
            self._trials -= 1

    def succeeded(self, *, trial: int) -> None:
        """Note a good answer. While half open only trials count: others may have started long before."""
        if self.closed:
            self._failures = 0
        elif trial and self._state is BreakerState.HALF_OPEN:
            self._good_trials += 1
            if self._good_trials >= self._settings.half_open_probes:
                self._move(BreakerState.CLOSED)

    def failed(self, now_s: float, *, trial: int) -> None:
        """Note a fault of the endpoint."""
        if not self._settings.enabled:
            return
        if self._state is BreakerState.CLOSED:
            self._failures += 1
            if self._failures >= self._settings.failure_threshold:
                self._open(now_s)
        elif trial == self.period and self._state is BreakerState.HALF_OPEN:
            self._open(now_s)

    def probe_was_good(self) -> None:
        """Note a good health probe: what is open need not wait for its cooldown, nor for trials that began before."""
        if self.closed:
            return
        if self._state is BreakerState.OPEN:
            self._move(BreakerState.HALF_OPEN)
        self.period += 1
        self._trials = 0
        self.invited = True

    def _open(self, now_s: float) -> None:
        self._until_s = now_s + self._settings.cooldown_s
        self._move(BreakerState.OPEN)

    def _move(self, to: BreakerState) -> None:
        before, self._state = self._state, to
        self.closed = to is BreakerState.CLOSED
        assert (before, to) in _LEGAL
        self._failures = 0
        self._good_trials = 0
        self.invited = False
        if self._on_change is not None:
            self._on_change(before, to)
