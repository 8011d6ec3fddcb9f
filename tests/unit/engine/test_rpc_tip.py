"""Where the chain stands, by what nodes say of it: one node's garbage must not make the others look late."""

from __future__ import annotations

from typing import Any

import pytest
from rpc_pools import pool_over
from scripted_rpc import ScriptedNode

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.health import FAR_SLOTS, STEADY_S, Health, Tip
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.rpc.wire import MAX_SLOT

TRUE = 420_000_000


class Chain:
    """Nodes that show slots, at moments."""

    def __init__(self, nodes: int) -> None:
        self.nodes = [Health() for _ in range(nodes)]
        self.tip, self.now_s = Tip(tuple(self.nodes)), 1000.0

    def shows(self, node: int, slot: int, *, after_s: float = 0.01) -> None:
        self.now_s += after_s
        self.tip.saw(self.nodes[node], slot, self.now_s)

    @property
    def lags(self) -> list[int]:
        return [h.lag for h in self.nodes]


@pytest.mark.parametrize("garbage", [MAX_SLOT, 10**9, TRUE + 50_000])
def test_a_garbage_slot_at_first_sight_makes_nobody_look_late(garbage: int) -> None:
    """The other two bear each other out; and when the first one says something sound it is one of them."""
    chain = Chain(3)
    chain.shows(0, garbage)
    assert chain.tip.slot == 0, "nobody bears it out"
    chain.shows(1, TRUE)
    chain.shows(2, TRUE - 1)
    assert (chain.tip.slot, chain.lags) == (TRUE, [0, 0, 1])
    for n in range(1, 20):
        chain.shows(0, garbage + 2 * n, after_s=1.0)  # it goes on, and even grows: two stand against it
        chain.shows(1, TRUE + 2 * n)
        chain.shows(2, TRUE + 2 * n)
    assert (chain.tip.slot, chain.lags) == (TRUE + 38, [0, 0, 0])
    chain.shows(0, TRUE + 38)
    assert chain.nodes[0].vouched


def test_of_two_nodes_that_contradict_each_other_the_one_that_goes_on_is_believed() -> None:
    """A constant is no chain; who is believed first does not matter."""
    chain = Chain(2)
    chain.shows(0, 10**12)
    chain.shows(1, TRUE)
    assert (chain.tip.slot, chain.lags) == (0, [0, 0])
    for n in range(1, 8):
        chain.shows(0, 10**12, after_s=0.5)
        chain.shows(1, TRUE + 2 * n, after_s=0.5)
    assert (chain.tip.slot, chain.lags) == (TRUE + 14, [0, 0])


def test_a_leap_that_time_does_not_explain_is_believed_only_if_another_node_makes_it_too() -> None:
    """A garbage slot in one answer of many: forgotten with the next answer. All nodes after a pause of ours: no leap."""
    chain = Chain(3)
    for n in range(3):
        chain.shows(n, TRUE)
    chain.shows(1, TRUE + 900)
    assert (chain.tip.slot, chain.lags) == (TRUE, [0, 0, 0])
    chain.shows(1, TRUE + 1)
    assert (chain.tip.slot, chain.nodes[1].vouched) == (TRUE + 1, True)
    chain.shows(0, TRUE + 1500)
    chain.shows(2, TRUE + 1500)  # so we slept, and node 1 has not shown it yet
    assert chain.tip.slot == TRUE + 1500
    chain.shows(1, TRUE + 1500, after_s=60)
    chain.shows(0, TRUE + 1650)
    assert (chain.tip.slot, chain.lags[0]) == (TRUE + 1650, 0)


def test_a_node_that_lags_is_seen_to_lag_from_the_first_moment() -> None:
    """The rule against garbage must not hide what it protects: 150 slots behind is behind."""
    chain = Chain(2)
    chain.shows(0, TRUE - 150)
    chain.shows(1, TRUE)
    assert chain.lags == [150, 0]
    chain.shows(1, TRUE + 2)
    chain.shows(0, TRUE - 148)
    assert chain.lags == [150, 0]


def test_the_only_node_is_believed_and_an_only_answering_one_after_a_while() -> None:
    """Nobody else can bear it out."""
    alone, half = Chain(1), Chain(2)
    alone.shows(0, TRUE)
    assert alone.tip.slot == TRUE
    half.shows(0, TRUE)
    half.shows(0, TRUE + 13, after_s=STEADY_S)
    assert half.tip.slot == TRUE + 13


def test_a_restored_chain_is_followed_down() -> None:
    """A test cluster put back to a snapshot: the old tip is not the chain's any more."""
    chain = Chain(2)
    for n in (0, 1):
        chain.shows(n, TRUE)
    for n in (0, 1, 0):
        chain.shows(n, TRUE - 5_000, after_s=6)
    assert (chain.tip.slot, chain.lags) == (TRUE - 5_000, [0, 0])


def _balances(*slots: Any) -> ScriptedNode:
    """Return a node whose answers speak of these slots, the last one for ever."""
    left = list(slots)

    def handler(method: str, params: list[Any]) -> Any:
        return {"context": {"slot": left.pop(0) if len(left) > 1 else left[0]}, "value": 7}

    return ScriptedNode(handler)


async def _ask(pool: RpcPool, *names: str) -> None:
    for name in names:
        await pool.call("getBalance", ["k"], provider=name)


@pytest.mark.parametrize("garbage", [-5, 2**63, "99", None, 1.5, True, MAX_SLOT, TRUE * 2])
async def test_a_garbage_context_slot_in_the_very_first_answer_leaves_the_pool_sound(garbage: Any) -> None:
    """No sound node is asked after it, called late or unhealthy, at once and when the node has come to its senses."""
    clock = ManualClock()
    async with pool_over(_balances(garbage, TRUE + 2), _balances(TRUE), _balances(TRUE + 1), clock=clock) as pool:
        await _ask(pool, "n0", "n1", "n2")
        assert [e.healthy for e in pool.endpoints()[1:]] == [True, True]
        assert [e.lag_slots for e in pool.endpoints()] == [0, 1, 0]
        assert pool._dispatch.tip.slot == TRUE + 1
        await _ask(pool, "n0")
        assert pool._dispatch.tip.slot == TRUE + 2
        assert [e.healthy for e in pool.endpoints()] == [True] * 3


async def test_an_answer_of_a_slot_far_beyond_the_chain_is_a_fault_of_its_node() -> None:
    """Its slot would be kept in the ledger, and every true answer after it would look old."""
    lying = _balances(TRUE, TRUE + FAR_SLOTS * 2)
    async with pool_over(lying, _balances(TRUE), clock=ManualClock()) as pool:
        await _ask(pool, "n0", "n1")
        assert (await pool.call("getBalance", ["k"])).provider == "n1"
        with pytest.raises(RpcError, match="the chain stands at"):
            await pool.call("getBalance", ["k"], provider="n0")
        assert pool.stats().requests["n0", "EndpointFault"] == 2
