"""The memory in front of the ledger: bounded, oldest first out, and off at size 0."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradingbot_engine.bus.seen import SeenSignals


@given(st.lists(st.integers(0, 30)), st.integers(1, 10))
def test_it_knows_the_newest_ids_and_no_others(ids: list[int], size: int) -> None:
    """Against an oracle: the last `size` different ids in the order in which each was first taken."""
    seen = SeenSignals(size=size)
    oracle: list[str] = []
    for number in ids:
        name = str(number)
        if not seen.has(name):
            seen.remember(name)
            oracle = [*oracle, name][-size:]
        assert len(seen) <= size
    assert [name for name in map(str, range(31)) if seen.has(name)] == sorted(oracle, key=int)


def test_switched_off_it_knows_nothing() -> None:
    """The ledger alone refuses then."""
    seen = SeenSignals(size=0)
    seen.remember("a")
    assert not seen.has("a")
    assert seen.repeated == 0
