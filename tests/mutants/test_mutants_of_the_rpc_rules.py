"""
What the pool believes and whom it leaves alone, broken on purpose rule by rule: each is missed by a directed schedule.

Real pools over real servers on free ports. The protections of load and latency stand in `test_mutants_of_the_rpc_pool.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from mutants.protections import Mutant, Schedule, wrong_under
from rpc_pools import BALANCE, BEHIND, SLOT, SlotNode, Teller, breaks, first_check_hangs, hangs, pool_over, says
from scripted_rpc import Complaint, Raw, ScriptedNode, serving

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.units import VALID_BLOCKS
from tradingbot_engine.rpc import wire
from tradingbot_engine.rpc.asking import Asker
from tradingbot_engine.rpc.breaker import Breaker, BreakerState
from tradingbot_engine.rpc.chain import ChainCheck
from tradingbot_engine.rpc.dispatch import Dispatch
from tradingbot_engine.rpc.endpoint import Endpoint
from tradingbot_engine.rpc.errors import RpcError, RpcTimeout
from tradingbot_engine.rpc.flights import Flights
from tradingbot_engine.rpc.health import Tip
from tradingbot_engine.rpc.heights import Heights
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.rpc.watch import HealthWatch
from tradingbot_engine.settings import RpcSettings

FAST = {"requests_per_second": 1e5, "concurrency": 1000}
NO_PAUSES = {"interval_s": 3600, "jitter_s": 0, "probes_per_second": 1000}


async def asked(pool: RpcPool, method: str = "getBalance", key: str = "k") -> str:
    """Return who answers a read, or the name of the error."""
    try:
        return (await pool.call(method, [key])).provider
    except RpcError as error:
        return type(error).__name__


def as_it_is(raw: Any) -> Any:
    """What is decoded alike may be shared."""
    return raw


# --- limits of the provider's
async def a_node_asks_for_thirty_seconds_of_rest() -> str:
    """Nobody asks it for so long, whatever else is there."""
    clock, node = ManualClock(), ScriptedNode(lambda method, params: BALANCE)
    answer = node.handler
    node.handler = lambda method, params: throttle("30")
    async with pool_over(node, clock=clock, breaker={"enabled": False}, health={"enabled": False}) as pool:
        await asked(pool)
        node.handler = answer
        for _ in range(29):
            await clock.advance(1)
            await asked(pool)
        early = len(node.calls) - 1
        await clock.advance(2)
        late = await asked(pool)
    return "" if (early, late) == (0, "n0") else f"{early} calls in its rest, then {late}"


async def a_node_refuses_every_try_at_once() -> str:
    """It is left alone longer each time."""
    clock, node = ManualClock(), ScriptedNode(lambda method, params: throttle("0"))
    async with pool_over(node, clock=clock, breaker={"enabled": False}, health={"enabled": False}) as pool:
        for _ in range(600):
            await asked(pool)
            await clock.advance(0.1)
    return "" if len(node.calls) <= 20 else f"{len(node.calls)} refusals in a minute"


def throttle(after: str) -> Any:
    raise Raw(429, b"{}", {"Retry-After": after})


async def a_plan_does_not_hold_one_method() -> str:
    """A provider says 403 to a heavy read: the endpoint stays there for the exits."""

    def handler(method: str, params: list[Any]) -> Any:
        if method == "getBlock":
            raise Raw(403, b"")
        return "ok" if method == "getHealth" else BALANCE

    async with pool_over(ScriptedNode(handler)) as pool:
        heavy, light = await asked(pool, "getBlock"), await asked(pool)
    return "" if (heavy, light) == ("MethodUnsupported", "n0") else f"{heavy}, then {light}"


async def a_question_is_wrong() -> str:
    """No node is asked a second time what no node can answer."""

    def refuse(method: str, params: list[Any]) -> Any:
        raise Complaint(-32602, "Invalid params")

    nodes = [ScriptedNode(refuse), ScriptedNode(refuse)]
    async with pool_over(*nodes) as pool:
        said = await asked(pool)
    calls = sum(len(n.calls) for n in nodes)
    return "" if (said, calls) == ("RequestInvalid", 1) else f"{said} after {calls} calls"


# --- another chain
class ChainNode(ScriptedNode):
    """A node of some chain, which may be away."""

    def __init__(self, genesis: str = "ours") -> None:
        super().__init__(self._answer)
        self.genesis, self.away = genesis, False

    def _answer(self, method: str, params: list[Any]) -> Any:
        if self.away:
            raise Raw(503, b"")
        return self.genesis if method == "getGenesisHash" else {"context": {"slot": 5}, "value": self.genesis}


async def a_node_serves_another_chain() -> str:
    """It is asked for its genesis and nothing else, also when it was ours before it went away."""
    stranger, ours, turncoat = ChainNode("theirs"), ChainNode(), ChainNode()
    async with pool_over(stranger, ours, turncoat, clock=ManualClock(), breaker={"enabled": False}) as pool:
        pool.expect_genesis("ours")
        for _ in range(3):
            await asked(pool)
        await pool.call("getBalance", ["k"], provider="n2")
        turncoat.away = True
        with contextlib.suppress(RpcError):
            await pool.call("getBalance", ["k"], provider="n2")
        turncoat.away, turncoat.genesis = False, "theirs"
        for n in range(3):
            with contextlib.suppress(RpcError):
                await pool.call("getBalance", [str(n)], provider="n2")
    wrong = ["a stranger was asked for a balance"] if "getBalance" in stranger.methods() else []
    wrong += ["one that changed its chain was believed"] if turncoat.methods().count("getBalance") != 2 else []
    return "; ".join(wrong)


async def a_stranger_tells_a_slot() -> str:
    """What it said of its slot is forgotten with it: no other node is late because of it."""
    stranger, ours, own = SlotNode(1_003_000), SlotNode(1_000_000), SlotNode(1_000_001)
    for node, genesis in ((stranger, "theirs"), (ours, "ours"), (own, "ours")):
        node.handler = of_chain(node, genesis)
    clock = ManualClock()
    async with pool_over(stranger, ours, own, clock=clock, health=NO_PAUSES) as pool:
        await pool.probe()
        pool.expect_genesis("ours")
        for _ in range(2):
            await clock.advance(1)
            await pool.probe()
        late = [e.name for e in pool.endpoints()[1:] if e.lag_slots > 100]
    return f"{late} seem late" if late else ""


def of_chain(node: SlotNode, genesis: str) -> Any:
    plain = node.handler
    return lambda method, params: genesis if method == "getGenesisHash" else plain(method, params)


# --- L and the heights
def lies(*, honest: int = 2, **about: int) -> Schedule:
    """Return the schedule in which the node that is asked first lies: an honest one is believed, the liar is to blame."""

    async def schedule() -> str:
        nodes, clock = [Teller(**about), *(Teller() for _ in range(honest))], ManualClock()
        async with pool_over(*nodes, clock=clock, health=NO_PAUSES) as pool:
            await pool.probe()
            await clock.advance(2)
            for node in nodes:
                node.slot += 5
            answer = await Rpc(pool).get_latest_blockhash()
            blamed = bool(pool.endpoints()[0].error)
        right = answer.result.last_valid_block_height == SLOT + 5 - BEHIND + VALID_BLOCKS
        return (
            "" if right and blamed and answer.provider != "n0" else f"{answer.provider} was believed, blamed: {blamed}"
        )

    schedule.__name__ = "_".join(("a_node_lies_about", *about))
    return schedule


L_TOO_LONG, SLOT_AHEAD, HEIGHTS_TOO = lies(off=10**6), lies(ahead=50_000), lies(skewed=5000)


async def one_provider_speaks_under_two_names() -> str:
    """Its heights are one voice: an honest provider is not outvoted by a second key of a liar's."""
    liar, honest, clock = Teller(skewed=5000), Teller(), ManualClock()
    async with serving(liar, honest) as (one, other):
        again = one.model_copy(update={"name": "again"})
        settings = RpcSettings.model_validate({"endpoints": (one, again, other), "health": NO_PAUSES})
        async with RpcPool(settings, clock=clock) as pool:
            await pool.probe()
            who = await believed(pool)
    return f"{who} outvoted another provider" if who else ""


async def two_agreed_before_one_went_mad() -> str:
    """The one that goes on is believed; the other one's later words do not become the past."""
    clock, nodes = ManualClock(), (Teller(), Teller())
    async with pool_over(*nodes, clock=clock, health=NO_PAUSES) as pool:
        for n in range(30):
            await clock.advance(80)
            for node in nodes:
                node.slot += 200
            nodes[0].skewed = -5000 if n >= 1 else 0
            await pool.probe()
        who = await believed(pool)
    return "" if who == "n1" else f"{who or 'nobody'} was believed"


async def two_contradict_each_other_from_the_first() -> str:
    """Nobody is believed."""
    clock = ManualClock()
    async with pool_over(Teller(skewed=5000), Teller(), clock=clock, health=NO_PAUSES) as pool:
        await pool.probe()
        who = await believed(pool)
    return f"{who} was believed" if who else ""


async def believed(pool: RpcPool) -> str:
    """Return whose L is taken, "" if nobody's is."""
    try:
        return (await Rpc(pool).get_latest_blockhash()).provider
    except RpcError:
        return ""


# --- where the chain stands
async def the_first_node_shows_garbage() -> str:
    """No one's word makes the others late: the sound ones are asked first."""
    clock, nodes = ManualClock(), [SlotNode(10**9), SlotNode(1000), SlotNode(1001)]
    async with pool_over(*nodes, clock=clock, health=NO_PAUSES) as pool:
        for _ in range(4):
            await pool.probe()
            await clock.advance(1)
            for node in nodes:
                node.slot += 3
        late = [e.name for e in pool.endpoints()[1:] if not e.healthy]
    return f"{late} seem ill" if late else ""


async def a_node_leaps_far_ahead() -> str:
    """One answer of many is garbage, though that node was believed before."""
    clock, nodes = ManualClock(), [SlotNode(1000), SlotNode(1000), SlotNode(1001)]
    async with pool_over(*nodes, clock=clock, health=NO_PAUSES) as pool:
        await pool.probe()
        await clock.advance(1)
        nodes[0].slot = 50_000
        nodes[1].slot, nodes[2].slot = 1003, 1004
        await pool.probe()
        late = [e.name for e in pool.endpoints()[1:] if not e.healthy]
    return f"{late} seem late" if late else ""


async def a_node_is_far_behind_the_best() -> str:
    """It answers quickly and old: asked last, however many lag with it."""
    clock, nodes = ManualClock(), [SlotNode(1000), SlotNode(1002), SlotNode(1300)]
    async with pool_over(*nodes, clock=clock, health=NO_PAUSES) as pool:
        for _ in range(3):
            await pool.probe()
            await clock.advance(1)
            for node in nodes:
                node.slot += 3
        return "" if (first := await asked(pool)) == "n2" else f"{first} was asked first"


async def an_answer_speaks_of_next_month() -> str:
    """It is a fault of its node, and somebody else's answer is taken."""
    far = says({"context": {"slot": 10**8}, "value": 7})
    async with pool_over(far, SlotNode(1000), SlotNode(1000), clock=ManualClock(), health=NO_PAUSES) as pool:
        for name in ("n1", "n2"):
            await pool._watch.probe(pool._dispatch.by_name[name])
        answer = await pool.call("getBalance", ["k"])
        return "" if answer.provider != "n0" and pool.endpoints()[0].error else "it was believed"


# --- the breaker's way back
async def many_calls_meet_a_half_open_breaker() -> str:
    """One of them tries, and its end decides."""
    clock, node = ManualClock(), ScriptedNode(breaks)
    breaker = {"failure_threshold": 1, "cooldown_s": 10}
    async with pool_over(node, clock=clock, breaker=breaker, health={"enabled": False}) as pool:
        await asked(pool)
        await clock.advance(5)
        await asked(pool)
        wrong = ["asked in its cooldown"] if len(node.calls) > 1 else []
        await clock.advance(6)
        before = len(node.calls)
        await asyncio.gather(*(asked(pool, key=str(n)) for n in range(8)))
        wrong += [f"{len(node.calls) - before} trials"] if len(node.calls) - before != 1 else []
        wrong += ["a failed trial left it open to all"] if pool.endpoints()[0].breaker is not BreakerState.OPEN else []
        await clock.advance(11)
        node.handler = lambda method, params: BALANCE
        await asked(pool)
        wrong += ["a good trial did not close it"] if pool.endpoints()[0].breaker is not BreakerState.CLOSED else []
    return "; ".join(wrong)


async def a_node_is_back_while_a_trial_hangs() -> str:
    """The trial began before; a good probe lets the next call in, and its trial does not look like an outage."""
    clock, node, holds = ManualClock(), SlotNode(said=Raw(503, b"")), asyncio.Event()
    plain, silent = node.handler, [True]

    async def answer(method: str, params: list[Any]) -> Any:
        if silent[0] and method == "getBalance":
            await holds.wait()
        return plain(method, params)

    node.handler = answer
    breaker, health = {"failure_threshold": 1, "cooldown_s": 5}, NO_PAUSES
    async with pool_over(
        node, clock=clock, breaker=breaker, health=health, request_timeout_s=60, call_deadline_s=60
    ) as pool:
        await asked(pool, "getSlot")
        await clock.advance(6)
        hung = asyncio.create_task(asked(pool, key="hung"))
        while not node.methods().count("getBalance"):
            await asyncio.sleep(0.001)
        node.said = "ok"
        await pool.probe()
        wrong = [] if pool.serving else ["nobody may be asked though a probe was good"]
        second = asyncio.create_task(asked(pool, key="second"))
        for _ in range(20):
            await asyncio.sleep(0.001)
        wrong += ["its own trial looks like an outage"] if pool.away else []
        holds.set()
        await asyncio.gather(hung, second)
    return "; ".join(wrong)


# --- what is asked, and how often
async def evidence_is_read_twice_at_once() -> str:
    """Its moment of asking counts: it is never another call's answer. Balances are."""
    node = says(after_s=0.05)
    async with pool_over(node, hedging={"enabled": False}) as pool:
        await asyncio.gather(*(pool.call("getSignatureStatuses", [["s"]], decode=as_it_is) for _ in range(4)))
        evidence = len(node.calls)
        await asyncio.gather(*(pool.call("getBalance", ["k"], decode=as_it_is) for _ in range(50)))
        balances = len(node.calls) - evidence
    return "" if (evidence, balances) == (4, 1) else f"{evidence} requests for evidence, {balances} for balances"


async def every_node_hangs() -> str:
    """A call costs one hedge, and many calls cost no more hedges than their share."""
    nodes = [hangs() for _ in range(4)]
    hedging = {"delay_ms": 5, "max_extra": 1, "max_share": 0.1, "burst": 3}
    options: dict[str, Any] = {
        "request_timeout_s": 0.2,
        "call_deadline_s": 0.2,
        "breaker": {"enabled": False},
        "endpoint": FAST,
    }
    async with pool_over(*nodes, hedging=hedging, health={"enabled": False}, **options) as pool:
        await asked(pool, key="one")
        first = sum(len(n.calls) for n in nodes)
        await asyncio.gather(*(asked(pool, key=str(n)) for n in range(20)))
        hedges = pool.stats().hedges
    wrong = [f"{first} nodes were asked for one call"] if first > 2 else []
    wrong += [f"{hedges} hedges for 21 calls"] if hedges > 6 else []
    return "; ".join(wrong)


async def everybody_asks_for_a_probe() -> str:
    """It is made at its own rate."""
    node = SlotNode()
    async with pool_over(node, clock=ManualClock(), health={"interval_s": 3600, "probes_per_second": 0.5}) as pool:
        for _ in range(5):
            await pool.probe()
    return "" if node.methods().count("getHealth") == 1 else f"{node.methods().count('getHealth')} probes at once"


async def a_probe_meets_a_check_that_hangs() -> str:
    """It makes its own, and ends within its own time."""
    node = SlotNode()
    holds = first_check_hangs(node)
    health = {"interval_s": 3600, "probe_timeout_s": 0.5, "probes_per_second": 1000}
    async with pool_over(node, health=health, request_timeout_s=60, call_deadline_s=60) as pool:
        pool.expect_genesis("ours")
        call = asyncio.create_task(asked(pool, "getSlot"))
        while not node.calls:
            await asyncio.sleep(0.001)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await pool.probe()
        seen = pool.endpoints()[0].slot
        holds.set()
        await call
    return "" if seen else "the probe waited for a question from before"


async def a_flood_meets_a_full_queue() -> str:
    """What has no place is refused at once, and nothing is sent for it."""
    queue = {"max_size": 5, "deadline_ms": 200, "reject_fast_ms": 10}
    async with pool_over(
        hangs(), endpoint=FAST | {"concurrency": 1}, queue=queue, hedging={"enabled": False}, request_timeout_s=0.3
    ) as pool:
        calls = [asyncio.create_task(asked(pool, key=str(n))) for n in range(40)]
        most = 0
        while not all(
            call.done() for call in calls
        ):  # at every turn of the loop: however slow the machine, none is missed
            await asyncio.sleep(0)
            most = max(most, pool.stats().queued)
        await asyncio.gather(*calls)
    return "" if most <= 10 else f"{most} wait"


async def a_call_fails_for_want_of_time_of_its_own() -> str:
    """Whoever shared its request asks anew."""
    node = says(after_s=0.2)
    async with pool_over(node, hedging={"enabled": False}) as pool:
        first = asyncio.create_task(pool.call("getBalance", ["k"], decode=as_it_is))
        while not node.calls:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(pool.call("getBalance", ["k"], decode=as_it_is))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        try:
            await asyncio.wait_for(second, 20)
        except (RpcTimeout, asyncio.CancelledError, TimeoutError) as error:
            return f"one that gave up took the answer from another: {type(error).__name__}"
    return ""


MUTANTS = (
    Mutant("Retry-After ignored", a_node_asks_for_thirty_seconds_of_rest, wire, "classify", (("row.cool_off_s if asked is None else asked", "row.cool_off_s"),)),
    Mutant("cool-off not kept", a_node_asks_for_thirty_seconds_of_rest, Dispatch, "candidates", (("e.disabled or e.cool_until_s > now_s or (", "e.disabled or ("),)),
    Mutant("cool-off not noted", a_node_asks_for_thirty_seconds_of_rest, Endpoint, "cool", (("self.cool_until_s = max(", "_ = max("),)),
    Mutant("rest never grows", a_node_refuses_every_try_at_once, Endpoint, "cool", (("2 ** (self.throttles - 1)", "1"),)),
    Mutant("a refused method disables its endpoint", a_plan_does_not_hold_one_method, Asker, "_of_key_or_method", (("if question.method == HEALTH:", "if True:"),)),
    Mutant("our own bug is sent to every node", a_question_is_wrong, Dispatch, "advance", (("if outcome.row.next is Next.SURFACE:", "if False:"),)),
    Mutant("genesis not compared", a_node_serves_another_chain, ChainCheck, "_check", (("outcome.value != expected", "False"),)),
    Mutant("chain not asked for", a_node_serves_another_chain, ChainCheck, "needed", (("return not endpoint.on_our_chain", "return False and not endpoint.on_our_chain"),)),
    Mutant("node of another chain used all the same", a_node_serves_another_chain, Asker, "_use", (("if outcome is None:\n", "if True:\n"),)),
    Mutant("chain asked for once only", a_node_serves_another_chain, Endpoint, "blame", (("self.on_our_chain = False", "pass"),)),
    Mutant("a stranger's slot kept", a_stranger_tells_a_slot, Dispatch, "note", (("self.tip.forget(endpoint.health)", "pass"),)),
    Mutant("L not held against any height", L_TOO_LONG, Rpc, "get_latest_blockhash", (("if not doubt:", "if True:"),)),
    Mutant("L not held against its own node's height", L_TOO_LONG, Heights, "problem", (("if voice in against:", "if False:"), ("if len(against) > agreeing or", "if False and"))),
    Mutant("L not held against all nodes' heights", HEIGHTS_TOO, Heights, "problem", (("if len(against) > agreeing or (len(against) == agreeing and not by_the_past):", "if False:"),)),
    Mutant("heights of probes not kept", HEIGHTS_TOO, HealthWatch, "_look", (("self.heights.saw(self._voice(endpoint.name), final)", "pass"),)),
    Mutant("slot of a blockhash not held against the chain", SLOT_AHEAD, RpcPool, "doubt_of_validity", (("if not tip.reaches(slot, now_s):", "if False:"),)),
    Mutant("a liar is not to blame", L_TOO_LONG, RpcPool, "doubt_of_validity", (("        if text:\n", "        if False:\n"),)),
    Mutant("two names of one provider are two voices", one_provider_speaks_under_two_names, HealthWatch, "_look", (("self._voice(endpoint.name)", "endpoint.name"),)),
    Mutant("the past does not decide", two_agreed_before_one_went_mad, Heights, "problem", (("and not by_the_past", "and True"),)),
    Mutant("the past stands still", two_agreed_before_one_went_mad, Heights, "saw", (("elif self._goes_on(place) and not any(self._goes_on(p) for p in against):", "elif False:"),)),
    Mutant("without a past anybody is believed", two_contradict_each_other_from_the_first, Heights, "problem", (("by_the_past = past is not None and astray and _fits(past, slot, height)", "by_the_past = past is None or (astray and _fits(past, slot, height))"),)),
    Mutant("the chain stands where the first node says", the_first_node_shows_garbage, Tip, "_vouch", (("if len(self._healths) > 1 and not near and", "if False and"),)),
    Mutant("a leap is believed", a_node_leaps_far_ahead, Tip, "saw", (("elif slot > health.slot + LEAP_SLOTS and", "elif False and"),)),
    Mutant("the chain stands where the lowest node says", a_node_is_far_behind_the_best, Tip, "saw", (("if slot > self.slot:", "if slot < self.slot or not self.slot:"),)),
    Mutant("lag not judged", a_node_is_far_behind_the_best, Dispatch, "candidates", (("health.lag > self._max_lag and", "False and"),)),
    Mutant("far slots believed", an_answer_speaks_of_next_month, Asker, "_use", (("slot > tip.slot and not tip.reaches", "False and not tip.reaches"),)),
    Mutant("cooldown not waited for", many_calls_meet_a_half_open_breaker, Breaker, "state", ((" and now_s >= self._until_s", ""),)),
    Mutant("half open to all", many_calls_meet_a_half_open_breaker, Breaker, "allows", (("and self._trials < self._settings.half_open_probes", ""),)),
    Mutant("a failed trial does not open", many_calls_meet_a_half_open_breaker, Breaker, "failed", (("elif trial == self.period and", "elif False and"),)),
    Mutant("a good trial does not close", many_calls_meet_a_half_open_breaker, Breaker, "succeeded", (("self._good_trials += 1", "pass"),)),
    Mutant("a trial from before keeps calls out", a_node_is_back_while_a_trial_hangs, Breaker, "probe_was_good", (("self._trials = 0", "pass"),)),
    Mutant("a trial looks like an outage", a_node_is_back_while_a_trial_hangs, RpcPool, "away", (("e.usable(now) or (e.breaker.invited and not e.resting(now))", "e.usable(now)"),)),
    Mutant("evidence shared", evidence_is_read_twice_at_once, RpcPool, "call", (("or not question.kind.shared or", "or"),)),
    Mutant("equal reads not shared", evidence_is_read_twice_at_once, RpcPool, "call", (("or not question.kind.shared or", "or True or"),)),
    Mutant("hedges of one call without end", every_node_hangs, Asker, "_race", (("len(extras) >= self._hedging.max_extra", "False"),)),
    Mutant("hedges without a share", every_node_hangs, Dispatch, "hedge", (("or not self.hedges.spend(now_s)", ""),)),
    Mutant("probes without a rate", everybody_asks_for_a_probe, HealthWatch, "probe", (("or not endpoint.probes.take(now_s)", ""),)),
    Mutant("a probe waits for another's check", a_probe_meets_a_check_that_hangs, HealthWatch, "_look", (("self._chain.look(endpoint, left_s=left_s)", "self._chain.unfit(endpoint)"),)),
    Mutant("who gives up takes the answer from others", a_call_fails_for_want_of_time_of_its_own, Flights, "follow", (("if end is not None:", "if end is None:\n            raise RpcDeadline('it gave up')\n        if end is not None:"),)),
    Mutant("queue without an end", a_flood_meets_a_full_queue, Dispatch, "_enqueue", (("if len(self._queue) >= 2 * self._max_queued:", "if False:"),)),
)  # fmt: skip

SCHEDULES = sorted({m.schedule for m in MUTANTS}, key=lambda s: s.__name__)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.__name__)
async def test_the_sound_rules_pass_every_schedule(schedule: Schedule) -> None:
    """Else a mutant would be caught by what is no fault of its own."""
    assert await schedule() == ""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
async def test_a_broken_rule_is_caught(monkeypatch: pytest.MonkeyPatch, mutant: Mutant) -> None:
    """Each rule is worth what its absence would show."""
    assert await wrong_under(mutant, monkeypatch), f"{mutant.name} survives"
