#!/usr/bin/env python3
"""
Write recordings/burst-and-dip-1m.csv: 26 h of one-minute candles of a token that does not exist.

The first 25 h become a market's history; the last hour drives it: a burst on volume at minute 18, a fall and its recovery
from minute 36 on. The file is committed; a test checks that this script still writes the same bytes.
"""

from __future__ import annotations

import math
import random
import sys
from itertools import pairwise
from pathlib import Path

HISTORY_MINUTES = 25 * 60
MINUTES = 26 * 60
FIRST_S = 1_750_000_020  # any whole minute
OPENING_PRICE = 0.05
USUAL_VOLUME = 900.0
# (minute after the history, log price against the quiet level): straight lines between them
FIGURE = (
    (0, 0.0),
    (18, 0.0),
    (21, 0.085),
    (26, 0.11),
    (28, 0.10),
    (33, 0.0),
    (36, 0.0),
    (39, -0.125),
    (42, -0.12),
    (47, 0.0),
    (60, 0.0),
)


def figure(minute: float) -> float:
    """Return the log price that is drawn in the last hour."""
    if minute <= 0:
        return 0.0
    for (start, left), (end, right) in pairwise(FIGURE):
        if minute <= end:
            return left + (right - left) * (minute - start) / (end - start)
    return FIGURE[-1][1]


def candles() -> list[str]:
    """Return the file's lines."""
    source = random.Random(20_250_615)
    lines = ["time,open,high,low,close,volume"]
    drift = 0.0
    before = OPENING_PRICE
    for minute in range(MINUTES):
        drift = 0.98 * drift + source.gauss(0, 0.0009)
        live = minute + 1 - HISTORY_MINUTES
        close = OPENING_PRICE * math.exp(drift + figure(live))
        wick = abs(source.gauss(0, 0.0004))
        high, low = max(before, close) * (1 + wick), min(before, close) * (1 - wick)
        move = abs(figure(live) - figure(live - 1))
        volume = USUAL_VOLUME * source.uniform(0.6, 1.4) * (1 + 250 * move)
        cells = (f"{price:.8f}" for price in (before, high, low, close))
        lines.append(f"{FIRST_S + 60 * minute},{','.join(cells)},{volume:.1f}")
        before = close
    return lines


if __name__ == "__main__":
    target = Path(
        sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "recordings" / "burst-and-dip-1m.csv"
    )
    target.write_text("\n".join(candles()) + "\n")
