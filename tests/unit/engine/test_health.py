"""The health checks and the monitor: each sign has its sentence, and a sign that flickers changes nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.health.checks import CHECKS, Finding, Health, examine
from tradingbot_engine.health.loop_lag import LoopLag
from tradingbot_engine.health.monitor import HealthMonitor
from tradingbot_engine.health.vitals import Vitals

WELL = Vitals(
    endpoints=3,
    endpoints_sound=3,
    endpoint_problems=(),
    tokens=2,
    tokens_stale=0,
    feed_silent_ms=0,
    ledger_away_ms=0,
    loop_lag_ms=3.0,
    clock_step_ms=0.0,
    queue_utilization=0.1,
    oldest_open_ms=4_000,
    failed_trades=0,
    landed_trades=50,
    fee_lamports=1_000_000_000,
    fee_reserve_lamports=50_000_000,
    switched_off=(),
)

D, U = Health.DEGRADED, Health.UNHEALTHY
SIGNS = [
    ("endpoints", {"endpoints_sound": 2, "endpoint_problems": ("b: timeout",)}, D, "2 of 3"),
    ("endpoints", {"endpoints_sound": 0}, U, "nothing can be sent"),
    ("feed", {"tokens_stale": 1}, D, "1 of 2 tokens"),
    ("feed", {"tokens_stale": 2, "feed_silent_ms": 700}, D, "0.7 s"),
    ("feed", {"tokens_stale": 2, "feed_silent_ms": 12_000}, U, "12.0 s"),
    ("ledger", {"ledger_away_ms": 600}, D, "0.6 s"),
    ("ledger", {"ledger_away_ms": 3_000}, U, "3.0 s"),
    ("loop", {"loop_lag_ms": 300.0}, D, "300 ms"),
    ("loop", {"loop_lag_ms": 2_500.0}, U, "2500 ms"),
    ("clock", {"clock_step_ms": -5_000.0}, D, "5.0 s back"),
    ("clock", {"clock_step_ms": 3_600_000.0}, U, "3600.0 s forward"),
    ("queue", {"queue_utilization": 0.85}, D, "85%"),
    ("queue", {"queue_utilization": 1.0}, U, "100%"),
    ("trades", {"oldest_open_ms": 160_000}, D, "160 s"),
    ("landing", {"failed_trades": 12}, D, "12 of the last 50"),
    ("fees", {"fee_lamports": 40_000_000}, D, "0.0400 SOL"),
    ("fees", {"fee_lamports": 1_000}, U, "fund it"),
    ("protections", {"switched_off": ("rpc.breaker.enabled",)}, D, "rpc.breaker.enabled"),
]


def test_an_engine_that_is_well_has_no_findings() -> None:
    """Nor one on paper, which pays no fees."""
    assert examine(WELL) == ()
    assert examine(replace(WELL, fee_lamports=None)) == ()


@pytest.mark.parametrize(("check", "signs", "health", "words"), SIGNS)
def test_each_sign_is_found_graded_and_said(check: str, signs: dict[str, object], health: Health, words: str) -> None:
    """One finding, of that check alone, with the number that somebody on call asks for."""
    (found,) = examine(replace(WELL, **signs))  # type: ignore[arg-type]
    assert (found.check, found.health) == (check, health)
    assert words in found.message


def test_every_check_has_a_sign_that_it_finds() -> None:
    """A check that nobody tests may as well not exist."""
    assert {check for check, *_ in SIGNS} == set(CHECKS)


def test_a_standing_worsens_at_the_second_reading_and_recovers_at_the_third() -> None:
    """Since when is the time of the change; the sentence follows the newest numbers meanwhile."""
    monitor = HealthMonitor(now_ms=0)
    bad = Finding("loop", D, "late by 300 ms")
    assert monitor.observe([bad], now_ms=1) == ()
    (changed,) = monitor.observe([bad], now_ms=2)
    assert (changed.health, changed.since_ms, changed.message) == (D, 2, "late by 300 ms")
    monitor.observe([Finding("loop", D, "late by 400 ms")], now_ms=3)
    assert monitor.overall.health is D
    assert (monitor.overall.since_ms, monitor.overall.message) == (2, "late by 400 ms")
    assert monitor.observe([], now_ms=4) == ()
    assert monitor.observe([], now_ms=5) == ()
    (better,) = monitor.observe([], now_ms=6)
    assert (better.health, better.since_ms, monitor.overall.health) == (Health.HEALTHY, 6, Health.HEALTHY)


def test_a_sign_that_flickers_changes_nothing() -> None:
    """Bad at every other reading: neither degraded nor, once degraded, well."""
    monitor = HealthMonitor(now_ms=0)
    bad = Finding("feed", D, "stale")
    changes = [monitor.observe([bad] if n % 2 else [], now_ms=n) for n in range(50)]
    assert not any(changes)
    monitor.observe([bad], now_ms=50)
    monitor.observe([bad], now_ms=51)
    changes = [monitor.observe([bad] if n % 2 else [], now_ms=n) for n in range(52, 100)]
    assert not any(changes)
    assert monitor.overall.health is D


def test_a_streak_of_mixed_trouble_counts_with_its_mildest() -> None:
    """One unhealthy reading among degraded ones does not raise the alarm of the unhealthy."""
    monitor = HealthMonitor(now_ms=0)
    monitor.observe([Finding("queue", U, "full")], now_ms=1)
    (changed,) = monitor.observe([Finding("queue", D, "busy")], now_ms=2)
    assert changed.health is D


@given(st.lists(st.sampled_from([None, D, U]), max_size=60))
def test_no_standing_changes_more_often_than_its_patience_allows(readings: list[Health | None]) -> None:
    """Two changes of a check are at least two readings apart, and a standing was really found."""
    monitor = HealthMonitor(now_ms=0)
    at: list[int] = []
    for n, health in enumerate(readings):
        found = [] if health is None else [Finding("ledger", health, "away")]
        if monitor.observe(found, now_ms=n):
            at.append(n)
            assert monitor.overall.health in {h or Health.HEALTHY for h in readings[max(0, n - 2) : n + 1]}
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(at))


async def test_a_jump_of_the_wall_clock_is_remembered_for_a_minute() -> None:
    """Forward and back; slewing by less than a tenth of a second is no jump."""
    clock = ManualClock()
    lag = LoopLag(clock=clock)
    clock.step_wall(30)
    lag.beat(late_s=0.0)
    assert lag.clock_step_ms == 0
    clock.step_wall(-90_000)
    lag.beat(late_s=0.5)
    assert lag.clock_step_ms == pytest.approx(-90_000)
    assert lag.worst_ms == pytest.approx(500)
    await clock.advance(61)
    assert lag.clock_step_ms == 0
