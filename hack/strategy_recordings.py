"""
Write the strategies' recordings under tests/data/strategies: for each strategy one on which it must fire, and twins that
differ in one condition and on which it must not.

The market is made here from a fixed seed, so the files can be made anew at any time (`python hack/strategy_recordings.py`);
a test compares them with what this script makes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp, sin
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "tests" / "data" / "strategies"
MINUTE_MS = 60_000
START_MS = 1_750_000_000_000 // MINUTE_MS * MINUTE_MS
SLOT_MS = 400
SOL = 1_000_000_000
DAY_MINUTES = 1440


@dataclass(frozen=True)
class Momentum:
    """70 quiet minutes, then 5 that rise on volume; each field is one condition of the entry."""

    rise_percent: float = 5.3
    volume_ratio: float = 2.2
    reserve: int = 34 * SOL
    """At $150 a SOL: $10,200 of liquidity."""
    capital: int = 10 * SOL
    """2 % of it in an order: 0.2 SOL, 0.59 % of the reserve."""
    hole: bool = False
    stale_at_close: bool = False
    usd: float | None = 150.0


@dataclass(frozen=True)
class Reversion:
    """A day's history, 65 minutes that swing, then a fall; each field is one condition of the entry."""

    depth: float = 2.2
    """The last close below the swing, in amplitudes of the swing."""
    amplitude: float = 0.008
    day_return: float = -0.15
    reserve_change: float = -0.06
    hole: bool = False
    stale_at_close: bool = False


def momentum(case: Momentum) -> Iterator[str]:
    """Yield the rows: two ticks a minute, and the clock at the end of the last one."""
    noise = random.Random(7)
    if case.usd is not None:
        yield f"usd,{START_MS},{case.usd}"
    yield f"capital,{START_MS},{case.capital}"
    quiet, price = 70, 2.0e-7
    for minute in range(quiet + 5):
        start_ms = START_MS + minute * MINUTE_MS
        rising = minute >= quiet
        if rising:
            price = 2.0e-7 * (1 + case.rise_percent / 100 * (minute - quiet + 1) / 5)
        wobbles = [0.0 if rising or minute == quiet - 1 else noise.uniform(-0.002, 0.002) for _ in range(2)]
        if case.hole and minute == 40:
            yield f"stale,{start_ms},1"
            yield f"stale,{start_ms + MINUTE_MS + 1000},0"
            continue
        for second, wobble in zip((12, 41), wobbles, strict=True):
            at_ms = start_ms + second * 1000
            shown = price * (1 + wobble)
            volume = int(SOL / 20 * (case.volume_ratio if rising else 1))
            yield _tick(at_ms, shown, case.reserve, volume)
    end_ms = START_MS + (quiet + 5) * MINUTE_MS
    if case.stale_at_close:
        yield f"stale,{end_ms - 500},1"
    yield f"clock,{end_ms}"


def reversion(case: Reversion) -> Iterator[str]:
    """Yield the rows: the bar of a day ago, 65 minutes of swing, the fall, and the clock."""
    swing, base = 65, 1.4e-4
    last = swing  # index of the minute that falls
    final = base * exp(-case.depth * case.amplitude)
    yield f"capital,{START_MS},{10 * SOL}"
    old = final / (1 + case.day_return)
    yield f"bar,{START_MS + (last - DAY_MINUTES) * MINUTE_MS},{old!r},{old!r},{old!r},{old!r},{SOL},{1000 * SOL}"
    for minute in range(swing + 1):
        start_ms = START_MS + minute * MINUTE_MS
        if case.hole and minute == 40:
            yield f"stale,{start_ms},1"
            yield f"stale,{start_ms + MINUTE_MS + 1000},0"
            continue
        price = final if minute == last else base * exp(case.amplitude * sin(minute * 0.7))
        reserve = int(1000 * SOL * (1 + (case.reserve_change if minute == last else 0)))
        yield _tick(start_ms + 30_000, price, reserve, SOL)
    end_ms = START_MS + (swing + 1) * MINUTE_MS
    if case.stale_at_close:
        yield f"stale,{end_ms - 500},1"
    yield f"clock,{end_ms}"


def _tick(at_ms: int, price: float, reserve: int, volume: int) -> str:
    return f"tick,{at_ms},{at_ms // SLOT_MS},{price!r},{reserve},{volume}"


FIRES, RESTS = Momentum(), Reversion()
RECORDINGS = {
    "momentum_5m_fires": list(momentum(FIRES)),
    "momentum_5m_twin_return": list(momentum(replace(FIRES, rise_percent=4.9))),
    "momentum_5m_twin_volume": list(momentum(replace(FIRES, volume_ratio=1.9))),
    "momentum_5m_twin_liquidity": list(momentum(replace(FIRES, reserve=33 * SOL))),
    "momentum_5m_twin_impact": list(momentum(replace(FIRES, capital=18 * SOL))),
    "momentum_5m_twin_hole": list(momentum(replace(FIRES, hole=True))),
    "momentum_5m_twin_stale": list(momentum(replace(FIRES, stale_at_close=True))),
    "momentum_5m_twin_usd": list(momentum(replace(FIRES, usd=None))),
    "mean_revert_1h_fires": list(reversion(RESTS)),
    "mean_revert_1h_twin_depth": list(reversion(replace(RESTS, depth=1.3))),
    "mean_revert_1h_twin_too_deep": list(reversion(replace(RESTS, depth=5.0))),
    "mean_revert_1h_twin_calm": list(reversion(replace(RESTS, amplitude=0.006))),
    "mean_revert_1h_twin_day": list(reversion(replace(RESTS, day_return=-0.31))),
    "mean_revert_1h_twin_liquidity": list(reversion(replace(RESTS, reserve_change=-0.11))),
    "mean_revert_1h_twin_rug": list(reversion(replace(RESTS, reserve_change=-0.9, day_return=-0.9))),
    "mean_revert_1h_twin_hole": list(reversion(replace(RESTS, hole=True))),
    "mean_revert_1h_twin_stale": list(reversion(replace(RESTS, stale_at_close=True))),
}
"""File name → rows."""


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name, rows in RECORDINGS.items():
        (OUT / f"{name}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
