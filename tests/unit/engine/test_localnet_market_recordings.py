"""Recorded series: every format that is promised, every mistake with its line, and what a market makes of them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from math import log
from pathlib import Path

import pytest

from tradingbot_engine.domain.events import BAR_MS
from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.market import BadRecording, Market, Recording, load_recording

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
T = 1_700_000_040
SIMPLE = [(T, 1.0), (T + 60, 1.1), (T + 120, 0.9)]


def load(tmp_path: Path, content: str | bytes, name: str = "recording") -> Recording:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_recording(path)


def points(recording: Recording, index: int = 0) -> list[tuple[int, float]]:
    return [(point.at_ms // 1000, point.price) for point in recording.series[index].points]


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(f"{at},{price}" for at, price in SIMPLE),
        "\n".join(f"{at * 1000}\t{price}" for at, price in SIMPLE),
        "Time;Price\n" + "\n".join(f"{at};{price}" for at, price in SIMPLE) + "\n\n",
        "timestamp,symbol,close,volume\n" + "\n".join(f"{at},X,{price},5" for at, price in SIMPLE),
        "date,price\r\n2023-11-14T22:14:00Z,1.0\r\n2023-11-14 22:15:00,1.1\r\n2023-11-15T00:16:00+02:00,0.9\r\n",
        "\ufefftime,price\n" + "\n".join(f"{at * 10**9},{price}" for at, price in SIMPLE),
        json.dumps([[at, price] for at, price in SIMPLE]),
        json.dumps([[at * 1000, price, 7.5] for at, price in SIMPLE]),
        json.dumps([{"unixTime": at, "value": price} for at, price in SIMPLE]),
        "\n".join(json.dumps({"ts": at, "price": str(price)}) for at, price in SIMPLE),
        json.dumps({"success": True, "data": {"items": [{"unixTime": at, "value": price} for at, price in SIMPLE]}}),
        json.dumps([[at, price] for at, price in reversed(SIMPLE)]),
    ],
)
def test_series_of_prices_are_read_in_every_form(tmp_path: Path, content: str) -> None:
    """Delimiter, header, unit of time, JSON or lines, oldest or newest first: the file says it itself."""
    assert points(load(tmp_path, content)) == SIMPLE
    assert points(load(tmp_path, gzip.compress(content.encode()), "recording.gz")) == SIMPLE


CANDLES = [[T, 1.0, 1.2, 0.9, 1.1, 600.0], [T + 60, 1.1, 1.1, 1.0, 1.05, 0.0], [T + 180, 1.2, 1.3, 1.2, 1.25, 60.0]]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([[candle[0] * 1000, *map(str, candle[1:]), 0, "more", 1, "2", "3", "0"] for candle in CANDLES]),
        json.dumps({"data": {"attributes": {"ohlcv_list": CANDLES[::-1]}}}),
        json.dumps({"MINT": {"pool": "P", "ohlcv": CANDLES}, "DEAD": {"ohlcv": []}}),
        "time,open,high,low,close,volume\n" + "\n".join(",".join(map(str, candle)) for candle in CANDLES),
        "\n".join("\t".join(map(str, candle)) for candle in CANDLES),
    ],
)
def test_candles_count_from_their_close_and_after_a_hole_from_their_open(tmp_path: Path, content: str) -> None:
    """A candle's time is its start. Volume becomes a rate, so that candles of any length compare."""
    recording = load(tmp_path, content)
    assert points(recording) == [(T, 1.0), (T + 60, 1.1), (T + 120, 1.05), (T + 180, 1.2), (T + 240, 1.25)]
    assert [point.rate for point in recording.series[0].points] == [0.0, 600.0, 0.0, 0.0, 60.0]


def test_arrow_files_are_read(tmp_path: Path) -> None:
    """As freqtrade keeps them: a date with zone, and floats."""
    feather = pytest.importorskip("pyarrow.feather")
    arrow = pytest.importorskip("pyarrow")
    from datetime import UTC, datetime

    columns = {"date": [datetime.fromtimestamp(candle[0], UTC) for candle in CANDLES[:2]]}
    columns |= {
        name: [candle[at] for candle in CANDLES[:2]]
        for at, name in enumerate(("open", "high", "low", "close", "volume"), 1)
    }
    feather.write_feather(arrow.table(columns), tmp_path / "x.feather", compression="lz4")
    assert points(load_recording(tmp_path / "x.feather")) == [(T, 1.0), (T + 60, 1.1), (T + 120, 1.05)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the file is empty"),
        (b"\xff\xfe\x00", "neither text nor an Arrow file"),
        (b"ARROW1 but no more", "not a readable Arrow file"),
        (b"\x1f\x8b no gzip", ""),
        ("1700000000,1\n1700000060,zero", "line 2: price 'zero' is not a number"),
        ("1700000000,1\n1700000060,0", "line 2: price 0.0 is not a positive number"),
        ("1700000000,1\n1700000060,nan", "line 2: price nan"),
        ("1700000000,1,5\n1700000060,1,-5", "line 2: volume -5.0"),
        ("1700000000,1\n1700000060,1\n1700000030,1\n1700000090,1", "line 3: time 1700000030000 ms lies before"),
        ("1700000000,1\n1700000000,1", "line 2: time 1700000000000 ms repeats"),
        ("1700000000,1", "two prices are the least"),
        ("time,price\n1700000000,1\n1700000060", "line 3: 1 cells, 2 expected"),
        ("1700000000,1,2,3\n1700000060,1,2,3", "line 1: 4 cells"),
        ("when,price\n1700000000,1\n1700000060,2", "line 2: no time"),
        ("time,size\n1700000000,1\n1700000060,2", "line 2: no price"),
        ("time,price\nyesterday,1\ntoday,2", "line 2: time 'yesterday' is neither"),
        ("time,price\n-5,1\n1,2", "line 2: time '-5' is out of range"),
        ('[[1700000000, 1], "x"]', "line 2: a list or an object is expected"),
        ("[[1700000000, 1], [1700000060, null]]", "line 2: price None is not a number"),
        ("[[1700000000, 1],", "line 1: not valid JSON"),
        ('{"t": 1700000000, "price": 1}\n{"t": 1700000060, "price"}', "line 2: not valid JSON"),
        ('{"hello": "world"}', "no list of prices"),
        ('{"MINT": {"ohlcv": [[1700000000,1,1,1,1,1],[1700000060,1,1,1,0,1]]}}', "MINT: line 2: price 0.0"),
    ],
)
def test_bad_files_are_refused_with_line_and_reason(tmp_path: Path, content: str | bytes, reason: str) -> None:
    """One sentence that starts with the file's name; no traceback for whoever typed the name."""
    with pytest.raises(BadRecording, match="recording: ") as caught:
        load(tmp_path, content)
    assert reason in str(caught.value)


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    """Not an OSError: the caller knows one error."""
    with pytest.raises(BadRecording, match=r"nothing\.csv: No such file"):
        load_recording(tmp_path / "nothing.csv")


def replayed(recording: Recording, slots: int, *, ms_per_slot: float = 24_000.0) -> tuple[Bank, Market]:
    bank = Bank(ms_per_slot=ms_per_slot, origin_ms=T * 1000)
    market = Market(bank, seed=1, replay=recording)
    market.open()
    bank.tick(slots)
    assert market.failed_trades == 0
    return bank, market


def test_short_recording_starts_at_the_opening_with_a_calm_history(tmp_path: Path) -> None:
    """Pools follow the recorded returns against SOL and USDC alike, and stand still when it is over."""
    rows = "\n".join(f"{T + 60 * minute},{1.01**minute}" for minute in range(21))
    _, market = replayed(load(tmp_path, rows), 75)  # 30 minutes
    for number in (1, 2, 3, 4):
        bars = market.histories[market.world.pools[number].address].bars()
        opening = next(index for index, bar in enumerate(bars) if bar.start_ms >= T * 1000)
        assert opening >= 1450
        assert abs(log(bars[opening + 10].open / bars[opening].open) - 10 * log(1.01)) < 0.006
        assert abs(log(bars[-1].close / bars[opening].open) - 20 * log(1.01)) < 0.006
        assert bars[-1].close == pytest.approx(bars[-5].close, rel=0.006)


def test_long_recording_is_its_own_history() -> None:
    """The shipped recording: 25 h behind, and an hour ahead with a burst and a dip where they were drawn."""
    recording = load_recording(ROOT / "recordings" / "burst-and-dip-1m.csv")
    _, market = replayed(recording, 150)
    series = recording.series[0].points
    closes = {(point.at_ms - series[0].at_ms) // BAR_MS - 1500: point.price for point in series}
    bars = market.histories[market.world.pools[1].address].bars()
    opening = next(index for index, bar in enumerate(bars) if bar.start_ms >= T * 1000)
    for minute in (-1400, -700, -60, 10, 20, 25, 40, 55):
        recorded = log(closes[minute] / closes[0])
        assert log(bars[opening + minute - 1].close / bars[opening].open) == pytest.approx(recorded, abs=0.012), minute
    burst, quiet = bars[opening + 18 : opening + 23], bars[opening + 2 : opening + 7]
    assert sum(bar.volume for bar in burst) > 2 * sum(bar.volume for bar in quiet)


def test_shipped_recording_is_what_its_script_writes(tmp_path: Path) -> None:
    """Nobody edited the numbers by hand."""
    subprocess.run([sys.executable, ROOT / "hack" / "make_recording.py", tmp_path / "x.csv"], check=True)
    assert (tmp_path / "x.csv").read_bytes() == (ROOT / "recordings" / "burst-and-dip-1m.csv").read_bytes()


def test_series_are_given_to_their_mint_else_in_order(tmp_path: Path) -> None:
    """A token's own series wins; the others get the file's series one after the other."""
    wif = "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm"
    up, down = ([[T + 60 * m, 1, 1, 1, 1.01 ** (sign * m), 1] for m in range(20)] for sign in (1, -1))
    _, market = replayed(load(tmp_path, json.dumps({"OTHER": {"ohlcv": up}, wif: {"ohlcv": down}})), 50)
    change = {}
    for pool in market.world.pools[1:5:2]:
        bars = market.histories[pool.address].bars()
        change[pool.base.symbol] = bars[-1].close / bars[-15].close
    assert change["BONK"] > 1.1
    assert change["WIF"] < 0.9


RECORDED = [
    "cex/SOL_USDT-spot-1m-2021-09.json.gz",
    "cex/SOL_USDT-spot-1m-2023-03.json.gz",
    "cex/sol_usd_hourly_2024-12.csv.gz",
    "cex/SOL_USDT-perp-1m-2023-07.feather",
    "cex/SOL_USDT-spot-1h.feather",
    "onchain/geckoterminal_ohlcv_1h.json.gz",
]


@pytest.mark.recorded
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_market_data_load_as_they_are_and_drive_a_market(name: str) -> None:
    """Binance klines, Arrow files, a tab-separated series without header, GeckoTerminal's candles by mint."""
    if not (DATA / name).exists():
        pytest.skip(f"the recorded market data are not beside the repository: no {DATA / name}")
    if name.endswith(".feather"):
        pytest.importorskip("pyarrow")
    recording = load_recording(DATA / name)
    assert all(len(series.points) >= 2 for series in recording.series)
    assert len(recording.series) == 1 or len(recording.series) > 100
    _, market = replayed(recording, 20)
    series = recording.series[0].points
    assert series[0].at_ms < series[-1].at_ms
    bars = market.histories[market.world.pools[1].address].bars()
    assert len(bars) >= 1500
    assert all(bar.low > 0 for bar in bars)
