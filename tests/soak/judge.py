"""
Whether something grows, from samples of a noisy machine. Pure.

The time after the warm-up is cut into windows, and each window says one number: the median for memory, the lowest tenth for
counts, since load lifts counts for a while and a leak lifts their floor. Growth is the larger of two estimates: the last
window over the first, and the Theil-Sen slope (the median of all slopes between two windows) times the time between them.
The first sees a leak that begins late, the second is not moved by a few odd windows.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from soak.sample import Sample

MIB = 1 << 20
WINDOWS = 12


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that must not grow."""

    name: str
    unit: str
    of: Callable[[Sample], float]
    limit: float
    """Growth from here on is a leak."""
    quantile: float
    """Which value speaks for a window."""


SIGNS = (
    Sign("memory", "MiB", lambda s: s.resident_bytes / MIB, 5.0, 0.5),
    Sign("tasks", "tasks", lambda s: s.tasks - s.in_flight, 6, 0.1),
    Sign("sockets", "sockets", lambda s: s.sockets_unpooled, 1.5, 0.25),
    Sign("descriptors", "descriptors", lambda s: s.descriptors_unpooled, 1.5, 0.25),
    Sign("connections", "connections", lambda s: s.connections, 30, 0.1),
    Sign("threads", "threads", lambda s: s.threads, 3, 0.1),
    Sign("queued signals", "signals", lambda s: s.queued_signals, 20, 0.1),
    Sign("queued events", "events", lambda s: s.queued_events, 100, 0.1),
    Sign("trades in flight", "trades", lambda s: s.in_flight, 40, 0.1),
)
"""
Trades in flight have their own line, so that tasks are judged without them: what is left of these hardly moves. So it is with
sockets and descriptors: pools of HTTP clients hold up to as many connections as the settings allow, and keep them open for a
while after a peak of requests, so that these swing by the dozen and have their own line. What no pool holds stays as it is but
for moments in which some are opened or closed: two more are a leak, after an hour as after three minutes, and one a minute is
found in either.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    unit: str
    first: float
    last: float
    most: float
    growth: float
    limit: float

    @property
    def grows(self) -> bool:
        return self.growth >= self.limit


def judge(samples: Sequence[Sample], *, warm_up_s: float) -> list[Row]:
    """
    Return a row per sign.

    Raises:
        ValueError: Too few samples after the warm-up to say anything.
    """
    after = [s for s in samples if s.at_s >= warm_up_s]
    windows = cut(after)
    return [_row(sign, after, windows) for sign in SIGNS]


def cut(samples: Sequence[Sample]) -> list[Sequence[Sample]]:
    """Cut samples into windows of equally many, give or take one; the last sample counts as well as the first."""
    if len(samples) < 2 * WINDOWS:
        raise ValueError(f"{len(samples)} samples after the warm-up are too few")
    edges = [n * len(samples) // WINDOWS for n in range(WINDOWS + 1)]
    return [samples[first:end] for first, end in itertools.pairwise(edges)]


def _row(sign: Sign, samples: Sequence[Sample], windows: Sequence[Sequence[Sample]]) -> Row:
    values = [_quantile([sign.of(s) for s in window], sign.quantile) for window in windows]
    times = [statistics.mean(s.at_s for s in window) for window in windows]
    return Row(
        name=sign.name,
        unit=sign.unit,
        first=values[0],
        last=values[-1],
        most=max(sign.of(s) for s in samples),
        growth=max(values[-1] - values[0], slope(times, values) * (times[-1] - times[0])),
        limit=sign.limit,
    )


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the Theil-Sen estimate: the median of the slopes between all pairs of points."""
    points = itertools.combinations(zip(times, values, strict=True), 2)
    return statistics.median((v1 - v0) / (t1 - t0) for (t0, v0), (t1, v1) in points if t1 > t0)


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


def idle_windows(samples: Sequence[Sample], *, warm_up_s: float) -> int:
    """Return in how many windows after the warm-up no trade was finished: a soak of an idle engine shows nothing."""
    windows = cut([s for s in samples if s.at_s >= warm_up_s])
    return sum(window[-1].done <= window[0].done for window in windows)
