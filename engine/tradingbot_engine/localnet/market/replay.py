"""Recorded price series as driver of the market: which formats are read, and what each token makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.errors import PermanentError
from tradingbot_engine.localnet.market.history import KEPT_MS
from tradingbot_engine.localnet.market.recorded_path import RecordedPath
from tradingbot_engine.localnet.market.scenario import Calm

SPARE_MS = 30 * 60_000
"""A recording that is longer than the history by at least this much brings its own history."""


class BadRecording(PermanentError):
    """The file cannot drive a market; the text says which line, and why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a recording: a price at a time, or a candle that starts then (`open` is its price at that moment)."""

    line: int
    at_ms: UnixMs
    price: float
    volume: float | None = None
    open: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A price at a time; `rate` is the volume per minute on the stretch that ends here."""

    at_ms: UnixMs
    price: float
    rate: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """One token's recording: two points or more, in order of time."""

    name: str
    """What the file calls it: a mint's address, or nothing."""
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """All series of a file, in its order."""

    path: Path
    series: tuple[Series, ...]


def series_of(name: str, rows: Sequence[Row]) -> Series:
    """
    Turn the rows of one token into points; candles count from their close, and from their open after a hole.

    Raises:
        BadRecording: Fewer than two points, or times that repeat or go to and fro.
    """
    if len(rows) > 1 and rows[0].at_ms > rows[-1].at_ms:
        rows = rows[::-1]  # newest first, as history APIs answer
    for before, after in pairwise(rows):
        if after.at_ms == before.at_ms:
            raise BadRecording(f"line {after.line}: time {after.at_ms} ms repeats")
        if after.at_ms < before.at_ms:
            raise BadRecording(f"line {after.line}: time {after.at_ms} ms lies before the line before it")
    if len(rows) < 2:
        raise BadRecording(f"{name or 'the file'}: {len(rows)} rows; two prices are the least that can move a market")
    length_ms = min(after.at_ms - before.at_ms for before, after in pairwise(rows))  # holes only make it longer
    points: list[Point] = []
    for row in rows:
        if row.open is None:
            at_ms = row.at_ms
        else:
            at_ms = row.at_ms + length_ms
            if not points or points[-1].at_ms < row.at_ms:
                points.append(Point(row.at_ms, row.open, None if row.volume is None else 0.0))
            while points and points[-1].at_ms >= at_ms:  # candles closer together than usual
                points.pop()
        stretch_ms = at_ms - points[-1].at_ms if points else length_ms
        points.append(Point(at_ms, row.price, None if row.volume is None else row.volume / stretch_ms * 60_000))
    return Series(name, tuple(points))


def recorded_paths(recording: Recording, mints: Sequence[Pubkey], *, seed: int) -> dict[Pubkey, RecordedPath]:
    """
    Return the path of each token: the series of its own mint, else the series one after the other, again from the first.

    Only the shape counts: a token opens at its own price, and moves from there as the series moved. A series of more than
    25.5 h becomes the history for its first 25 h; a shorter one starts at the opening, with a calm history before it.
    """
    by_name = {series.name: series for series in recording.series}
    return {
        mint: _path(by_name.get(str(mint), recording.series[index % len(recording.series)]), seed=seed)
        for index, mint in enumerate(mints)
    }


def _path(series: Series, *, seed: int) -> RecordedPath:
    points = series.points
    span_ms = points[-1].at_ms - points[0].at_ms
    opening_ms = points[0].at_ms + (KEPT_MS if span_ms >= KEPT_MS + SPARE_MS else 0)
    rates = [point.rate or 0.0 for point in points]
    return RecordedPath(
        [(point.at_ms - opening_ms) / 60_000 for point in points],
        [point.price for point in points],
        rates if any(rates) else None,
        before=Calm(f"{seed}/before {series.name}"),
    )


def checked(rows: Iterable[Row]) -> list[Row]:
    """
    Return the rows as a list.

    Raises:
        BadRecording: A price that is not a positive number, or a negative volume, with its line.
    """
    found = list(rows)
    for row in found:
        for price in (row.price, row.open if row.open is not None else row.price):
            if not 0 < price < float("inf"):
                raise BadRecording(f"line {row.line}: price {price} is not a positive number")
        if row.volume is not None and not 0 <= row.volume < float("inf"):
            raise BadRecording(f"line {row.line}: volume {row.volume} is not a number from 0 up")
    return found
