"""Who owns which shard: balance, agreement of all pods, little movement; compared with a formulation that tries everything."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants.mutate import mutated

from tradingbot_engine.cluster import shares
from tradingbot_engine.cluster.shares import moved, owners, shards_in_use, weight
from tradingbot_engine.core.ids import shard_of

BOT = "b" * 32
FROZEN, FROZEN_WEIGHT, FROZEN_SHARD = "221010200211", 1515637173871890215, 44
Owners = Callable[[str, set[int], set[str]], dict[int, str]]
bots = st.text("0123456789abcdef", min_size=32, max_size=32)
shard_sets = st.sets(st.integers(0, 255), max_size=64)
names = st.text(min_size=1, max_size=12)
member_sets = st.sets(names, min_size=1, max_size=12)


def some_members(count: int) -> set[str]:
    return {f"bot-member-{n}" for n in range(count)}


def by_trying_all(bot_id: str, wanted: set[int], members: set[str]) -> dict[int, str]:
    """Of every balanced assignment there is, the one whose weights, from the heaviest down, are the greatest."""
    best: tuple[list[int], dict[int, str]] = ([], {})
    for chosen in itertools.product(sorted(members), repeat=len(wanted)):
        load = Counter(chosen)
        if max(load[m] for m in members) - min(load[m] for m in members) > 1:
            continue
        found = dict(zip(sorted(wanted), chosen, strict=True))
        best = max(best, (sorted((weight(bot_id, s, m) for s, m in found.items()), reverse=True), found))
    return best[1]


@given(bots, shard_sets, member_sets)
def test_every_member_owns_its_share_rounded_down_or_up(bot_id: str, wanted: set[int], members: set[str]) -> None:
    """Every shard has one owner, and no two members differ by more than one shard."""
    found = owners(bot_id, wanted, members)
    assert set(found) == wanted
    assert list(found) == sorted(found)
    load = Counter(found.values())
    assert set(load) <= members
    low, high = len(wanted) // len(members), -(-len(wanted) // len(members))
    assert all(low <= load[m] <= high for m in members)


@given(bots, shard_sets, member_sets, st.randoms(use_true_random=False))
def test_every_pod_finds_the_same_owners(bot_id: str, wanted: set[int], members: set[str], chance) -> None:
    """In whatever order, and however often, shards and members are listed."""
    listed, named = list(wanted) * 2, list(members) * 2
    chance.shuffle(listed)
    chance.shuffle(named)
    assert owners(bot_id, listed, named) == owners(bot_id, wanted, members)


@given(bots, st.sets(st.integers(0, 255), max_size=5), st.sets(names, min_size=1, max_size=4))
@settings(deadline=None)
def test_no_balanced_assignment_agrees_with_heavier_pairs(bot_id: str, wanted: set[int], members: set[str]) -> None:
    """The reference tries every assignment; it shares the weights and nothing else."""
    assert owners(bot_id, wanted, members) == by_trying_all(bot_id, wanted, members)


@given(bots, shard_sets, member_sets)
def test_nobody_could_swap_for_two_heavier_shards(bot_id: str, wanted: set[int], members: set[str]) -> None:
    """It is stable: no shard weighs more for another member that gave it less than that member's lightest one."""
    found = owners(bot_id, wanted, members)
    lightest = {m: min((weight(bot_id, s, m) for s in found if found[s] == m), default=0) for m in members}
    for shard, owner in found.items():
        mine = weight(bot_id, shard, owner)
        better = [m for m in members if weight(bot_id, shard, m) > mine and found[shard] != m]
        full = len(wanted) // len(members)
        assert all(weight(bot_id, shard, m) < lightest[m] for m in better if Counter(found.values())[m] > full)


@given(bots, shard_sets, member_sets, names)
def test_a_newcomer_gets_its_share_and_the_others_lose_no_more_than_they_must(
    bot_id: str, wanted: set[int], members: set[str], newcomer: str
) -> None:
    """Nobody owns more than before by more than the one shard that rounding allows."""
    before = Counter(owners(bot_id, wanted, members).values())
    after = Counter(owners(bot_id, wanted, members | {newcomer}).values())
    assert after[newcomer] >= len(wanted) // (len(members) + 1)
    assert all(after[m] <= before[m] + 1 for m in members)


def test_without_members_nobody_owns_anything() -> None:
    """And without shards there is nothing to own."""
    assert owners(BOT, {1, 2}, set()) == {}
    assert owners(BOT, set(), {"a"}) == {}


def test_owners_are_those_of_every_release_and_every_python() -> None:
    """Pods of two releases trade beside each other during a roll-out: these owners are frozen."""
    found = owners(BOT, set(range(12)), some_members(3))
    told = "".join(found[s][-1] for s in range(12))
    assert told == FROZEN
    assert weight(BOT, 7, "bot-member-1") == FROZEN_WEIGHT
    assert shard_of(BOT, "So11111111111111111111111111111111111111112", 64) == FROZEN_SHARD


def test_owners_do_not_depend_on_the_process() -> None:
    """Python's own hashes differ from process to process; these do not."""
    code = (
        "from tradingbot_engine.cluster.shares import owners\n"
        "print(owners('b' * 32, set(range(12)), {f'bot-member-{n}' for n in range(3)}))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert told == {f"{owners(BOT, set(range(12)), some_members(3))}\n"}


@given(bots, st.lists(st.text(min_size=1, max_size=44), max_size=30), st.integers(1, 256))
def test_a_shard_is_in_use_exactly_if_one_of_the_tokens_is_in_it(bot_id: str, mints: list[str], shards: int) -> None:
    """A token is in one shard, and always in the same."""
    found = shards_in_use(bot_id, mints, shards)
    assert found == {shard_of(bot_id, mint, shards) for mint in mints}
    assert all(0 <= shard < shards for shard in found)


# --- movement
def movement(count: int, *, members: int, bots: int, find: Owners = owners) -> tuple[float, float]:
    """Return (joining, leaving): shards that move when one member comes to `members`, or one of them + 1 goes, over the ideal."""
    joined, left = [], []
    wanted = set(range(count))
    for bot in range(bots):
        bot_id = f"{bot:032x}"
        few, many = some_members(members), some_members(members + 1)
        grown = find(bot_id, wanted, many)
        joined.append(len(moved(find(bot_id, wanted, few), grown)))
        gone = sorted(many)[bot % len(many)]
        left.append(len(moved(grown, find(bot_id, wanted, many - {gone}))))
    ideal = count / (members + 1)
    return mean(joined) / ideal, mean(left) / ideal


def mean_movement(find: Owners = owners, *, bots: int = 12) -> float:
    return mean(mean(movement(64, members=m, bots=bots, find=find)) for m in range(1, 8))


def test_one_member_more_or_less_moves_at_most_half_more_than_its_share() -> None:
    """64 shards, 1 to 8 members, joins and leaves; ideal is one share."""
    assert mean_movement() <= 1.5
    assert max(movement(256, members=7, bots=6)) <= 1.5


# --- mutants
def by_number(bot_id: str, wanted: set[int], members: set[str]) -> dict[int, str]:
    """What is balanced and agreed upon, but not rendezvous: shards dealt out in turn."""
    order = sorted(members)
    return {s: order[n % len(order)] for n, s in enumerate(sorted(wanted))}


def test_the_measure_of_movement_would_notice_shards_that_are_dealt_out_in_turn() -> None:
    """It moves nearly everything."""
    assert mean_movement(by_number) > 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("or load[member] > share or (load[member] == share and not larger)", ""),  # no bound
        ("(load[member] == share and not larger)", "False"),  # anybody may own one more
        ("larger -= load[member] == share", "larger -= 1"),
        ("reverse=True", "reverse=False"),
        ("weight(bot_id, s, m), s, m) for s", "hash((s, m)), s, m) for s"),
    ],
)
def test_mutants_of_the_assignment_differ_from_the_reference(old: str, new: str) -> None:
    """Each is noticed by the formulation that tries everything, or by the balance."""
    mutant = mutated(shares.owners, (old, new))
    differs = 0
    for bot in range(20):
        bot_id, wanted, members = f"{bot:032x}", set(range(4 + bot % 2)), some_members(3)
        differs += mutant(bot_id, wanted, members) != by_trying_all(bot_id, wanted, members)
    assert differs
