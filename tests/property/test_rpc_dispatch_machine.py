"""The pool's synchronous state under any order of events, with a clock that a test moves: nothing leaks, nothing is exceeded."""

from __future__ import annotations

from typing import Any

from hypothesis import settings as how
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from yarl import URL

from tradingbot_engine.rpc.breaker import Breaker, BreakerState
from tradingbot_engine.rpc.dispatch import Dispatch
from tradingbot_engine.rpc.endpoint import Endpoint
from tradingbot_engine.rpc.errand import Errand, Lease, RpcAnswer, Step, Wait
from tradingbot_engine.rpc.errors import FAULT, RpcError, Verdict, classify
from tradingbot_engine.rpc.limiter import TokenBucket
from tradingbot_engine.rpc.permits import Permits
from tradingbot_engine.rpc.wire import Result
from tradingbot_engine.settings import RpcSettings

LEGAL = {
    (BreakerState.CLOSED, BreakerState.OPEN),
    (BreakerState.OPEN, BreakerState.HALF_OPEN),
    (BreakerState.HALF_OPEN, BreakerState.CLOSED),
    (BreakerState.HALF_OPEN, BreakerState.OPEN),
}
SETTINGS = RpcSettings.model_validate(
    {
        "endpoints": [
            {"name": f"n{i}", "url": "http://127.0.0.1:1", "concurrency": 2, "requests_per_second": 5} for i in range(3)
        ],
        "max_in_flight": 4,
        "request_timeout_s": 2,
        "call_deadline_s": 20,
        "queue": {"max_size": 3, "deadline_ms": 1000, "reject_fast_ms": 100},
        "breaker": {"failure_threshold": 2, "cooldown_s": 3, "half_open_probes": 2},
        "hedging": {"max_share": 0.1, "burst": 3},
        "retry_budget": {"max_share": 0.2, "per_second": 0.5},
    }
)
VERDICTS: tuple[Any, ...] = (
    Verdict(FAULT, FAULT.error("x", provider="n0")),
    *(
        classify(provider="n0", status=status, error=error, headers={}, now_unix_s=0)
        for status, error in (
            (429, None),
            (200, {"code": -32005, "message": "behind"}),
            (200, {"code": -32602, "message": "bad"}),
            (200, {"code": -32004, "message": "no block"}),
        )
    ),
)


class DispatchMachine(RuleBasedStateMachine):
    """Calls come, are hedged, answered, refused, given up; time passes; nodes are probed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.moves: list[tuple[BreakerState, BreakerState]] = []
        self.out: list[tuple[Errand, Lease]] = []
        self.waiting: list[Errand] = []
        self.woken: list[Errand] = []
        self.asked: list[tuple[float, str]] = []
        self.calls = self.retries = 0
        endpoints = [
            Endpoint(
                name=e.name,
                url=URL("http://127.0.0.1:1"),
                priority=0,
                place=place,
                bucket=TokenBucket(per_second=e.requests_per_second, burst=e.requests_per_second),
                probes=TokenBucket(per_second=2, burst=1),
                permits=Permits(e.concurrency),
                breaker=Breaker(SETTINGS.breaker, on_change=lambda before, after: self.moves.append((before, after))),
            )
            for place, e in enumerate(SETTINGS.endpoints)
        ]
        self.dispatch = Dispatch(endpoints, SETTINGS, slot_s=0.4)

    def take(self, errand: Errand, step: Step) -> None:
        if isinstance(step, Lease):
            assert self.now <= errand.deadline_s, "a request was begun after the deadline"
            self.out.append((errand, step))
            self.asked.append((self.now, step.endpoint.name))
        elif isinstance(step, Wait):
            assert errand.queued
            assert step.until_s <= errand.deadline_s
            self.waiting.append(errand)
            errand.wake = lambda: self.woken.append(errand)
        elif isinstance(step, RpcAnswer | RpcError):
            assert not errand.queued
            assert errand.lease is None

    def resume_the_woken(self) -> None:
        while self.woken:
            errand = self.woken.pop()
            if errand in self.waiting:
                self.waiting.remove(errand)
                self.take(errand, self.dispatch.resume(errand, self.now))

    @rule(insist=st.booleans(), pinned=st.sampled_from([None, "n0", "n2", "unknown"]), left=st.floats(0.001, 10))
    def a_call_comes(self, insist: bool, pinned: str | None, left: float) -> None:
        todo = self.dispatch.candidates(self.now, provider=pinned, insist=insist)
        errand = Errand(todo, tuple(todo), self.now + left, pinned=pinned is not None, insist=insist)
        self.calls += 1
        self.take(errand, self.dispatch.begin(errand, self.now))
        self.resume_the_woken()

    @precondition(lambda self: self.out)
    @rule(data=st.data(), good=st.booleans(), verdict=st.sampled_from(VERDICTS), seconds=st.floats(0, 2))
    def a_request_ends(self, data: st.DataObject, good: bool, verdict: Verdict, seconds: float) -> None:
        errand, lease = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.now += seconds
        outcome = Result(1, 5) if good else verdict
        self.dispatch.settle(lease, outcome, self.now, errand)
        if not any(other is errand for other, _ in self.out):
            before = len(self.out) + len(self.waiting)
            self.take(errand, self.dispatch.advance(errand, lease, outcome, self.now))
            self.retries += verdict is VERDICTS[0] and not good and len(self.out) + len(self.waiting) > before
        self.resume_the_woken()

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def a_request_is_hedged(self, data: st.DataObject) -> None:
        errand, first = data.draw(st.sampled_from(self.out))
        if errand.pinned:
            return
        lease = self.dispatch.hedge(errand, self.now)
        if lease is not None:
            assert lease.endpoint is not first.endpoint
            self.out.append((errand, lease))
            self.asked.append((self.now, lease.endpoint.name))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), lost=st.booleans())
    def a_request_is_cancelled(self, data: st.DataObject, lost: bool) -> None:
        _, lease = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.dispatch.drop(lease, self.now)
        self.dispatch.drop(lease, self.now)  # its own end and the race's may both say so
        if lost:
            self.dispatch.lost(lease, self.now)
        self.resume_the_woken()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def one_who_waits_gives_up(self, data: st.DataObject) -> None:
        errand = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.dispatch.abandon(errand, self.now)
        self.resume_the_woken()

    @rule(seconds=st.floats(0.001, 4))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.dispatch.pump(self.now)
        self.resume_the_woken()
        for errand in list(self.waiting):
            if self.now >= errand.until_s:
                self.waiting.remove(errand)
                self.take(errand, self.dispatch.resume(errand, self.now))

    @rule(name=st.sampled_from(["n0", "n1", "n2"]))
    def a_probe_is_good(self, name: str) -> None:
        endpoint = self.dispatch.by_name[name]
        was_open = endpoint.breaker.state(self.now) is BreakerState.OPEN
        endpoint.recovered()
        assert not was_open or endpoint.breaker.state(self.now) is BreakerState.HALF_OPEN
        self.dispatch.pump(self.now)
        self.resume_the_woken()

    @invariant()
    def permits_are_those_of_the_requests_that_are_out(self) -> None:
        assert self.dispatch.permits.in_use == len(self.out) <= SETTINGS.max_in_flight
        for endpoint in self.dispatch.endpoints:
            leases = [lease for _, lease in self.out if lease.endpoint is endpoint]
            assert endpoint.permits.in_use == len(leases) <= endpoint.permits.limit
            breaker = endpoint.breaker
            trials = sum(lease.trial == breaker.period for lease in leases)  # others began before the last good probe
            assert breaker.trials == trials <= SETTINGS.breaker.half_open_probes

    @invariant()
    def breakers_move_along_their_table(self) -> None:
        assert set(self.moves) <= LEGAL

    @invariant()
    def the_queue_is_those_who_wait_and_bounded(self) -> None:
        assert self.dispatch.queued == len(self.waiting) <= 2 * SETTINGS.queue.max_size

    @invariant()
    def no_endpoint_is_asked_faster_than_its_rate(self) -> None:
        for endpoint in self.dispatch.endpoints:
            times = [at for at, name in self.asked if name == endpoint.name]
            for first in range(len(times)):
                for last in range(first, len(times)):
                    assert last - first + 1 <= 5 + 5 * (times[last] - times[first]) + 1e-6

    @invariant()
    def repetitions_are_bounded(self) -> None:
        assert self.retries <= 5 + 0.2 * self.calls + 0.5 * self.now + 1e-6
        assert self.dispatch.counts["hedges"] <= 3 + 0.1 * self.calls + 1e-6

    @invariant()
    def selection_always_names_an_endpoint(self) -> None:
        endpoint, degraded = self.dispatch.least_bad(self.now)
        assert degraded or endpoint.usable(self.now)

    def teardown(self) -> None:
        """Once everything ended, nothing is held."""
        for errand in self.waiting:
            self.dispatch.abandon(errand, self.now)
        for _, lease in self.out:
            self.dispatch.drop(lease, self.now)
        for errand in self.woken:
            self.dispatch.abandon(errand, self.now)
        assert self.dispatch.permits.in_use == 0
        assert all(e.permits.in_use == e.breaker.trials == 0 for e in self.dispatch.endpoints)
        assert self.dispatch.queued == 0


TestDispatch = DispatchMachine.TestCase
TestDispatch.settings = how(max_examples=60, stateful_step_count=40, deadline=None)
