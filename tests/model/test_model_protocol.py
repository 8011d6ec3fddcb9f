"""The protocol holds in every reachable state: no trade doubled, lost or phantom, none stuck, no write under an old epoch."""

from __future__ import annotations

import pytest
from model.model_explore import explore
from model.model_state import Configuration

PLAIN = Configuration()
ONE_TRY = {"attempts": 1, "intents": 2, "submitted": False, "errors": False}
WORLDS = {
    "one intent, two pods, two attempts": PLAIN,
    "two exits of one position": Configuration(**ONE_TRY, exits_of_one_position=True),
    "one pod, two attempts, dead-fork nodes": Configuration(pods=1, ghosts=True),
}
LARGE_WORLDS = {
    "one intent, two pods, two attempts, dead-fork nodes": Configuration(ghosts=True),
    "two tasks in one epoch, two attempts, dead-fork nodes": Configuration(ghosts=True, one_process=True, errors=False),
    "shards released and handed over": Configuration(releases=True),
    "two tasks in one epoch, three attempts": Configuration(
        one_process=True, attempts=3, errors=False, submitted=False, crashes=False
    ),
}


@pytest.mark.parametrize("name", WORLDS)
def test_every_state_of_a_small_world_is_sound(name: str) -> None:
    """P1 to P7 hold, and fair steps settle every intent from every state."""
    found = explore(WORLDS[name])
    print(f"\n{found.line(name)}")
    assert found.complete
    assert not found.traces, found.told()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # nothing but arithmetic: a minute or two of a core that it has for itself
@pytest.mark.parametrize("name", LARGE_WORLDS)
def test_every_state_of_a_large_world_is_sound(name: str) -> None:
    """The same with nodes that stay on dead forks, hand-overs, and tasks that race under one epoch."""
    found = explore(LARGE_WORLDS[name])
    print(f"\n{found.line(name)}")
    assert found.complete
    assert not found.traces, found.told()


@pytest.mark.slow
def test_two_intents_over_two_shards_are_sound_as_far_as_the_search_goes() -> None:
    """Two exits of one position on different shards: the claim's check is the bot's, not the shard's. The search is cut."""
    found = explore(Configuration(**ONE_TRY, shards=2, exits_of_one_position=True), max_states=60_000, progress=False)
    print(f"\n{found.line('two exits over two shards')}")
    assert not found.traces, found.told()


def test_the_search_would_notice_if_it_explored_nothing() -> None:
    """A search that is cut says so, and one that is complete has seen every outcome that an intent can have."""
    cut = explore(PLAIN, max_states=500)
    assert not cut.complete
    assert cut.states <= 600
