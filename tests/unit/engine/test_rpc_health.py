"""Health is the progress of slots: the probes and what they change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from rpc_pools import SlotNode, first_check_hangs, pool_over
from scripted_rpc import Complaint, Raw

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.rpc.breaker import BreakerState
from tradingbot_engine.rpc.errors import (
    RpcUnavailable,
)
from tradingbot_engine.rpc.events import HealthSeen, PoolEvent


async def test_a_node_whose_slot_stands_still_is_unhealthy_however_well_it_answers() -> None:
    """HTTP 200 and "ok" are no health; when it moves again, it is well again."""
    clock = ManualClock()
    still, moving = SlotNode(), SlotNode()
    async with pool_over(still, moving, clock=clock) as pool:
        for _ in range(3):
            await pool.probe()
            await clock.advance(4)
            moving.slot += 10
        assert "stands still at 1000" in pool.endpoints()[0].error
        assert [e.healthy for e in pool.endpoints()] == [False, True]
        assert pool.order() == ["n1", "n0"]
        still.slot = moving.slot
        await pool.probe()
        assert [e.healthy for e in pool.endpoints()] == [True, True]


@pytest.mark.parametrize("said", [Complaint(-32005, "Node is behind by 150 slots"), "behind", 7])
async def test_a_node_that_calls_itself_ill_is_believed(said: Any) -> None:
    """Asked last, without a fault of transport."""
    async with pool_over(SlotNode(said=said), SlotNode()) as pool:
        await pool.probe()
        assert [e.healthy for e in pool.endpoints()] == [False, True]
        assert pool.order() == ["n1", "n0"]
        assert pool.endpoints()[0].breaker is BreakerState.CLOSED


async def test_probes_come_at_the_jittered_interval_and_never_faster_than_their_rate() -> None:
    """Whoever asks for them, and however often."""
    clock = ManualClock()
    node = SlotNode()
    events: list[PoolEvent] = []
    health = {"interval_s": 30, "jitter_s": 5, "probes_per_second": 0.5}
    async with pool_over(node, clock=clock, health=health, on_event=events.append) as pool:
        for _ in range(5):
            await pool.probe()
        assert node.methods().count("getHealth") == 1
        await clock.advance(29)
        assert node.methods().count("getHealth") == 1
        await clock.advance(6)
        async with asyncio.timeout(5):
            while len([e for e in events if isinstance(e, HealthSeen)]) < 2:
                await asyncio.sleep(0.005)
        assert node.methods().count("getHealth") == 2


async def test_a_good_probe_opens_the_way_again_within_interval_and_jitter() -> None:
    """The cooldown of an hour does not matter."""
    clock = ManualClock()
    node = SlotNode(said=Raw(503, b""))
    breaker = {"failure_threshold": 1, "cooldown_s": 3600}
    async with pool_over(node, clock=clock, breaker=breaker, health={"interval_s": 30, "jitter_s": 5}) as pool:
        with pytest.raises(RpcUnavailable):
            await pool.call("getSlot")
        node.said = "ok"
        with pytest.raises(RpcUnavailable, match="no endpoint may be asked"):
            await pool.call("getSlot")
        await clock.advance(35)
        async with asyncio.timeout(5):
            while not pool.serving:
                await asyncio.sleep(0.005)
        assert pool.endpoints()[0].breaker is BreakerState.HALF_OPEN
        assert (await pool.call("getSlot")).result == 1000
        assert pool.endpoints()[0].breaker is BreakerState.CLOSED


async def test_a_node_on_trial_after_a_good_probe_is_not_away() -> None:
    """Its one trial is under way: no second call may begin, and trading does not stop again for that."""
    clock, node, holds = ManualClock(), SlotNode(said=Raw(503, b"")), asyncio.Event()
    plain = node._answer

    async def answer(method: str, params: list[Any]) -> Any:
        if method == "getBalance":
            await holds.wait()
        return plain(method, params)

    node.handler = answer
    async with pool_over(node, clock=clock, breaker={"failure_threshold": 1, "cooldown_s": 3600}) as pool:
        with pytest.raises(RpcUnavailable):
            await pool.call("getSlot")
        assert pool.away
        node.said = "ok"
        await pool.probe()
        assert (pool.serving, pool.away) == (True, False)
        trial = asyncio.create_task(pool.call("getBalance", ["k"]))
        async with asyncio.timeout(5):
            while not pool.in_flight:
                await asyncio.sleep(0)
        assert (pool.serving, pool.away) == (False, False)
        holds.set()
        await trial
        assert (pool.serving, pool.away) == (True, False)


async def test_a_probe_takes_no_longer_than_its_timeout_also_when_the_chain_has_to_be_shown_first() -> None:
    """And it waits for no check that hangs since before the node was back: the check of a call may take much longer."""
    node = SlotNode()
    holds = first_check_hangs(node)
    health = {"interval_s": 3600, "probe_timeout_s": 0.5, "probes_per_second": 1000}
    async with pool_over(node, health=health, request_timeout_s=60, call_deadline_s=60) as pool:
        pool.expect_genesis("ours")
        call = asyncio.create_task(pool.call("getSlot"))
        async with asyncio.timeout(20):
            while not node.calls:
                await asyncio.sleep(0.001)
            await pool.probe()  # the call's check hangs; the probe's own is answered
            assert pool.endpoints()[0].slot == 1000
        holds.set()
        await call


async def test_a_fault_of_a_second_costs_seconds_and_not_the_interval() -> None:
    """A bot with one node must not lose it for half a minute, its exits waiting, because five calls failed at once."""
    clock = ManualClock()
    node = SlotNode(said=Raw(503, b""))
    async with pool_over(node, clock=clock, breaker={"failure_threshold": 1, "cooldown_s": 60}) as pool:
        with pytest.raises(RpcUnavailable):
            await pool.call("getSlot")
        node.said = "ok"
        assert not pool.serving
        async with asyncio.timeout(5):
            while not pool.serving:
                await clock.advance(0.5)
                await asyncio.sleep(0.01)
        assert clock.monotonic_s() < 5
        assert (await pool.call("getSlot")).result == 1000


async def test_an_endpoint_that_stays_away_is_looked_at_less_and_less_often() -> None:
    """At the end no more often than every interval; its breaker may open again and again."""
    clock = ManualClock()
    node = SlotNode(said=Raw(503, b""))
    health = {"interval_s": 30, "jitter_s": 0, "probes_per_second": 100}
    async with pool_over(
        node, clock=clock, breaker={"failure_threshold": 1, "cooldown_s": 3600}, health=health
    ) as pool:
        with pytest.raises(RpcUnavailable):
            await pool.call("getSlot")
        for _ in range(1200):
            await clock.advance(0.5)
            await asyncio.sleep(0.002)
    looks = node.methods().count("getHealth")
    assert 20 <= looks <= 20 + 6 + 20, (
        "an interval's looks in ten minutes, the doubling ones, and the slow ones after them"
    )


async def test_a_probe_with_http_200_that_does_not_move_on_keeps_the_breaker_open() -> None:
    """A proxy that answers for a dead node must not bring it back."""
    clock = ManualClock()
    node = SlotNode()
    async with pool_over(node, clock=clock, breaker={"failure_threshold": 1, "cooldown_s": 3600}) as pool:
        await pool.probe()
        node.said = Raw(503, b"")
        with pytest.raises(RpcUnavailable):
            await pool.call("getSlot")
        node.said = "ok"
        await clock.advance(10)
        await pool.probe()
        assert pool.endpoints()[0].breaker is BreakerState.OPEN
        node.slot += 25
        await clock.advance(10)
        await pool.probe()
        assert pool.endpoints()[0].breaker is BreakerState.HALF_OPEN
