"""What the market keeps beside the bank's state: its settings at birth, and finalized bars."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from io import BufferedWriter
from pathlib import Path

import orjson

from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.localnet.market.history import KEPT_MS

COMPACT_AFTER_BYTES = 16 * 2**20
"""The file of bars is written anew, without what is too old, when it has grown by this much."""


@dataclass(frozen=True, slots=True)
class Birth:
    """What must stay the same for as long as the chain lives; a restart goes on with it, whatever it was started with."""

    seed: int
    tokens: tuple[str, ...]
    """Extra tokens, MINT:DECIMALS."""
    origin_ms: UnixMs
    """Market time at which the pools opened."""


class MarketStore:
    """Two files in the state directory: `market.json` and `bars.jsonl`, whose torn last line (a crash) is ignored."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bars_path = folder / "bars.jsonl"
        self._writer: BufferedWriter | None = None
        self._grown = 0
        folder.mkdir(parents=True, exist_ok=True)

    def birth(self) -> Birth | None:
        """Return what was kept at birth; None where there is nothing."""
        path = self._folder / "market.json"
        if not path.exists():
            return None
        kept = orjson.loads(path.read_bytes())
        return Birth(kept["seed"], tuple(kept["tokens"]), kept["origin_ms"])

    def keep_birth(self, birth: Birth) -> None:
        """Keep what stays the same."""
        _replace(self._folder / "market.json", orjson.dumps(asdict(birth)))

    def bars_before(self, horizon_ms: UnixMs) -> dict[int, list[Bar]]:
        """Return the kept bars that start before `horizon_ms`, by number of their pool, oldest first, one per minute."""
        found: dict[int, dict[UnixMs, Bar]] = {}
        for line in self._bars_path.read_bytes().splitlines() if self._bars_path.exists() else ():
            try:
                number, *values = orjson.loads(line)
                bar = Bar(*values)
            except (orjson.JSONDecodeError, TypeError, ValueError):
                continue  # torn by a crash while it was written
            if horizon_ms - KEPT_MS <= bar.start_ms < horizon_ms:
                found.setdefault(number, {})[bar.start_ms] = bar
        return {number: [bars[at] for at in sorted(bars)] for number, bars in found.items()}

    def rewrite(self, histories: Iterable[list[Bar]]) -> None:
        """Write all bars anew, without what became too old; appending goes on behind them."""
        self.close()
        _replace(self._bars_path, b"".join(_line(n, bar) for n, bars in enumerate(histories) for bar in bars))
        self._writer = self._bars_path.open("ab")
        self._grown = 0

    def append(self, number: int, bars: Iterable[Bar]) -> bool:
        """Append closed bars of one pool; return whether it is time to rewrite."""
        if self._writer is None:
            self._writer = self._bars_path.open("ab")
        data = b"".join(_line(number, bar) for bar in bars)
        self._writer.write(data)
        self._writer.flush()
        self._grown += len(data)
        return self._grown > COMPACT_AFTER_BYTES

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _line(number: int, bar: Bar) -> bytes:
    values = (bar.start_ms, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_reserve)
    return orjson.dumps([number, *values]) + b"\n"


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
