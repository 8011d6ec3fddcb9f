"""
Closed minutes of one token for 25 hours, as columns.

Direct-mapped by minute: a bar's place follows from its time, so a hole is simply a minute that is not there, history can
be filled in at any time, and nothing is ever shifted. Columns of machine numbers take 84 kB a token; objects took 500 kB.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import inf

from tradingbot_engine.domain.events import BAR_MS, Bar
from tradingbot_engine.domain.units import QuoteUnits, UnixMs

RING_MINUTES = 1500
"""25 hours: what mean reversion looks back on, and what the ledger keeps."""
MAX_U64 = 2**64 - 1


def is_sound(bar: Bar) -> bool:
    """Return whether a bar is aligned, finite, positive and consistent (low ≤ open, close ≤ high)."""
    return (
        bar.start_ms >= 0
        and bar.start_ms % BAR_MS == 0
        and 0.0 < bar.low <= bar.high < inf
        and bar.low <= bar.open <= bar.high
        and bar.low <= bar.close <= bar.high
        and 0 <= bar.volume <= MAX_U64
        and 0 <= bar.quote_reserve <= MAX_U64
    )


class BarRing:
    """The newest `minutes` minutes; those without a bar are holes."""

    __slots__ = ("_close", "_high", "_low", "_minute", "_open", "_reserve", "_size", "_volume", "newest_ms")

    def __init__(self, minutes: int = RING_MINUTES) -> None:
        self._size = minutes
        self._minute = array("q", [-1]) * minutes
        self._open = array("d", bytes(8 * minutes))
        self._high = array("d", bytes(8 * minutes))
        self._low = array("d", bytes(8 * minutes))
        self._close = array("d", bytes(8 * minutes))
        self._volume = array("Q", bytes(8 * minutes))
        self._reserve = array("Q", bytes(8 * minutes))
        self.newest_ms: UnixMs = -1
        """Start of the newest bar; -1 while there is none."""

    def __len__(self) -> int:
        oldest = self.newest_ms // BAR_MS - self._size
        return sum(1 for minute in self._minute if minute > oldest and minute >= 0)

    def __contains__(self, start_ms: UnixMs) -> bool:
        minute = start_ms // BAR_MS
        return start_ms >= 0 and self._minute[minute % self._size] == minute

    def put(self, bar: Bar) -> bool:
        """Keep a sound bar, replacing one of the same minute; return False if it is older than the ring reaches."""
        minute = bar.start_ms // BAR_MS
        i = minute % self._size
        if self._minute[i] > minute or bar.start_ms <= self.newest_ms - self._size * BAR_MS:
            return False
        self._minute[i] = minute
        self._open[i], self._high[i], self._low[i], self._close[i] = bar.open, bar.high, bar.low, bar.close
        self._volume[i], self._reserve[i] = bar.volume, bar.quote_reserve
        if bar.start_ms > self.newest_ms:
            self.newest_ms = bar.start_ms
        return True

    def get(self, start_ms: UnixMs) -> Bar | None:
        """Return the bar that starts at `start_ms`, or None."""
        if start_ms not in self:
            return None
        i = start_ms // BAR_MS % self._size
        return Bar(
            start_ms,
            self._open[i],
            self._high[i],
            self._low[i],
            self._close[i],
            self._volume[i],
            self._reserve[i],
        )

    def close_at(self, start_ms: UnixMs) -> float | None:
        """Return the close of the bar that starts at `start_ms`, or None."""
        return self._close[start_ms // BAR_MS % self._size] if start_ms in self else None

    def reserve_at(self, start_ms: UnixMs) -> QuoteUnits | None:
        """Return the quote reserve at the close of the bar that starts at `start_ms`, or None; 0 means unknown."""
        return self._reserve[start_ms // BAR_MS % self._size] if start_ms in self else None

    def newest_at_or_before(self, start_ms: UnixMs) -> UnixMs | None:
        """Return the start of the newest bar not after `start_ms` that the ring holds, or None."""
        oldest = max(0, self.newest_ms - (self._size - 1) * BAR_MS)
        start_ms = min(start_ms - start_ms % BAR_MS, self.newest_ms)
        while start_ms >= oldest:
            if start_ms in self:
                return start_ms
            start_ms -= BAR_MS
        return None

    def closes(self, last_ms: UnixMs, n: int) -> Sequence[float] | None:
        """Return the closes of the n minutes up to the bar that starts at `last_ms`, oldest first; None if one is missing."""
        return self._window(self._close, last_ms, n)

    def volumes(self, last_ms: UnixMs, n: int) -> Sequence[int] | None:
        """Return the volumes of the same minutes, in quote base units; None if one is missing."""
        return self._window(self._volume, last_ms, n)

    def volume_over(self, last_ms: UnixMs, n: int) -> int:
        """Return the summed volume of those of the n minutes up to `last_ms` that have a bar, in quote base units."""
        last = last_ms // BAR_MS
        return sum(
            volume
            for minute, volume in zip(self._minute, self._volume, strict=True)
            if last - n < minute <= last and minute >= 0
        )

    @property
    def oldest_ms(self) -> UnixMs | None:
        """Start of the oldest bar that the ring still reaches; None while there is none."""
        reach = self.newest_ms // BAR_MS - self._size
        return min((m * BAR_MS for m in self._minute if m >= 0 and m > reach), default=None)

    def missing(self, last_ms: UnixMs, n: int) -> list[UnixMs]:
        """Return the starts of those of the n minutes up to `last_ms` that have no bar, oldest first."""
        starts = range(last_ms - (n - 1) * BAR_MS, last_ms + 1, BAR_MS)
        return [start_ms for start_ms in starts if start_ms not in self]

    def _window(self, column: array, last_ms: UnixMs, n: int) -> array | None:  # type: ignore[type-arg]
        last = last_ms // BAR_MS
        first = last - n + 1
        if first < 0 or n > self._size:
            return None
        i, j = first % self._size, last % self._size + 1
        if i < j:
            minutes, values = self._minute[i:j], column[i:j]
        else:
            minutes, values = self._minute[i:] + self._minute[:j], column[i:] + column[:j]
        return values if minutes == array("q", range(first, last + 1)) else None
