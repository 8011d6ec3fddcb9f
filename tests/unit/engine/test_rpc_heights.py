"""A node's word on how long a blockhash is good is held against what the nodes show of the chain's heights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rpc_pools import BEHIND, SLOT, Teller, pool_over

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.units import VALID_BLOCKS
from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.heights import Heights, Place
from tradingbot_engine.rpc.methods import Rpc


async def told(*nodes: Teller) -> tuple[str, int]:
    """Return who was believed, and after how long a chain."""
    clock = ManualClock()
    async with pool_over(*nodes, clock=clock) as pool:
        await pool.probe()
        await clock.advance(2)
        for node in nodes:
            node.slot += 5
        answer = await Rpc(pool).get_latest_blockhash()
        for endpoint, node in zip(pool.endpoints(), nodes, strict=True):
            if node.methods().count("getLatestBlockhash") and endpoint.name != answer.provider:
                assert endpoint.error, "the liar is to blame"
        return answer.provider, answer.result.last_valid_block_height


@pytest.mark.parametrize(
    "liar",
    [
        Teller(off=10**6),  # it would live for months
        Teller(off=60),
        Teller(off=-60),  # it would seem expired while it may still land
        Teller(off=-VALID_BLOCKS - 1),
        Teller(off=-(SLOT - BEHIND)),
        Teller(ahead=50_000),  # both its slot and its L
        Teller(off=5000, skewed=5000),  # it lies about its heights too
    ],
)
async def test_a_node_that_lies_about_how_long_a_blockhash_is_good_is_not_believed(liar: Teller) -> None:
    """Too long: an exit would wait for ever. Too short: the trade could be made twice. Another node is asked."""
    assert await told(liar, Teller(), Teller()) == ("n1", SLOT + 5 - BEHIND + VALID_BLOCKS)


async def test_honest_nodes_are_believed_also_when_they_lag_or_stand_on_another_fork() -> None:
    """What is finalized bounds every fork: a node that is behind tells a shorter life, and no lie."""
    assert (await told(Teller(), Teller()))[0] == "n0"
    late = Teller()
    late.slot -= 60
    assert (await told(late, Teller()))[0] == "n0"


async def test_of_two_that_contradict_each_other_neither_is_believed() -> None:
    """Nobody can tell which one is right, and the money is ours."""
    with pytest.raises(RpcError, match=r"contradicts the height of n[01]"):
        await told(Teller(off=5000, skewed=5000), Teller())


@pytest.mark.parametrize("skew", [5000, -5000])
@pytest.mark.parametrize("liar", [0, 1])
async def test_of_two_that_agreed_before_the_one_that_goes_on_from_there_is_believed(liar: int, skew: int) -> None:
    """A node that goes mad must not hold the exits that the other one could send, for however long it goes on."""
    clock, nodes = ManualClock(), (Teller(), Teller())
    async with pool_over(*nodes, clock=clock) as pool:

        async def pass_slots(slots: int) -> None:
            await clock.advance(slots * 0.4)
            for node in nodes:
                node.slot += slots
            await pool.probe()

        await pass_slots(0)
        await pass_slots(50)
        nodes[liar].skewed = skew
        for _ in range(30):  # forty minutes: by then the band around the past alone would hold the lie too
            await pass_slots(200)
        answer = await Rpc(pool).get_latest_blockhash()
        assert answer.provider == f"n{1 - liar}"
        assert answer.result.last_valid_block_height == nodes[0].slot - BEHIND + VALID_BLOCKS
        with pytest.raises(RpcError, match="contradicts the height of"):
            await Rpc(pool).pinned(f"n{liar}").get_latest_blockhash()
        nodes[liar].skewed = 0
        await pass_slots(10)
        assert (await Rpc(pool).pinned(f"n{liar}").get_latest_blockhash()).provider == f"n{liar}"


def test_what_was_agreed_long_ago_decides_nothing_once_both_could_follow_from_it() -> None:
    """Nor is it agreement that two words of far apart slots leave room for each other."""
    heights = Heights()
    heights.saw("a", Place(10_000, 5_000))
    heights.saw("b", Place(10_010, 5_010))
    heights.saw("b", Place(60_000, 55_000))  # "a" was silent: this is no agreement, and goes on from the last one
    heights.saw("a", Place(60_010, 30_000))  # this one could follow from it as well
    for voice, height in (("a", 30_000), ("b", 55_010)):
        assert heights.problem(voice, slot=60_010, last_valid_block_height=height + VALID_BLOCKS)


async def test_a_pinned_question_is_not_asked_of_another_node() -> None:
    """It fails, and its reason is the contradiction."""
    async with pool_over(Teller(off=10**6), Teller(), clock=ManualClock()) as pool:
        await pool.probe()
        with pytest.raises(RpcError, match="contradicts its own height"):
            await Rpc(pool).pinned("n0").get_latest_blockhash()


@given(
    slots=st.lists(st.booleans(), min_size=2, max_size=300),
    places=st.lists(st.integers(0, 299), min_size=1, max_size=4),
    asked=st.integers(0, 299),
    off=st.integers(-400, 400),
)
def test_no_honest_answer_is_ever_refused_and_no_lie_passes_beyond_what_heights_leave_open(
    slots: list[bool], places: list[int], asked: int, off: int
) -> None:
    """Whatever slots were skipped: between two blocks of a chain stands at most one block for each slot."""
    block_slots = [n for n, has_block in enumerate(slots) if has_block] or [0]
    heights, base = Heights(), 5_000
    shown = [block_slots[p % len(block_slots)] for p in places]
    for n, slot in enumerate(shown):
        heights.saw(f"n{n}", Place(slot + 10_000, base + block_slots.index(slot)))
    slot = block_slots[asked % len(block_slots)]
    height = base + block_slots.index(slot)
    assert not heights.problem("n0", slot=slot + 10_000, last_valid_block_height=height + VALID_BLOCKS)
    doubt = heights.problem("n0", slot=slot + 10_000, last_valid_block_height=height + VALID_BLOCKS + off)
    if abs(off) > min(abs(slot - s) for s in shown) + 1 and abs(off) > abs(slot - shown[0]) + 1:
        assert doubt
