"""A short storm in every run of the suite: real engines, a real localnet, everything broken, and the chain asked afterwards."""

from __future__ import annotations

import pytest
from chaos.minima import faults_of, shortfalls
from chaos.run import measure_naive, run
from support.postgres import MISSING, programs, server

TRADES = 40


@pytest.mark.timeout(400)
async def test_no_trade_is_lost_or_doubled_in_a_short_storm() -> None:
    """0 doubled, 0 lost, 0 phantom, nothing left open, no write under an old epoch; and enough was broken to say so."""
    report = await run(seeds=[1], trades=TRADES, limit_s=120)
    print("\n" + "\n".join(report.lines()))
    assert faults_of(report) == []
    assert shortfalls(report, wanted_trades=TRADES) == []


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.skipif(programs() is None, reason=MISSING)
@pytest.mark.timeout(400)
async def test_no_trade_is_lost_or_doubled_in_a_short_storm_on_postgresql() -> None:
    """The same where a stopped engine's session must not hold its successor up."""
    with server() as postgres:
        report = await run(seeds=[2], trades=TRADES, limit_s=150, postgres=postgres)
    print("\n" + "\n".join(report.lines()))
    assert faults_of(report) == []
    assert shortfalls(report, wanted_trades=TRADES) == []


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_the_same_storms_double_the_trades_of_a_naive_engine() -> None:
    """Otherwise the storms would be too weak to prove anything."""
    report = await measure_naive([1, 2, 3], keep=None, say=False)
    print("\n" + "\n".join(report.lines()))
    assert report.audit["doubled"] > 0


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_storm_notices_an_engine_that_signs_again_after_a_timeout() -> None:
    """The real engine with one rule broken: storm and audit together must find the doubled or lost trades."""
    report = await run(seeds=[1], trades=150, limit_s=200, broken="timeout")
    print("\n" + "\n".join(report.lines()))
    assert report.verdict["doubled"] + report.verdict["lost"] > 0
