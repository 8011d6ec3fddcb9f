"""
How hard a storm blows: short ones break as much as they can, long ones what they still lack.

A long run that killed at every chance would spend its time on starting engines. So, from `DENSE_TRADES` trades on, what is
ahead of its minimum rests, and what is behind it is brought about next: a zombie, a fork of confirmed trades, a blackout in
which attempts expire, a crash point that an engine was armed with and did not reach. Which acts and points there are, and
their order, follow from the seed; which of them are left out or brought forward follows from what the run has counted.
"""

from __future__ import annotations

from collections import deque

from chaos.faults import Act, Plan
from chaos.minima import PER_TRADE, wanted_points
from chaos.report import Report

DENSE_TRADES = 200
"""Storms of at most so many trades are dense: everything that the plan says is done."""
REST = {
    "kills": 1.2,
    "zombies_refused": 1.3,
    "forks": 1.5,
    "forks_of_confirmed_trades": 1.5,
    "expired_then_retried": 1.5,
}
"""So many times its minimum, a count is ahead and what makes it rests."""
ENOUGH = 1.12
"""Below so many times its minimum, a count is behind and what makes it comes next."""
LENIENT = 0.9
"""The same for deaths while the storm goes on anyway: engines rather die at their points."""
BRINGS = {
    "zombies_refused": "zombie",
    "forks_of_confirmed_trades": "fork",
    "forks": "fork",
    "expired_then_retried": "blackout",
    "kills": "kill",
    "attempts_open_at_kill": "kill",
}
"""What brings each count about."""
SETTLING = 1.4
"""So many times as much is enough in a short storm: what is open when the faults end still becomes trades, and counts."""
HEAD_START_TRADES = 60
"""What rests is reckoned as if so many trades more were filled: nothing waits for the first ones."""
AHEAD = 1.5
"""Crash points that will be wanted at so many times the trades are sought now."""
QUOTA_PER_TRADE = {"runner": 1 / 500, "localnet": 1 / 500, "freeze": 1 / 300}
"""Acts that the minima want at all, but not per trade."""


class Pace:
    """
    Decides what a storm does next.

    Args:
        plan: The seed's own order of things.
        dense: Whether to do all of the plan, whatever was counted.
    """

    def __init__(self, plan: Plan, *, dense: bool) -> None:
        self.plan, self.dense = plan, dense
        self._missed: deque[str] = deque()
        self._urged = self._hurries = False

    def hurry(self) -> None:
        """Bring about what is behind also in a dense storm: it has its trades, and lasts only for what it lacks."""
        self._hurries = True

    def next_act(self, count: Report) -> Act:
        """Return what goes wrong next, given what the run has counted so far."""
        if self.dense and not self._hurries:
            return self.plan.next_act()
        # Every second act at most: what cannot be brought about now must not stop the rest.
        self._urged = not self._urged
        if self._urged and (act := self._behind(count)) is not None:
            return act
        while True:
            act = self.plan.next_act()
            if self.dense or not self._rests(act.kind, count):
                return act

    def next_point(self, count: Report) -> str:
        """Return the crash point of the next engine; "" for one that is spared."""
        if self.dense:
            return self.plan.next_point()
        if self._missed:
            return self._missed.popleft()
        lacking = [p for p in wanted_points(int(AHEAD * count.trades)) if not count.kills_at[p]]
        if lacking:
            return self.plan.visit(lacking[0])
        return "" if self._is_ahead("kills", count) else self.plan.next_point()

    def missed(self, point: str) -> None:
        """Note that an engine ended before it reached the point that it was armed with."""
        if point and not self.dense and point not in self._missed:
            self._missed.append(point)

    def _is_ahead(self, name: str, count: Report) -> bool:
        return float(getattr(count, name)) > REST[name] * PER_TRADE[name] * (count.trades + HEAD_START_TRADES)

    def _is_behind(self, name: str, count: Report) -> bool:
        enough = LENIENT if BRINGS[name] == "kill" and not self._hurries else ENOUGH
        enough *= SETTLING if self.dense else 1
        return float(getattr(count, name)) < enough * PER_TRADE[name] * count.trades

    def _rests(self, kind: str, count: Report) -> bool:
        match kind:
            case "kill":
                return self._is_ahead("kills", count)
            case "zombie":
                return self._is_ahead("zombies_refused", count)
            case "fork":
                return self._is_ahead("forks", count) and self._is_ahead("forks_of_confirmed_trades", count)
            case "blackout":
                return self._is_ahead("expired_then_retried", count)
            case "freeze" | "runner" | "localnet":
                return count.acts[kind] > QUOTA_PER_TRADE[kind] * count.trades
        return False  # faults of nodes never rest

    def _behind(self, count: Report) -> Act | None:
        """Return what brings about the first thing that is behind; None if all is well."""
        for name, kind in BRINGS.items():
            if self._is_behind(name, count):
                return self._bring(kind)
        for kind, share in QUOTA_PER_TRADE.items():
            if count.acts[kind] < int(share * count.trades / 2):
                return self.plan.process_act(kind)
        return None

    def _bring(self, kind: str) -> Act:
        match kind:
            case "fork":
                return self.plan.deep_fork()
            case "blackout":
                return self.plan.blackout()
        return self.plan.process_act(kind)
