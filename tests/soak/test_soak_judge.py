"""The soak's judgement: what grows is found on a noisy machine, and what only swings is not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from soak.judge import MIB, Row, idle_windows, judge, slope
from soak.sample import Sample, parse_metrics

WARM_UP_S = 45.0


def run_of(change: Callable[[Sample, random.Random], Sample], *, seconds: int = 180) -> list[Sample]:
    """Return samples of an engine that trades steadily with noise, each changed by `change`."""
    chance = random.Random(7)
    out = []
    for second in range(1, seconds + 1):
        in_flight = chance.randint(10, 40)
        steady = Sample(
            at_s=second,
            resident_bytes=110 * MIB + (20 * MIB if second < 30 else 0) + chance.randint(-1, 1) * MIB // 2,
            open_fds=100 + chance.randint(0, 40),
            sockets=80 + chance.randint(0, 40),
            connections=40 + chance.randint(0, 30),
            sockets_unpooled=9 + chance.choice([0] * 6 + [-1, 1, 3, 8]),
            descriptors_unpooled=31 + chance.choice([0] * 6 + [-1, 1, 3, 8]),
            threads=9,
            tasks=45 + in_flight + chance.randint(0, 20),
            in_flight=in_flight,
            queued_signals=chance.choice([0, 0, 15]),
            queued_events=chance.choice([0, 0, 40]),
            utilization=0.1,
            done=7 * second,
        )
        out.append(change(steady, chance))
    return out


def grown(rows: list[Row]) -> list[str]:
    return [row.name for row in rows if row.grows]


def test_an_engine_that_only_swings_does_not_grow() -> None:
    """Load, odd peaks and what happens in the warm-up are no leak."""
    samples = run_of(lambda s, r: replace(s, resident_bytes=s.resident_bytes + (30 * MIB if r.random() < 0.05 else 0)))
    assert grown(judge(samples, warm_up_s=WARM_UP_S)) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("memory", lambda s, _: replace(s, resident_bytes=s.resident_bytes + int(s.at_s) * 60_000)),
        ("tasks", lambda s, _: replace(s, tasks=s.tasks + int(s.at_s) // 10)),
        ("sockets", lambda s, _: replace(s, sockets_unpooled=s.sockets_unpooled + int(s.at_s) // 60)),
        ("sockets", lambda s, _: replace(s, sockets_unpooled=s.sockets_unpooled + int(s.at_s + 50) // 60)),
        ("descriptors", lambda s, _: replace(s, descriptors_unpooled=s.descriptors_unpooled + int(s.at_s) // 60)),
        ("connections", lambda s, _: replace(s, connections=s.connections + int(s.at_s) // 2)),
        ("threads", lambda s, _: replace(s, threads=s.threads + int(s.at_s) // 30)),
        ("queued signals", lambda s, _: replace(s, queued_signals=s.queued_signals + int(s.at_s))),
        ("queued events", lambda s, _: replace(s, queued_events=s.queued_events + int(s.at_s))),
        ("trades in flight", lambda s, _: replace(s, in_flight=s.in_flight + int(s.at_s), tasks=s.tasks + int(s.at_s))),
    ],
)
def test_what_grows_is_found(name: str, change: Callable[[Sample, random.Random], Sample]) -> None:
    """Under its own name and no other, though the noise is larger than what leaks in a minute."""
    assert grown(judge(run_of(change), warm_up_s=WARM_UP_S)) == [name]


def test_a_leak_that_begins_late_is_found() -> None:
    """The slope of the whole does not show what the last windows do."""
    late = run_of(lambda s, _: replace(s, resident_bytes=s.resident_bytes + max(0, int(s.at_s) - 150) * MIB // 3))
    assert grown(judge(late, warm_up_s=WARM_UP_S)) == ["memory"]


@pytest.mark.parametrize("missed", [0, 6])
def test_one_socket_a_minute_is_found_whenever_it_begins_and_though_samples_are_missed(missed: int) -> None:
    """Three minutes with their warm-up leave room for no more than two."""
    late = [50 + 11 * n for n in range(missed)]
    steady = [sample for sample in run_of(lambda s, _: s) if sample.at_s not in late]
    for phase_s in range(60):
        run = [replace(s, sockets_unpooled=s.sockets_unpooled + int(s.at_s + phase_s) // 60) for s in steady]
        assert grown(judge(run, warm_up_s=WARM_UP_S)) == ["sockets"], f"the first one was lost after {60 - phase_s} s"


def test_two_odd_windows_do_not_move_the_slope() -> None:
    """Theil-Sen: the median of all slopes."""
    times = [float(n) for n in range(12)]
    values = [100.0] * 12
    values[4], values[9] = 5000.0, 9000.0
    assert slope(times, values) == 0
    assert slope(times, [3 * t for t in times]) == 3


def test_too_few_samples_are_no_verdict() -> None:
    """A run that is hardly longer than its warm-up must not pass."""
    with pytest.raises(ValueError, match="too few"):
        judge(run_of(lambda s, _: s, seconds=60), warm_up_s=WARM_UP_S)


def test_an_engine_that_stood_idle_is_told() -> None:
    """Nothing grows in an engine that does nothing."""
    samples = run_of(lambda s, _: replace(s, done=min(s.done, 700)))
    assert idle_windows(samples, warm_up_s=WARM_UP_S) >= 6
    assert idle_windows(run_of(lambda s, _: s), warm_up_s=WARM_UP_S) == 0


def test_the_metrics_page_is_read_with_and_without_labels() -> None:
    """As the admin port writes it."""
    page = '# HELP a A.\n# TYPE a gauge\na 3.0\nmoves_total{state="DONE"} 1303.0\nsmall 1e-05\n'
    assert parse_metrics(page) == {"a": 3.0, 'moves_total{state="DONE"}': 1303.0, "small": 1e-05}
