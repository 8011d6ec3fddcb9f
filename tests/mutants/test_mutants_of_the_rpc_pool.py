"""
The pool's protections, broken on purpose one by one: each is missed by a schedule that the sound pool passes.

A schedule returns what is wrong after it, "" if nothing is; real pools over real servers on free ports.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from mutants.mutate import mutated
from rpc_pools import BALANCE, SlotNode, breaks, hangs, pool_over, says
from scripted_rpc import Raw, ScriptedNode

from tradingbot_engine.clock import ManualClock, SystemClock
from tradingbot_engine.rpc.asking import Asker
from tradingbot_engine.rpc.breaker import Breaker, BreakerState
from tradingbot_engine.rpc.budget import Budget
from tradingbot_engine.rpc.dispatch import Dispatch
from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.health import Health
from tradingbot_engine.rpc.limiter import TokenBucket
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.permits import PermitMisused, Permits
from tradingbot_engine.rpc.race import Race
from tradingbot_engine.rpc.transport import Transport
from tradingbot_engine.rpc.watch import HealthWatch

Schedule = Callable[[], Awaitable[str]]


async def a_read_is_hedged() -> str:
    """The winner's answer comes at once; its loser is gone, with its permit."""
    async with pool_over(hangs(), says(), hedging={"delay_ms": 10}, request_timeout_s=1.0) as pool:
        answer = await asyncio.wait_for(pool.call("getBalance", ["k"]), 30)
        left = [t for t in asyncio.all_tasks() if t.get_name() == "rpc: hedge" and not t.done()]
        wrong = [f"{len(left)} tasks are left"] if left else []
        wrong += [f"{pool.in_flight} permits are out"] if pool.in_flight else []
        wrong += [f"answered by {answer.provider}"] if answer.provider != "n1" else []
        wrong += ["the hung node was waited for"] if ("n0", "Timeout") in pool.stats().requests else []
    async with pool_over(says(after_s=0.05), hangs(), hedging={"delay_ms": 10}, request_timeout_s=1.0) as pool:
        await pool.call("getBalance", ["k"])
        left = [t for t in asyncio.all_tasks() if t.get_name() == "rpc: hedge" and not t.done()]
        wrong += [f"{len(left)} losers go on"] if left or pool.in_flight else []
    return "; ".join(wrong)


async def evidence_is_asked_of_a_late_node() -> str:
    """A pinned read is that node's word, however late."""
    other = says()
    async with pool_over(says(after_s=0.1), other, hedging={"delay_ms": 10}) as pool:
        answer = await Rpc(pool).pinned("n0").get_balance("k")
    return "" if answer.provider == "n0" and not other.calls else f"{answer.provider} was heard"


async def a_node_keeps_failing() -> str:
    """It is left alone after the threshold."""
    node = ScriptedNode(breaks)
    async with pool_over(node, clock=ManualClock(), breaker={"failure_threshold": 3}) as pool:
        for _ in range(10):
            with contextlib.suppress(RpcError):
                await pool.call("getBalance", ["k"])
    return "" if len(node.calls) == 3 else f"it was asked {len(node.calls)} times"


async def a_dead_node_is_answered_for() -> str:
    """A proxy says HTTP 200, "ok" and always the same slot: the breaker stays open, until the slot moves."""
    clock, node = ManualClock(), SlotNode()
    async with pool_over(node, clock=clock, breaker={"failure_threshold": 1, "cooldown_s": 3600}) as pool:
        await pool.probe()
        node.said = Raw(503, b"")
        with contextlib.suppress(RpcError):
            await pool.call("getSlot")
        node.said = "ok"
        await clock.advance(10)
        await pool.probe()
        if pool.endpoints()[0].breaker is not BreakerState.OPEN:
            return "a slot that stands still was taken for health"
        node.slot += 25
        await clock.advance(10)
        await pool.probe()
        moved = pool.endpoints()[0].breaker is BreakerState.HALF_OPEN
    return "" if moved else "a good probe did not open the way"


async def a_node_stands_still() -> str:
    """It answers everything, and its slot does not grow: it is asked last."""
    clock, still, moving = ManualClock(), SlotNode(), SlotNode()
    async with pool_over(still, moving, clock=clock) as pool:
        for _ in range(3):
            await pool.probe()
            await clock.advance(4)
            moving.slot += 10
        return "" if pool.order() == ["n1", "n0"] else f"asked in the order {pool.order()}"


async def an_outage_meets_many_calls() -> str:
    """Repetitions stay a fraction of the calls."""
    nodes = [ScriptedNode(breaks) for _ in range(3)]
    budget = {"max_share": 0.2, "per_second": 1}
    options: dict[str, Any] = {"breaker": {"enabled": False}, "endpoint": {"requests_per_second": 1e5}}
    async with pool_over(*nodes, clock=ManualClock(), retry_budget=budget, **options) as pool:
        for _ in range(100):
            with contextlib.suppress(RpcError):
                await pool.call("getBalance", ["k"])
    sent = sum(len(n.calls) for n in nodes)
    return "" if sent <= 130 else f"{sent} requests for 100 calls"


async def a_call_has_a_deadline() -> str:
    """It costs one node's time, and no further request is begun."""
    nodes = [hangs(), hangs(), hangs()]
    async with pool_over(*nodes, hedging={"enabled": False}, request_timeout_s=3.0) as pool:
        began = asyncio.get_running_loop().time()
        with contextlib.suppress(RpcError):
            await pool.call("getBalance", ["k"], deadline_s=SystemClock().monotonic_s() + 0.3)
        if asyncio.get_running_loop().time() - began >= 3.0:
            return "the request's own timeout was waited for"
    asked = sum(len(n.calls) for n in nodes)
    return "" if asked <= 1 else f"{asked} nodes were asked"


async def more_calls_come_than_the_limits_allow() -> str:
    """Rate and concurrency hold, every call is answered, and no permit stays out."""
    now = peak = 0

    async def handler(method: str, params: list[Any]) -> Any:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0.005)
        now -= 1
        return BALANCE

    clock = ManualClock()
    async with pool_over(
        ScriptedNode(handler), clock=clock, endpoint={"requests_per_second": 20.0, "concurrency": 3}
    ) as pool:
        calls = [asyncio.create_task(pool.call("getBalance", [str(n)])) for n in range(30)]
        _, waiting = await asyncio.wait(calls, timeout=1.0)
        wrong = [f"{peak} at once"] if peak > 3 else []
        wrong += [f"{30 - len(waiting)} answered in one window of 20"] if len(waiting) != 10 else []
        for task in waiting:
            task.cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        wrong += [type(d).__name__ for d in done if isinstance(d, PermitMisused)][:1]
        wrong += [f"{pool.in_flight} permits are out"] if pool.in_flight else []
    return "; ".join(wrong)


MUTANTS: tuple[tuple[str, Schedule, Any, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "hedge loser not cancelled",
        a_read_is_hedged,
        Race,
        "_end_extras",
        (("extra.cancel()", "pass"), ("if left and let_run is None:", "if False:")),
    ),
    ("first request not ended when its hedge wins", a_read_is_hedged, Race, "_extra_is_done", (("self._task.cancel()", "pass"),)),
    ("permit of a cancelled request kept", a_read_is_hedged, Dispatch, "drop", (("self._close(lease)", "pass"),)),
    (
        "evidence raced",
        evidence_is_asked_of_a_late_node,
        Asker,
        "ask",
        (("todo = dispatch.candidates(now, provider=provider,", "todo = dispatch.candidates(now, provider=None,"), ("pinned=provider is not None", "pinned=False")),
    ),
    ("breaker never opening", a_node_keeps_failing, Breaker, "failed", (("self._failures >= self._settings.failure_threshold", "False"),)),
    ("breaker not asked", a_node_keeps_failing, Breaker, "allows", (("return self.state(now_s) is", "return True or self.state(now_s) is"),)),
    ("faults not told to the breaker", a_node_keeps_failing, Dispatch, "note", (("endpoint.blame(text, now_s, trial=trial)", "pass"),)),
    ("health by HTTP 200 alone", a_dead_node_is_answered_for, HealthWatch, "_look", (("if grown and ", "if True or "),)),
    ("slot progress not judged", a_node_stands_still, Health, "probed", (("now_s - self.grew_at_s >= STALL_S", "False"),)),
    ("good probe does not half-open", a_dead_node_is_answered_for, Breaker, "probe_was_good", (("self._move(BreakerState.HALF_OPEN)", "pass"),)),
    ("retry budget without end", an_outage_meets_many_calls, Budget, "spend", (("not self.enabled or", "True or"),)),
    ("deadline not handed on", a_call_has_a_deadline, Dispatch, "_next", (("errand.deadline_s - now_s < self._request_s", "False"),)),
    ("rate not counted", more_calls_come_than_the_limits_allow, TokenBucket, "take", (("self._tokens -= count", "pass"),)),
    ("concurrency not counted", more_calls_come_than_the_limits_allow, Permits, "take", (("self.in_use += 1", "pass"), ("if self.in_use >= self.limit", "if False"))),
    (
        "permit released twice",
        more_calls_come_than_the_limits_allow,
        Dispatch,
        "settle",
        (("        self._close(lease)\n", "        self._close(lease)\n        lease.closed = False\n        self._close(lease)\n"),),
    ),
    (
        "deadline not the request's",
        a_call_has_a_deadline,
        Transport,
        "ask",
        (("if left_s < limit_s:", "if False:"),),
    ),
)  # fmt: skip


SCHEDULES = sorted({m[1] for m in MUTANTS}, key=lambda s: s.__name__)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.__name__)
async def test_the_sound_pool_passes_every_schedule(schedule: Schedule) -> None:
    """Else a mutant would be caught by what is no fault of its own."""
    assert await schedule() == ""


@pytest.mark.parametrize(("name", "schedule", "owner", "function", "changes"), MUTANTS, ids=[m[0] for m in MUTANTS])
async def test_a_broken_protection_is_caught(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    schedule: Schedule,
    owner: Any,
    function: str,
    changes: tuple[tuple[str, str], ...],
) -> None:
    """Each protection is worth what its absence would show."""
    monkeypatch.setattr(owner, function, mutated(getattr(owner, function), *changes))
    try:
        wrong = await asyncio.wait_for(schedule(), 20)
    except (PermitMisused, TimeoutError, AssertionError, RpcError) as error:
        wrong = f"{type(error).__name__}: {error}"
    assert wrong, f"{name} survives"
