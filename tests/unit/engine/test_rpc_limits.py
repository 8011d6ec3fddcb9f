"""Breakers, rates, permits, the queue, deadlines and the retry budget."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from rpc_pools import BALANCE, breaks, hangs, pool_over, says
from scripted_rpc import Complaint, Raw, ScriptedNode

from tradingbot_engine.clock import ManualClock, SystemClock
from tradingbot_engine.rpc.breaker import Breaker, BreakerState
from tradingbot_engine.rpc.errors import (
    DataMissing,
    RpcDeadline,
    RpcOverloaded,
    RpcTimeout,
    RpcUnavailable,
)
from tradingbot_engine.rpc.events import BreakerMoved, PoolEvent, Requested
from tradingbot_engine.rpc.limiter import TokenBucket
from tradingbot_engine.rpc.permits import PermitMisused, Permits
from tradingbot_engine.settings import RpcSettings


def test_the_breaker_opens_after_failures_in_a_row_and_closes_by_good_trials() -> None:
    """A success in between starts the count anew; while half open only trials count."""
    moves: list[tuple[BreakerState, BreakerState]] = []
    settings = RpcSettings.model_validate(
        {
            "endpoints": [{"name": "a", "url": "http://h"}],
            "breaker": {"failure_threshold": 3, "cooldown_s": 10, "half_open_probes": 2},
        }
    ).breaker
    breaker = Breaker(settings, on_change=lambda a, b: moves.append((a, b)))
    for failed in (1, 1, 0, 1, 1):
        assert breaker.allows(0)
        breaker.failed(0, trial=0) if failed else breaker.succeeded(trial=0)
    assert breaker.state(0) is BreakerState.CLOSED
    breaker.failed(0, trial=0)
    assert not breaker.allows(9.9)
    assert breaker.allows(10)
    assert [breaker.start(10), breaker.start(10)] == [1, 1]
    assert not breaker.allows(10), "as many trials at once as the settings allow"
    breaker.succeeded(trial=0)
    breaker.failed(10, trial=0)
    assert breaker.state(10) is BreakerState.HALF_OPEN, "requests from before are no trials"
    for _ in range(2):
        breaker.end_trial(1)
        breaker.succeeded(trial=1)
    assert breaker.state(10) is BreakerState.CLOSED
    assert [b for _, b in moves] == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


def test_a_good_probe_lets_a_trial_in_beside_one_that_hangs_since_before() -> None:
    """Its end says nothing of a node that is back: it neither keeps the next one out nor opens the breaker again."""
    settings = RpcSettings.model_validate(
        {"endpoints": [{"name": "a", "url": "http://h"}], "breaker": {"failure_threshold": 1, "cooldown_s": 10}}
    ).breaker
    breaker = Breaker(settings)
    breaker.failed(0, trial=0)
    hung = breaker.start(10)
    assert (breaker.allows(10), breaker.invited) == (False, False)
    breaker.probe_was_good()
    assert (breaker.allows(10), breaker.invited) == (True, True)
    fresh = breaker.start(10)
    assert not breaker.allows(10), "one trial at once since the probe"
    breaker.failed(11, trial=hung)
    breaker.end_trial(hung)
    assert breaker.state(11) is BreakerState.HALF_OPEN
    assert (breaker.trials, breaker.allows(11)) == (1, False)
    breaker.failed(12, trial=fresh)
    breaker.end_trial(fresh)
    assert (breaker.state(12), breaker.invited) == (BreakerState.OPEN, False)


async def test_an_open_breaker_keeps_calls_away_unless_the_caller_insists() -> None:
    """Selection always names an endpoint; the caller decides."""
    broken = [True]

    def handler(method: str, params: list[Any]) -> Any:
        if broken[0]:
            raise Raw(500, b"")
        return BALANCE

    node = ScriptedNode(handler)
    events: list[PoolEvent] = []
    clock = ManualClock()
    async with pool_over(node, clock=clock, breaker={"failure_threshold": 2}, on_event=events.append) as pool:
        for _ in range(4):
            with pytest.raises(RpcUnavailable):
                await pool.call("getBalance", ["k"])
        assert len(node.calls) == 2
        assert not pool.serving
        assert (pool.select().name, pool.order()) == ("n0", [])
        assert "breaker is open" in pool.select().degraded
        broken[0] = False
        assert (await pool.call("getBalance", ["k"], insist=True)).provider == "n0"
        assert pool.endpoints()[0].breaker is BreakerState.OPEN
    moved = [e for e in events if isinstance(e, BreakerMoved)]
    assert [(e.endpoint, e.after) for e in moved] == [("n0", BreakerState.OPEN)]
    assert [e.outcome for e in events if isinstance(e, Requested)] == ["EndpointFault", "EndpointFault", "ok"]


def test_a_token_bucket_gives_its_burst_and_then_its_rate() -> None:
    """Whatever the order of asking; a clock that goes back adds nothing."""
    bucket = TokenBucket(per_second=10, burst=3)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s(0) == pytest.approx(0.1)
    assert bucket.wait_s(0, ahead=4) == pytest.approx(0.5)
    assert not bucket.take(0.099)
    assert bucket.take(0.1)
    assert not bucket.take(-5)
    assert [bucket.take(100) for _ in range(4)] == [True, True, True, False]


def test_a_permit_given_back_twice_is_an_error() -> None:
    """From there on the limit would not hold."""
    permits = Permits(1)
    permits.take()
    with pytest.raises(PermitMisused):
        permits.take()
    permits.give_back()
    with pytest.raises(PermitMisused):
        permits.give_back()


async def test_calls_beyond_the_rate_wait_their_turn_and_then_go() -> None:
    """Nobody is refused while the queue's deadline can be kept."""
    async with pool_over(says(), endpoint={"requests_per_second": 50.0, "concurrency": 50}, rate_window_ms=20) as pool:
        done = await asyncio.gather(*(pool.call("getBalance", [str(i)]) for i in range(6)))
        assert [d.provider for d in done] == ["n0"] * 6
        assert pool.stats().waited >= 4


async def test_a_call_that_cannot_be_served_in_time_is_refused_at_once_and_nothing_is_sent() -> None:
    """Waiting for what is sure to come too late helps nobody."""
    clock = ManualClock()
    node = says()
    async with pool_over(node, clock=clock, endpoint={"requests_per_second": 1.0}, queue={"deadline_ms": 900}) as pool:
        await pool.call("getBalance", ["k"])
        with pytest.raises(RpcOverloaded, match="rate limit"):
            await pool.call("getBalance", ["k"])
        assert pool.stats().refused == {"rate limit leaves no room before the deadline": 1}
    assert len(node.calls) == 1


async def test_a_flood_fills_the_queue_and_the_rest_is_refused_quickly() -> None:
    """Bounded waiting: who finds no place gets an error within reject_fast_ms, and the queue's own go on."""
    queue = {"max_size": 5, "deadline_ms": 60_000, "reject_fast_ms": 10}
    gate = asyncio.Event()

    async def handler(method: str, params: list[Any]) -> Any:
        await gate.wait()
        return BALANCE

    async with pool_over(
        ScriptedNode(handler), endpoint={"concurrency": 2}, queue=queue, request_timeout_s=60, call_deadline_s=60
    ) as pool:
        calls = [asyncio.create_task(pool.call("getBalance", [str(i)])) for i in range(50)]
        _, pending = await asyncio.wait(calls, timeout=5)
        assert len(pending) == 2 + 5
        assert pool.stats().queued == 5
        gate.set()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(d, RpcOverloaded) for d in done) == 43
        assert sum(not isinstance(d, BaseException) for d in done) == 7
        assert (pool.in_flight, pool.stats().queued) == (0, 0)


async def test_who_waited_for_a_permit_and_then_for_a_token_is_served_when_the_token_comes() -> None:
    """Nobody else need call: a quiet bot's send must not wait for its deadline with tokens there."""
    node = says(after_s=0.01)
    async with pool_over(node, endpoint={"requests_per_second": 5, "concurrency": 1}, rate_window_ms=1) as pool:
        done = await asyncio.gather(*(pool.call("getBalance", [str(i)]) for i in range(4)))
        assert len(done) == len(node.calls) == 4
        assert pool.stats().waited == 3
        assert not pool.stats().refused


async def test_waiting_for_a_hung_endpoint_does_not_keep_the_loop_busy() -> None:
    """Another endpoint's tokens are of no use to pinned calls; they are woken by a permit or by their deadline."""
    async with pool_over(hangs(), says(), endpoint={"concurrency": 2}, queue={"deadline_ms": 400}) as pool:
        dispatch, looks = pool._dispatch, 0
        pump = dispatch.pump

        def counted(now_s: float) -> None:
            nonlocal looks
            looks += 1
            pump(now_s)

        dispatch.pump = counted  # type: ignore[method-assign]
        calls = [asyncio.create_task(pool.call("getBalance", [str(i)], provider="n0")) for i in range(10)]
        refused = [c for c in (await asyncio.wait(calls, timeout=1.0))[0] if isinstance(c.exception(), RpcOverloaded)]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    assert len(refused) == 8
    assert looks < 60, "it looked again and again for nothing"


async def test_a_call_ends_by_its_deadline_and_begins_nothing_that_could_not() -> None:
    """Three hung nodes cost one deadline, not three timeouts."""
    nodes = [hangs(), hangs(), hangs()]
    async with pool_over(*nodes, hedging={"enabled": False}, request_timeout_s=1.0) as pool:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(RpcTimeout):
            await pool.call("getBalance", ["k"], deadline_s=SystemClock().monotonic_s() + 0.1)
        assert loop.time() - began < 1.0, "it did not wait for the request's own timeout"
        assert sum(len(n.calls) for n in nodes) == 1
        with pytest.raises(RpcDeadline):
            await pool.call("getBalance", ["k"], deadline_s=SystemClock().monotonic_s() + 0.001)
        assert sum(len(n.calls) for n in nodes) == 1


async def test_an_outage_makes_no_storm_of_repetitions() -> None:
    """Each call asks once; beyond it a fifth of the calls, and what was saved up."""
    nodes = [ScriptedNode(breaks) for _ in range(3)]
    budget = {"max_share": 0.2, "per_second": 1}
    endpoint = {"requests_per_second": 1e5}
    async with pool_over(
        *nodes, clock=ManualClock(), retry_budget=budget, breaker={"enabled": False}, endpoint=endpoint
    ) as pool:
        for _ in range(100):
            with pytest.raises(RpcUnavailable):
                await pool.call("getBalance", ["k"])
        assert sum(len(n.calls) for n in nodes) <= 100 + 10 + 20
        assert pool.stats().refused["retry budget"] > 50


async def test_missing_data_is_no_fault_and_costs_no_budget() -> None:
    """The sweep over all nodes is the error table's, however often it happens."""

    def missing(method: str, params: list[Any]) -> Any:
        raise Complaint(-32004, "no block")

    nodes = [ScriptedNode(missing) for _ in range(3)]
    endpoint = {"requests_per_second": 1e5}
    async with pool_over(*nodes, retry_budget={"max_share": 0.01, "per_second": 0.1}, endpoint=endpoint) as pool:
        for _ in range(5):
            with pytest.raises(DataMissing):
                await pool.call("getBlock", [5])
        assert [len(n.calls) for n in nodes] == [10, 10, 10]
