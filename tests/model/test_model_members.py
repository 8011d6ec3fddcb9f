"""Members, shards and hand-overs: sound in every state that is reached; each rule left out breaks the promise that it is there for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import pytest
from model.model_explore import Exploration, explore_model
from model.model_members import MEANING, MembersWorld

from tradingbot_engine.domain.intents import IntentState as S

ENDS = ("P4", "P6", "P8", "P9")
"""Behind these nothing is to be learned."""
ONE_SHARD = MembersWorld(shards=1)
TWO_SHARDS = MembersWorld()
AWAKE = MembersWorld(early=False, zombies=False)
"""Members join, drain and die, and nobody is taken for dead who is not."""


def explored(world: MembersWorld, *, until: str = "", max_states: int = 1_000_000) -> Exploration:
    wanted = [until] if until else []
    return explore_model(world, until=wanted, max_states=max_states, ends=ENDS, meaning=MEANING)


@cache
def whole(world: MembersWorld, max_states: int = 1_000_000) -> Exploration:
    return explored(world, max_states=max_states)


def test_every_state_of_one_shard_between_two_members_is_sound() -> None:
    """Two intents under a limit of one: crashes, zombies, early take-overs, drains; and fair steps settle everything from everywhere."""
    found = whole(ONE_SHARD)
    print(f"\n{found.line('one shard, two members, two intents')}")
    assert found.complete
    assert not found.traces, found.told()
    assert found.outcomes == {(S.DONE, 1)}


def test_two_shards_between_two_members_are_sound_as_far_as_a_short_search_goes() -> None:
    """The same with a shard each, and claims that only the bot's limit holds apart. The search is cut."""
    found = explored(TWO_SHARDS, max_states=5_000)
    print(f"\n{found.line('two shards, two members, two intents')}")
    assert not found.complete
    assert not found.traces, found.told()


def test_two_shards_are_handed_over_soundly_in_every_state_where_nobody_sleeps() -> None:
    """Joining, draining, dying at every point of a hand-over: every shard comes to its owner of choice, every intent to its end."""
    found = explored(AWAKE)
    print(f"\n{found.line('two shards, two intents, nobody sleeps')}")
    assert found.complete
    assert not found.traces, found.told()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_shards_between_two_members_are_sound_as_far_as_five_minutes_go() -> None:
    """The same, deeper: 120,000 states are a minute or two of a core that it has for itself."""
    found = explored(TWO_SHARDS, max_states=120_000)
    print(f"\n{found.line('two shards, two members, two intents')}")
    assert not found.traces, found.told()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_shards_are_sound_where_processes_sleep_as_far_as_the_search_goes() -> None:
    """Records expire of processes that only sleep; the others see who lives as it is."""
    found = explored(MembersWorld(early=False, crashes=False), max_states=120_000)
    print(f"\n{found.line('two shards, processes sleep')}")
    assert not found.traces, found.told()


@dataclass(frozen=True)
class Left:
    """A rule left out, and the promise that breaks; `world` is the one in which it matters, with the rule in force `sound`."""

    name: str
    breaks: str
    world: MembersWorld
    sound: MembersWorld = ONE_SHARD


RULES = [
    Left("the epoch is not raised at a take-over", "P4", replace(ONE_SHARD, raise_epoch=False, retake_ends_tasks=False), replace(ONE_SHARD, retake_ends_tasks=False)),
    Left("neither epoch nor holder is compared", "P4", replace(ONE_SHARD, compare_epoch=False, compare_holder=False)),
    Left("the epoch is not compared, and a re-take leaves old tasks alive", "P4", replace(ONE_SHARD, compare_epoch=False, retake_ends_tasks=False), replace(ONE_SHARD, retake_ends_tasks=False)),
    Left("a claim does not compare the epoch", "P4", replace(ONE_SHARD, claim_compares_epoch=False)),
    Left("old tasks stay alive at a re-take and look up the newest epoch", "P4", replace(ONE_SHARD, retake_ends_tasks=False, tasks_carry_their_epoch=False), replace(ONE_SHARD, tasks_carry_their_epoch=False)),
    Left("a process of the same name goes on with its old rows", "P4", replace(ONE_SHARD, restart_takes_anew=False)),
    Left("released before the last write, and the holder is not compared", "P4", replace(ONE_SHARD, compare_holder=False, release_ends_tasks=False, hand_over_when_idle=False, crashes=False), replace(ONE_SHARD, release_ends_tasks=False)),
    Left("handed over before it is idle", "P8", replace(ONE_SHARD, hand_over_when_idle=False)),
    Left("signals are taken before open intents are resolved", "P6", replace(ONE_SHARD, most_open=2, resolve_first=False), replace(ONE_SHARD, most_open=2)),
    Left("open intents are listed before the shard is taken", "P6", replace(ONE_SHARD, most_open=2, load_after_take=False), replace(ONE_SHARD, most_open=2)),
    Left("each pod looks at its own shards' open intents only", "P9", replace(TWO_SHARDS, limits_of_the_bot=False), TWO_SHARDS),
    Left("the shards of a dead process are nobody's business", "P5", replace(ONE_SHARD, intents=1, dead_holders_are_followed=False, early=False), replace(ONE_SHARD, intents=1, early=False)),
    Left("a row that its holder does not know of is nobody's business", "P5", replace(ONE_SHARD, intents=1, stray_rows_are_freed=False, retake_ends_tasks=False), replace(ONE_SHARD, intents=1, retake_ends_tasks=False)),
]  # fmt: skip

MASKED = [
    Left("the epoch is not compared", "P4", replace(ONE_SHARD, compare_epoch=False)),
    Left("the holder is not compared", "P4", replace(ONE_SHARD, compare_holder=False)),
    Left("old tasks stay alive at a re-take", "P4", replace(ONE_SHARD, retake_ends_tasks=False)),
    Left("a release leaves tasks alive", "P4", replace(ONE_SHARD, release_ends_tasks=False)),
]
"""Rules that another one backs up: left out alone they cost nothing."""


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_leaving_out_a_rule_of_members_breaks_its_promise(rule: Left) -> None:
    """The shortest way there is printed; that the rule holds it is proved by the sound worlds."""
    found = explored(rule.world, until=rule.breaks if rule.breaks != "P5" else "", max_states=60_000)
    print(f"\n{found.line(f'without: {rule.name}')}\n{found.told()}")
    assert rule.breaks in found.traces, f"{rule.name}: {MEANING[rule.breaks]} was expected, and nothing breaks"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("world", sorted({r.sound for r in RULES} - {TWO_SHARDS}, key=str), ids=str)
def test_the_worlds_of_the_rules_are_sound_with_them(world: MembersWorld) -> None:
    """Nothing but the rule is to blame."""
    found = whole(world)
    print(f"\n{found.line('sound')}")
    assert found.complete
    assert not found.traces, found.told()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rule", MASKED, ids=lambda r: r.name)
def test_a_rule_of_members_with_a_second_line_of_defence_costs_nothing_alone(rule: Left) -> None:
    """Holder and epoch, and the end of old tasks, back each other up: known, not assumed."""
    found = explored(rule.world)
    print(f"\n{found.line(f'without: {rule.name}')}")
    assert found.complete
    assert not found.traces, found.told()
