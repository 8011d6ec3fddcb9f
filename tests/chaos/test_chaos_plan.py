"""A storm's plan is repeatable, asks for nothing that localnet does not know, and a run that covered little fails."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from chaos.faults import NODE_FAULTS, PROCESS_ACTS, Act, Plan
from chaos.minima import PER_TRADE, faults_of, shortfalls
from chaos.pace import BRINGS, QUOTA_PER_TRADE, Pace
from chaos.report import Report
from chaos.world import Setup, World
from soak.world import SoakWorld

from tradingbot_engine import crashpoint
from tradingbot_engine.localnet.faults import parse_fault
from tradingbot_engine.settings import load_settings, switched_off

AUDIT = {"doubled": 0, "lost": 0, "phantom": 0, "open": 0}


def _acts(seed: int, count: int = 400) -> list[Act]:
    plan = Plan(seed, nodes=3, slot_ms=25)
    return [plan.next_act() for _ in range(count)]


def test_the_same_seed_breaks_the_same_things_in_the_same_order() -> None:
    """Acts, pauses and crash points follow from the seed alone."""
    assert _acts(7) == _acts(7)
    assert _acts(7) != _acts(8)
    one, two = Plan(7, nodes=3, slot_ms=25), Plan(7, nodes=3, slot_ms=25)
    assert [(one.next_point(), one.pause_s()) for _ in range(50)] == [
        (two.next_point(), two.pause_s()) for _ in range(50)
    ]


def test_a_plan_deals_every_kind_of_fault_and_every_crash_point() -> None:
    """Packs are shuffled, so nothing is left to luck for long."""
    acts = _acts(3)
    kinds = Counter(a.body["kind"] if a.kind == "node" else a.kind for a in acts)
    assert set(kinds) == {*NODE_FAULTS, *PROCESS_ACTS, "fork", "halt", "blackout"}
    plan = Plan(3, nodes=3, slot_ms=25)
    points = [plan.next_point() for _ in range(60)]
    assert {p.partition("#")[0] for p in points} == {"", *crashpoint.POINTS}


def test_localnet_knows_every_fault_of_every_plan() -> None:
    """A fault that localnet refuses would be coverage on paper."""
    plan = Plan(1, nodes=3, slot_ms=25)
    provoked = [a for p in crashpoint.POINTS if (a := plan.provocation(p)) is not None]
    for act in [*_acts(1), *_acts(2), *provoked]:
        body = dict(act.body)
        if body.get("kind") == "snapshot":
            body |= {"first_slot": 1, "last_slot": 2}
        if body:
            assert parse_fault(body).kind == body["kind"]


def test_a_run_that_covered_little_falls_short_of_every_minimum() -> None:
    """Each minimum is felt on its own."""
    full = Report(trades=600, audit=dict(AUDIT), kills_at_random=100)
    for name in PER_TRADE:
        if name != "kills":
            setattr(full, name, 100)
    assert shortfalls(full, wanted_trades=600) == []
    for name in PER_TRADE:
        less = Report(**{**vars(full), "kills_at_random" if name == "kills" else name: 0})
        assert [line.partition(":")[0] for line in shortfalls(less, wanted_trades=600)] == [name]
    assert shortfalls(full, wanted_trades=601)
    long_run = Report(**{**vars(full), "trades": 6_000})
    assert sum(line.startswith("no engine was killed at") for line in shortfalls(long_run, wanted_trades=1)) == len(
        crashpoint.POINTS
    )


def test_every_broken_promise_is_a_fault_and_a_missing_audit_is_too() -> None:
    """Doubled, lost, phantom, and trades that never end; no audit is no proof."""
    assert faults_of(Report(audit=dict(AUDIT))) == []
    for name in AUDIT:
        assert len(faults_of(Report(audit=AUDIT | {name: 1}))) == 1
    assert len(faults_of(Report())) == 3


def _pace(*, dense: bool = False) -> Pace:
    return Pace(Plan(5, nodes=3, slot_ms=25, dense=dense), dense=dense)


def _well_ahead(trades: int) -> Report:
    report = Report(trades=trades, kills_at_random=trades, acts=Counter(dict.fromkeys(QUOTA_PER_TRADE, trades)))
    for name in PER_TRADE:
        if name != "kills":
            setattr(report, name, trades)
    return report


def test_a_short_storm_does_all_of_its_plan_whatever_it_has_counted() -> None:
    """Nothing is left out of a storm in CI, and nothing is put in."""
    pace, plan = _pace(dense=True), Plan(5, nodes=3, slot_ms=25, dense=True)
    assert [pace.next_act(_well_ahead(100)) for _ in range(200)] == [plan.next_act() for _ in range(200)]
    pace.missed("done:after#3")
    assert [pace.next_point(_well_ahead(100)) for _ in range(50)] == [plan.next_point() for _ in range(50)]


def test_a_short_storm_that_has_its_trades_brings_about_what_it_lacks() -> None:
    """It would else go on until chance did it."""
    pace, report = _pace(dense=True), _well_ahead(250)
    report.forks_of_confirmed_trades = 0
    pace.hurry()
    acts = [pace.next_act(report) for _ in range(20)]
    assert acts.count(pace.plan.deep_fork()) >= 10


def test_a_long_storm_rests_from_what_is_ahead_but_never_from_faults_of_nodes() -> None:
    """Engines live, so that trades come through; the nodes go on failing."""
    pace = _pace()
    acts = [pace.next_act(_well_ahead(1_000)) for _ in range(300)]
    assert {act.kind for act in acts} == {"node", "halt"}
    assert {act.body["kind"] for act in acts} == {*NODE_FAULTS, "halt"}
    assert {pace.next_point(_well_ahead(1_000)) for _ in range(20)} == {""}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("zombies_refused", "zombie"),
        ("forks_of_confirmed_trades", "fork"),
        ("forks", "fork"),
        ("expired_then_retried", "blackout"),
        ("kills_at_random", "kill"),
        ("attempts_open_at_kill", "kill"),
    ],
)
def test_a_long_storm_brings_about_next_what_is_behind_its_minimum(name: str, kind: str) -> None:
    """At the latest as the second act, so that what cannot be brought about now does not stop the rest."""
    pace, report = _pace(), _well_ahead(1_000)
    setattr(report, name, 0)
    assert kind in {pace.next_act(report).kind for _ in range(2)}
    assert set(BRINGS) == set(PER_TRADE), "a minimum that nothing brings about"


def test_a_crash_point_that_was_missed_comes_again_and_one_that_will_be_lacking_comes_in_time() -> None:
    """However far ahead the deaths are: each point has its own minimum in a long run."""
    pace, report = _pace(), _well_ahead(3_400)
    pace.missed("expired:before#1")
    assert pace.next_point(report) == "expired:before#1"
    report.kills_at = Counter(dict.fromkeys(crashpoint.POINTS, 1))
    assert pace.next_point(report) == ""
    del report.kills_at["forked:after"]
    assert pace.next_point(report) == "forked:after#1"


@pytest.mark.parametrize("kind", [World, SoakWorld])
async def test_storms_and_soaks_trade_with_every_protection_on(tmp_path: Path, kind: type[World]) -> None:
    """What holds with a protection off says nothing about the product as it is shipped."""

    class Rendered(kind):  # type: ignore[misc,valid-type]
        async def info(self) -> dict[str, Any]:
            return {"market_clock": {"origin_slot": 0, "origin_ms": 0, "ms_per_slot": 400.0}}

    async with aiohttp.ClientSession() as http:
        world = Rendered(setup=Setup(seed=1), directory=tmp_path, http=http, gateway="http://127.0.0.1:1")
        world.nodes = [{"http": f"http://127.0.0.1:{n}", "websocket": f"ws://127.0.0.1:{n}"} for n in (1, 2, 3, 4)]
        await world.write_config()
    settings = load_settings(world.config)
    assert len(settings.rpc.endpoints) == 3
    assert switched_off(settings) == ()
