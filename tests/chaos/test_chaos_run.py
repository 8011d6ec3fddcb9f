"""
A short storm in every run of the suite: real engines, a real localnet, everything broken, and the chain asked afterwards.

`make chaos` runs more of them, on PostgreSQL and with the guard too, and judges the storms by engines that must not pass.
"""

from __future__ import annotations

import pytest
from chaos.minima import faults_of, shortfalls
from chaos.run import run

TRADES = 40
LIMIT_S = 720
"""A quiet machine of two cores needs less than a sixth; who is slower still has to break everything."""


@pytest.mark.timeout(1100)
async def test_no_trade_is_lost_or_doubled_in_a_short_storm() -> None:
    """0 doubled, 0 lost, 0 phantom, nothing left open, no write under an old epoch; and enough was broken to say so."""
    report = await run(seeds=[1], trades=TRADES, limit_s=LIMIT_S)
    print("\n" + "\n".join(report.lines()))
    assert faults_of(report) == []
    assert shortfalls(report, wanted_trades=TRADES) == []
