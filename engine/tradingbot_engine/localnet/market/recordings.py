"""Reading recordings: CSV, JSON and JSON lines (also gzipped) and Arrow files, in the forms that exchanges and APIs give."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.localnet.market.replay import BadRecording, Recording, Row, Series, checked, series_of

TIME_NAMES = ("time", "timestamp", "ts", "t", "date", "datetime", "unixtime", "unix", "open_time", "at_ms", "start_ms")
PRICE_NAMES = ("price", "close", "c", "value", "p", "last", "usd", "currentprice")
OPEN_NAMES = ("open", "o")
VOLUME_NAMES = ("volume", "v", "vol", "volume_usd", "quote_volume")
CANDLE_CELLS = 6
"""Time, open, high, low, close, volume; exchanges append more, which is not read."""


def load_recording(path: Path) -> Recording:
    """
    Return the recording in `path`.

    Understood are CSV (comma, semicolon or tab, with or without a header) and JSON or JSON lines of `[time, price]`,
    `[time, price, volume]`, candles `[time, open, high, low, close, volume, …]` or objects with such fields; candles under
    `ohlcv` or `ohlcv_list`, also by mint; Arrow files with candles. Times are seconds, milliseconds, or ISO 8601 (UTC where
    no zone is given). A file that ends with .gz, or starts like one, is unpacked.

    Raises:
        BadRecording: Not readable as any of these; the text names the file, the line and the reason.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise BadRecording(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        series = tuple(_series(data))
    except BadRecording as error:
        raise BadRecording(f"{path}: {error}") from error
    return Recording(path, series)


def _series(data: bytes) -> Iterator[Series]:
    if data[:6] == b"ARROW1":
        yield series_of("", checked(_arrow_rows(data)))
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecording(f"neither text nor an Arrow file: {error.reason} at byte {error.start}") from error
    if not text.strip():
        raise BadRecording("the file is empty")
    if text.lstrip()[0] in "[{":
        yield from _json_series(text)
    else:
        yield series_of("", checked(_csv_rows(text)))


# -- JSON -----------------------------------------------------------------------------------------------------------------


def _json_series(text: str) -> Iterator[Series]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2 or not _is_json(lines[0][1]):
            raise BadRecording(f"line {error.lineno}: not valid JSON: {error.msg}") from error
        document = [_json_line(number, line) for number, line in lines]
    rows = _list_in(document)
    if rows is not None:
        yield series_of("", checked(_json_rows(rows)))
        return
    named = {name: _list_in(value) for name, value in document.items()} if isinstance(document, dict) else {}
    series = {name: rows for name, rows in named.items() if rows is not None}
    if not series:
        raise BadRecording("line 1: no list of prices or candles in it")
    for name, candles in series.items():
        if len(candles) < 2:
            continue  # tokens that never traded
        try:
            yield series_of(name, checked(_json_rows(candles)))
        except BadRecording as error:
            raise BadRecording(f"{name}: {error}") from error


def _is_json(line: str) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _json_line(number: int, line: str) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadRecording(f"line {number}: not valid JSON: {error.msg}") from error


def _list_in(document: Any) -> list[Any] | None:
    """Return the list of rows, wherever the APIs that we know put it."""
    while isinstance(document, dict):
        name = next(
            (key for key in ("data", "attributes", "ohlcv_list", "ohlcv", "items", "prices") if key in document), None
        )
        if name is None:
            return None
        document = document[name]
    return document if isinstance(document, list) else None


def _json_rows(rows: Sequence[Any]) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        if isinstance(row, dict):
            yield _named_row(number, row)
        elif isinstance(row, list):
            yield _plain_row(number, row)
        else:
            raise BadRecording(f"line {number}: a list or an object is expected, not {row!r}")


# -- CSV ------------------------------------------------------------------------------------------------------------------


def _csv_rows(text: str) -> Iterator[Row]:
    first = text.lstrip().splitlines()[0]
    delimiter = max("\t;,", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    header: list[str] | None = None
    for cells in reader:
        number = reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if header is None and not _is_time(cells[0]):
            header = [cell.strip() for cell in cells]
            continue
        if header is None:
            yield _plain_row(number, cells)
        elif len(cells) != len(header):
            raise BadRecording(f"line {number}: {len(cells)} cells, {len(header)} expected")
        else:
            yield _named_row(number, dict(zip(header, cells, strict=True)))


# -- Arrow ----------------------------------------------------------------------------------------------------------------


def _arrow_rows(data: bytes) -> Iterator[Row]:
    try:
        from pyarrow import feather  # type: ignore[import-untyped]  # optional: only this format needs it
    except ImportError as error:
        raise BadRecording("Arrow files need the package pyarrow, which is not installed") from error
    try:
        table = feather.read_table(io.BytesIO(data))
    except Exception as error:  # pyarrow's errors have no common base
        raise BadRecording(f"not a readable Arrow file: {error}") from error
    for number, row in enumerate(table.to_pylist(), 1):
        yield _named_row(number, row)


# -- cells ----------------------------------------------------------------------------------------------------------------


def _named_row(number: int, row: Mapping[str, Any]) -> Row:
    cells = {str(name).strip().lower(): value for name, value in row.items()}

    def cell(names: Sequence[str]) -> Any:
        return next((cells[name] for name in names if cells.get(name) not in (None, "")), None)

    at, price, opened, volume = cell(TIME_NAMES), cell(PRICE_NAMES), cell(OPEN_NAMES), cell(VOLUME_NAMES)
    if at is None:
        raise BadRecording(f"line {number}: no time (one of {', '.join(TIME_NAMES)})")
    if price is None:
        raise BadRecording(f"line {number}: no price (one of {', '.join(PRICE_NAMES)})")
    return Row(
        number,
        _time(number, at),
        _number(number, price, "price"),
        None if volume is None else _number(number, volume, "volume"),
        None if opened is None else _number(number, opened, "open"),
    )


def _plain_row(number: int, cells: Sequence[Any]) -> Row:
    if len(cells) >= CANDLE_CELLS:
        at, opened, _, _, close, volume = cells[:CANDLE_CELLS]
        prices = _number(number, close, "close"), _number(number, volume, "volume"), _number(number, opened, "open")
        return Row(number, _time(number, at), *prices)
    if len(cells) not in (2, 3):
        raise BadRecording(
            f"line {number}: {len(cells)} cells; time and price, or a candle of {CANDLE_CELLS}, are expected"
        )
    volume = _number(number, cells[2], "volume") if len(cells) == 3 else None
    return Row(number, _time(number, cells[0]), _number(number, cells[1], "price"), volume)


def _number(number: int, value: Any, what: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise BadRecording(f"line {number}: {what} {value!r} is not a number") from error


def _is_time(value: str) -> bool:
    try:
        _time(0, value.strip())
    except BadRecording:
        return False
    return True


def _time(number: int, value: Any) -> UnixMs:
    """Return a time as milliseconds; plain numbers are told apart by their size."""
    if isinstance(value, datetime):
        return round((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    try:
        amount = float(value)
    except (TypeError, ValueError):
        try:
            moment = datetime.fromisoformat(str(value).strip())
        except ValueError as error:
            raise BadRecording(f"line {number}: time {value!r} is neither a number nor ISO 8601") from error
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if not 0 <= amount < 1e20:
        raise BadRecording(f"line {number}: time {value!r} is out of range")
    for limit, divisor in ((1e17, 1e6), (1e14, 1e3), (1e11, 1)):
        if amount >= limit:
            return round(amount / divisor)
    return round(amount * 1000)
