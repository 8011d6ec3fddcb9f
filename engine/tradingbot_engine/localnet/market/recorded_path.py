"""A recorded series as a token's fate."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import log

from tradingbot_engine.localnet.market.scenario import ASLEEP, USUAL, Calm, Mood

LARGEST_MOVE = log(10_000)
"""A recording that moves a price further than this from the opening is cut off: reserves are finite."""
BUSIEST = 20.0
"""A recorded volume counts at most so many times the usual one."""


class RecordedPath:
    """Straight lines between recorded prices; recorded volume, against its median, as traffic; calm before, nothing after."""

    def __init__(
        self, minutes: Sequence[float], prices: Sequence[float], rates: Sequence[float] | None, *, before: Calm
    ) -> None:
        """
        Take the points of a recording.

        Args:
            minutes: Length n >= 2, rising, since the opening; what is negative becomes history.
            prices: Length n, positive.
            rates: Length n, volume per minute on the stretch that ends at each point; None where it was not recorded.
            before: What the time before the first point looks like.
        """
        self._minutes = minutes
        self._logs = [log(price) for price in prices]
        self._before = before
        self._opening = 0.0
        self._opening = self._raw(0.0)
        known = sorted(rate for rate in rates or () if rate > 0)
        self._usual = known[len(known) // 2] if known else 0.0
        self._rates = rates

    def _raw(self, minutes: float) -> float:
        index = bisect_right(self._minutes, minutes)
        if index == 0:
            return self._logs[0] + self._before.log_price(minutes) - self._before.log_price(self._minutes[0])
        if index == len(self._minutes):
            return self._logs[-1]
        start, end = self._minutes[index - 1], self._minutes[index]
        left, right = self._logs[index - 1], self._logs[index]
        return left + (right - left) * (minutes - start) / (end - start)

    def log_price(self, minutes: float) -> float:
        """Return the natural logarithm of the price over the price at the opening."""
        return max(-LARGEST_MOVE, min(LARGEST_MOVE, self._raw(minutes) - self._opening))

    def mood(self, minutes: float) -> Mood:
        """Return how the token is traded: as busily as it was."""
        index = bisect_right(self._minutes, minutes)
        if index == len(self._minutes):
            return ASLEEP  # the recording is over
        if index == 0 or self._rates is None or not self._usual:
            return USUAL
        busy = min(self._rates[index] / self._usual, BUSIEST)
        return Mood(turnover=USUAL.turnover * busy, crowd=max(1, round(busy * 2.5)) if busy > 1 else 1)

    def rug_minute(self) -> float | None:
        """Return None: recordings have no creator."""
        return None
