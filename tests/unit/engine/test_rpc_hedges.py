"""A late read is asked elsewhere: who is heard, what it may cost, and what is left behind."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from rpc_pools import hangs, nothing_left, pool_over, says
from scripted_rpc import Complaint, ScriptedNode

from tradingbot_engine.rpc.alarms import Alarms
from tradingbot_engine.rpc.errors import (
    PreflightFailed,
)
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.race import Race
from tradingbot_engine.rpc.score import Latencies


async def test_a_late_read_is_asked_elsewhere_and_the_loser_leaves_nothing() -> None:
    """The first answer counts; no task and no permit of the slower one is left."""
    async with pool_over(hangs(), says(), hedging={"delay_ms": 20}) as pool:
        answer = await pool.call("getBalance", ["k"])
        stats = pool.stats()
        assert (answer.provider, stats.hedges, stats.hedges_won) == ("n1", 1, 1)
        assert pool.in_flight == 0
        assert nothing_left()
        assert stats.requests == {("n0", "cancelled"): 1, ("n1", "ok"): 1}


async def test_a_hedge_that_loses_is_cancelled_or_heard_out_as_the_settings_say() -> None:
    """By default it is cancelled; with abort_on_primary_success off it ends by itself, and close ends it otherwise."""
    for abort in (True, False):
        hedging = {"delay_ms": 10, "abort_on_primary_success": abort}
        async with pool_over(says(after_s=0.1), hangs(), hedging=hedging) as pool:
            assert (await pool.call("getBalance", ["k"])).provider == "n0"
            assert pool.stats().hedges == 1
            assert pool.in_flight == (0 if abort else 1)
            assert nothing_left() is abort
        assert nothing_left()


async def test_extra_requests_are_capped_over_all_calls() -> None:
    """When the savings are used up, late calls wait for their first request."""
    hedging = {"delay_ms": 10, "burst": 3, "max_share": 0.01}
    async with pool_over(hangs(), says(), hedging=hedging, request_timeout_s=2.0) as pool:
        calls = [pool.call("getBalance", [str(i)]) for i in range(10)]
        done = await asyncio.gather(*calls)
        assert {d.provider for d in done} == {"n1"}
        assert pool.stats().hedges == 3
        assert pool.stats().requests["n0", "Timeout"] == 7


@pytest.mark.parametrize("method", ["getProgramAccounts", "getSignaturesForAddress", "simulateTransaction"])
async def test_heavy_scans_and_unknown_methods_are_never_hedged(method: str) -> None:
    """They would cost two nodes what one can hardly bear."""
    async with pool_over(says(after_s=0.1), says(), hedging={"delay_ms": 5}) as pool:
        assert (await pool.call(method, ["k"])).provider == "n0"
        assert pool.stats().hedges == 0


async def test_a_hedged_send_carries_the_same_bytes_and_a_refusal_waits_for_the_other() -> None:
    """A preflight that fails on one node says nothing about the other one, which may have taken them."""

    async def refuses(method: str, params: list[Any]) -> Any:
        await asyncio.sleep(0.05)
        raise Complaint(-32002, "custom program error: 0x1")

    first, second = ScriptedNode(refuses), says("sig", after_s=0.15)
    async with pool_over(first, second, hedging={"delay_ms": 10}) as pool:
        sent = await Rpc(pool).send_transaction(b"bytes", skip_preflight=False, preflight_commitment="confirmed")
        assert sent.result == "sig"
    assert first.calls == second.calls
    assert len(first.calls) == 1
    async with pool_over(ScriptedNode(refuses), ScriptedNode(refuses), hedging={"delay_ms": 10}) as pool:
        with pytest.raises(PreflightFailed):
            await Rpc(pool).send_transaction(b"bytes", skip_preflight=False, preflight_commitment="confirmed")


async def test_a_caller_that_gives_up_ends_both_requests() -> None:
    """Cancellation is the caller's, not an answer; nothing stays."""
    async with pool_over(hangs(), hangs(), hedging={"delay_ms": 10}) as pool:
        call = asyncio.create_task(pool.call("getBalance", ["k"]))
        while pool.in_flight < 2:
            await asyncio.sleep(0.005)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert pool.in_flight == 0
        assert nothing_left()


async def test_a_race_ends_what_it_began_in_every_order_of_ends() -> None:
    """Whoever ends first, good or bad, early or late, cancelled or not: the outcome is right and no task is left."""
    before = asyncio.all_tasks()
    dice, alarms = random.Random(5), Alarms()

    async def runner(seconds: float, good: bool) -> tuple[bool, float]:
        await asyncio.sleep(seconds)
        return good, seconds

    async def one(give_up: bool) -> None:
        times = [dice.choice([0.0, 0.004, 0.005, 0.006, 0.01]) for _ in range(3)]
        goods = [dice.random() < 0.6 for _ in range(3)]
        extras = iter(list(zip(times, goods, strict=True))[1:])
        race: Race[tuple[bool, float]] = Race(
            delay_s=0.005,
            another=lambda: None if (extra := next(extras, None)) is None else runner(*extra),
            good=lambda outcome: outcome[0],
            alarms=alarms,
        )
        task = asyncio.create_task(race.run(runner(times[0], goods[0])))
        if give_up:
            await asyncio.sleep(dice.choice([0.001, 0.005, 0.008]))
            task.cancel()
        try:
            (good, _), silent = await task
        except asyncio.CancelledError:
            assert give_up
            return
        assert task.cancelling() == (1 if give_up and task.cancelling() else 0)
        assert good or not any(goods) or not silent
        assert not silent or any(goods[1:])

    for number in range(120):
        await one(number % 4 == 0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - before == set()


def test_the_hedge_delay_follows_the_95th_percentile_once_enough_was_seen() -> None:
    """Nineteen of twenty below 10 ms and one at 500: the tail decides."""
    seen = Latencies()
    for _ in range(19):
        seen.add(0.01)
    assert seen.p95_s is None
    seen.add(0.5)
    assert (seen.p95_s, seen.late_s) == (0.5, 0.5)
    for _ in range(400):
        seen.add(0.02)
    assert seen.p95_s == 0.02


def test_of_answers_that_are_all_as_fast_none_is_late_before_twice_the_usual_time() -> None:
    """One in twenty is always the slowest: to ask again for each of them would only be one request in twenty more."""
    seen = Latencies()
    for number in range(64):
        seen.add(0.100 + number / 1000)
    assert seen.p95_s == 0.160
    assert seen.late_s == 2 * 0.132
