"""
Price ticks of one token and minute, merged while they wait, so that the bars they make stay exact.

Of a run the first, the highest, the lowest and the last tick are kept as they came, in their order; the volume of the others
goes to the last. A bar sees no more of a minute than that, and a price that touched a stop or a target is an extreme.
"""

from __future__ import annotations

from math import inf

from tradingbot_engine.domain.events import BAR_MS, PriceTick
from tradingbot_engine.domain.units import UnixMs

MAX_U64 = 2**64 - 1


def is_sound(tick: PriceTick) -> bool:
    """Return whether the core would take the tick; what it refuses must not hide in a run."""
    return 0.0 < tick.price < inf and 0 <= tick.volume <= MAX_U64 and 0 <= tick.quote_reserve <= MAX_U64


class Run:
    """A run of sound ticks of one token and one minute, none older than the one before it."""

    __slots__ = ("_high", "_high_n", "_low", "_low_n", "_volume", "count", "first", "last", "until_ms")

    def __init__(self, tick: PriceTick) -> None:
        self.first = self.last = self._high = self._low = tick
        self._high_n = self._low_n = 0
        self._volume = tick.volume
        self.count = 1
        """Ticks that it stands for."""
        self.until_ms: UnixMs = tick.at_ms - tick.at_ms % BAR_MS + BAR_MS
        """End of its minute."""

    def takes(self, tick: PriceTick) -> bool:
        """Return whether `tick`, which is sound and newer than all before it, belongs to the run."""
        return tick.at_ms < self.until_ms and self._volume + tick.volume <= MAX_U64

    def add(self, tick: PriceTick) -> None:
        """Merge one more tick into the run."""
        if tick.price > self._high.price:
            self._high, self._high_n = tick, self.count
        elif tick.price < self._low.price:
            self._low, self._low_n = tick, self.count
        self.last = tick
        self._volume += tick.volume
        self.count += 1

    def ticks(self) -> list[PriceTick]:
        """Return one to four ticks that make the same bar."""
        if self.count == 1:
            return [self.first]
        high, low, last = (self._high_n, self._high), (self._low_n, self._low), self.count - 1
        kept = [self.first]
        kept += [tick for n, tick in sorted((high, low), key=lambda item: item[0]) if 0 < n < last]
        rest = self._volume - sum(tick.volume for tick in kept)
        t = self.last
        if rest != t.volume:
            t = PriceTick(t.mint, t.slot, t.at_ms, t.price, t.quote_reserve, rest)
        return [*kept, t]
