"""
The pool's state: who is asked next, who waits, what is remembered of each answer. Synchronous, without I/O or event loop.

`begin`, `advance` and `resume` return the step that is left to do for an errand; whatever gives a permit back lets the
next one in the queue go on. The caller must tell the end of every lease (`settle`, `drop`) and of every errand
(`abandon`), also when it is cancelled.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from tradingbot_engine.rpc.budget import FLOOR_S, Budget
from tradingbot_engine.rpc.endpoint import Endpoint
from tradingbot_engine.rpc.errand import Errand, Lease, Pause, RpcAnswer, Step, Wait
from tradingbot_engine.rpc.errors import (
    Next,
    NodeBehind,
    RpcCredential,
    RpcDeadline,
    RpcError,
    RpcOverloaded,
    RpcThrottled,
    RpcUnavailable,
    Verdict,
    WrongChain,
)
from tradingbot_engine.rpc.health import Tip
from tradingbot_engine.rpc.permits import Permits
from tradingbot_engine.rpc.wire import Result
from tradingbot_engine.settings.rpc import RpcSettings

SHORTEST_S = 0.005
"""No request to an endpoint whose latency is not known yet is begun with less time left than this."""
USUAL = 0.5
"""A request is not begun when less than this share of the endpoint's usual latency is left for it."""


class Dispatch:
    """Endpoints, permits, the queue and the budgets of one pool. `now_s` is monotonic everywhere."""

    def __init__(self, endpoints: Sequence[Endpoint], settings: RpcSettings, *, slot_s: float) -> None:
        self.endpoints = tuple(endpoints)
        self.by_name = {e.name: e for e in self.endpoints}
        self.permits = Permits(settings.max_in_flight)
        self.tip = Tip(tuple(e.health for e in self.endpoints))
        self.retries = Budget(
            share=settings.retry_budget.max_share,
            burst=settings.retry_budget.per_second * FLOOR_S,
            per_second=settings.retry_budget.per_second,
            enabled=settings.retry_budget.enabled,
        )
        self.hedges = Budget(share=settings.hedging.max_share, burst=settings.hedging.burst)
        self.counts: Counter[str] = Counter()
        """What happened to calls before a node was asked: waited, refused by reason."""
        self.doubted: Callable[[Endpoint], None] = lambda endpoint: None
        """Called when an endpoint should be looked at."""
        self._queue: deque[Errand] = deque()
        self._somebody_fell_ill = False
        self._max_queued = settings.queue.max_size
        self._queue_s = settings.queue.deadline_ms / 1000
        self._lobby_s = settings.queue.reject_fast_ms / 1000
        self._slot_s = slot_s
        self._request_s = settings.request_timeout_s
        self._max_lag = settings.health.max_lag_slots
        health = settings.health
        self._fresh_s = health.interval_s + health.jitter_s + health.probe_timeout_s

    @property
    def queued(self) -> int:
        """Calls that wait."""
        return len(self._queue)

    # --- choosing
    def trouble(self, endpoint: Endpoint, now_s: float) -> str:
        """Return what speaks against asking an endpoint that may be asked."""
        text = endpoint.health.trouble(now_s=now_s, max_lag=self._max_lag, fresh_s=self._fresh_s)
        if not text and (endpoint.suspect_until_s > now_s or endpoint.throttles):
            return endpoint.error or "slower than the others"
        return text

    def rank(self, endpoint: Endpoint, now_s: float) -> tuple[bool, bool, int]:
        """Return its place in the order of asking: sound before suspect before lagging, then by priority."""
        ill = endpoint.health.ill(now_s=now_s, max_lag=self._max_lag, fresh_s=self._fresh_s)
        return ill, endpoint.suspect_until_s > now_s, endpoint.priority

    def candidates(
        self, now_s: float, *, provider: str | None = None, exclude: Collection[str] = (), insist: bool = False
    ) -> list[Endpoint]:
        """Return who may be asked now, best first: rank, then speed, failures and load, then the settings' order."""
        chosen = self.endpoints
        if provider is not None:
            only = self.by_name.get(provider)
            chosen = () if only is None else (only,)
        places: list[tuple[bool, bool, int, float, int, Endpoint]] = []
        for e in chosen:  # on the path of every call, so written out instead of asked for
            if e.disabled or e.cool_until_s > now_s or (exclude and e.name in exclude):
                continue
            if not (insist or e.breaker.closed or e.breaker.allows(now_s)):
                continue
            health = e.health
            ill = (
                health.stalled
                or health.complaint != ""
                or (health.lag > self._max_lag and now_s - health.slot_at_s <= self._fresh_s)
            )
            cost = e.score.idle_cost * (1 + e.permits.in_use)
            places.append((ill, e.suspect_until_s > now_s, e.priority, cost, e.place, e))
        places.sort()  # no two have one place, so endpoints themselves are never compared
        usable = [place[5] for place in places]
        if insist:
            usable.sort(key=lambda e: not e.breaker.allows(now_s))  # open breakers come last
        return usable

    def least_bad(self, now_s: float, exclude: Collection[str] = ()) -> tuple[Endpoint, str]:
        """Return an endpoint in any case, and what speaks against it."""
        usable = self.candidates(now_s, exclude=exclude)
        if usable:
            return usable[0], self.trouble(usable[0], now_s)
        others = [e for e in self.endpoints if e.name not in exclude] or list(self.endpoints)
        first = min(others, key=lambda e: (bool(e.disabled), e.cool_until_s > now_s, *self.rank(e, now_s), e.place))
        if first.disabled:
            return first, first.disabled
        if first.cool_until_s > now_s:
            return first, f"cooling off for {first.cool_until_s - now_s:.1f} s"
        return first, f"its breaker is {first.breaker.state(now_s)}: {first.error}"

    # --- an errand's way
    def begin(self, errand: Errand, now_s: float) -> Step:
        """Return the first step of a call."""
        self.retries.call()
        self.hedges.call()
        return self._next(errand, now_s, fresh=True)

    def answered(self, lease: Lease, outcome: Result) -> RpcAnswer[Any]:
        """Return the end of a call whose `lease` was settled with a result."""
        return RpcAnswer(outcome.value, lease.endpoint.name, outcome.context_slot, lease.degraded)

    def advance(self, errand: Errand, lease: Lease, outcome: Result | Verdict, now_s: float) -> Step:
        """Return what to do after `lease` was settled with `outcome`."""
        if type(outcome) is Result:
            return self.answered(lease, outcome)
        assert isinstance(outcome, Verdict)
        if outcome.row.next is Next.SURFACE:
            return outcome.error
        if errand.todo and outcome.row.next in (Next.BLAME, Next.COOL) and not self.retries.spend(now_s):
            self.counts["refused: retry budget"] += 1
            return errand.error or outcome.error
        return self._next(errand, now_s)

    def resume(self, errand: Errand, now_s: float) -> Step:
        """Return what to do after a pause, or after a wait was over: granted, woken without, or given up."""
        lease, errand.lease = errand.lease, None
        if lease is not None:
            return lease
        if not errand.queued:
            return self._next(errand, now_s)
        if now_s < errand.until_s:
            return Wait(errand.until_s)
        if errand.lobby and len(self._queue) <= self._max_queued:
            errand.lobby = False
            errand.until_s = min(errand.deadline_s, now_s + self._queue_s)
            return Wait(errand.until_s)
        self._leave_queue(errand)
        return self._refuse(errand, "queue is full" if errand.lobby else "queue deadline")

    def abandon(self, errand: Errand, now_s: float) -> None:
        """Forget an errand: it leaves the queue, and gives back what it was granted and has not used."""
        lease, errand.lease = errand.lease, None
        if errand.queued:
            self._leave_queue(errand)
        if lease is not None:
            self._close(lease)
            self.pump(now_s)

    def hedge(self, errand: Errand, now_s: float) -> Lease | None:
        """Return the right to ask another endpoint too, if one has room at once and the budget allows."""
        if self._queue or not self.permits.free:
            return None
        ready = [e for e in errand.todo if e.usable(now_s) and e.ready(now_s) and not self.trouble(e, now_s)]
        if not ready or now_s + self._shortest(ready[0]) > errand.deadline_s or not self.hedges.spend(now_s):
            return None
        self.counts["hedges"] += 1
        return self._grant(errand, ready, now_s)

    def _next(self, errand: Errand, now_s: float, *, fresh: bool = False) -> Step:
        """Return the next step; `fresh`: who is to be asked was chosen just now."""
        todo = errand.todo
        if not fresh:
            todo = [e for e in todo if e.usable(now_s) or (errand.insist and not e.resting(now_s))]
        if not todo:
            return self._round_is_over(errand, now_s)
        errand.todo = todo
        if errand.deadline_s - now_s < self._request_s:  # with more left than that any request can end in time
            todo = [e for e in todo if now_s + self._shortest(e) <= errand.deadline_s]
            if not todo:
                return errand.error or RpcDeadline("the deadline leaves no time to ask")
        if self._queue:
            self.pump(now_s)  # tokens may have come since: those who wait go first
        lease = self._grant(errand, todo, now_s)
        return lease if lease is not None else self._enqueue(errand, todo, now_s)

    def _shortest(self, endpoint: Endpoint) -> float:
        return max(SHORTEST_S, endpoint.score.latency_ms / 1000 * USUAL)

    def _round_is_over(self, errand: Errand, now_s: float) -> Step:
        if errand.wait_for_data and errand.rounds_left:
            errand.rounds_left -= 1
            errand.todo = [e for e in errand.everybody if e.usable(now_s)]
            if errand.todo and now_s + self._slot_s < errand.deadline_s:
                return Pause(self._slot_s)
        return errand.error or self._nobody(errand, now_s)

    # --- leases
    def _grant(self, errand: Errand, todo: Sequence[Endpoint], now_s: float) -> Lease | None:
        """Take a permit, a token and if need be a trial from the best of `todo` that has them, or of its equals."""
        if not self.permits.free:
            return None
        endpoint = todo[0]
        if not endpoint.permits.free or not endpoint.bucket.take(now_s):
            best = self.rank(endpoint, now_s)[:2]
            for endpoint in todo[1:]:
                if endpoint.ready(now_s):
                    break
            else:
                return None
            if self.rank(endpoint, now_s)[:2] > best:
                return None  # what is busy will be free again sooner than what is ill is well
            endpoint.bucket.take(now_s)
        endpoint.permits.take()
        self.permits.take()
        errand.todo.remove(endpoint)
        health = endpoint.health
        quiet = not health.lag and not health.complaint and not health.stalled and endpoint.suspect_until_s <= now_s
        degraded = "" if quiet else self.trouble(endpoint, now_s)
        trial = 0 if endpoint.breaker.closed else endpoint.breaker.start(now_s)
        return Lease(endpoint, now_s, trial, degraded)

    def settle(self, lease: Lease, outcome: Result | Verdict, now_s: float, errand: Errand) -> None:
        """Take a lease back and remember what came of it, for the endpoint and for the errand."""
        endpoint = lease.endpoint
        if type(outcome) is Result:
            endpoint.outcomes["ok"] += 1
            endpoint.answered(latency_ms=(now_s - lease.began_s) * 1000, trial=lease.trial)
            if outcome.context_slot is not None:
                self.tip.saw(endpoint.health, outcome.context_slot, now_s)
        else:
            assert isinstance(outcome, Verdict)
            endpoint.outcomes[outcome.row.name] += 1
            self.note(endpoint, outcome, now_s, trial=lease.trial)
            errand.error = worse(errand.error, outcome.error)
            errand.wait_for_data |= outcome.row.next is Next.ELSEWHERE_THEN_WAIT
        self._close(lease)
        if self._queue:
            self.pump(now_s)

    def drop(self, lease: Lease, now_s: float) -> None:
        """Take a lease back, if it is still out, whose request was cancelled: nobody knows what would have come of it."""
        if lease.closed:
            return
        lease.endpoint.outcomes["cancelled"] += 1
        self._close(lease)
        if self._queue:
            self.pump(now_s)

    def lost(self, lease: Lease, now_s: float) -> None:
        """Note that another endpoint answered while this one was silent."""
        self.counts["hedges won"] += 1
        if lease.trial:
            lease.endpoint.breaker.failed(now_s, trial=lease.trial)
        if lease.endpoint.lost_race(now_s):
            self.doubted(lease.endpoint)

    def note(self, endpoint: Endpoint, verdict: Verdict, now_s: float, *, trial: int = 0) -> None:
        """Remember a complaint."""
        text = str(verdict.error)
        self._somebody_fell_ill = True  # perhaps somebody waits for this endpoint alone
        match verdict.row.next:
            case Next.DISABLE:
                endpoint.disabled, endpoint.wrong_chain = text, isinstance(verdict.error, WrongChain)
                if endpoint.wrong_chain:
                    self.tip.forget(endpoint.health)  # another chain's slots say nothing of ours
            case Next.COOL:
                endpoint.cool(text, now_s, for_s=verdict.cool_off_s)
            case Next.BLAME:
                endpoint.blame(text, now_s, trial=trial)
            case Next.ELSEWHERE | Next.ELSEWHERE_THEN_WAIT | Next.SURFACE:
                endpoint.faults_in_a_row = 0  # it answers; what it answered is no fault of transport
                if not isinstance(verdict.error, NodeBehind):
                    endpoint.breaker.succeeded(trial=trial)

    def _close(self, lease: Lease) -> None:
        if lease.closed:
            return
        lease.closed = True  # exactly once: a race's loser may be dropped by its own end and by the race's
        lease.endpoint.permits.give_back()
        self.permits.give_back()
        if lease.trial:
            lease.endpoint.breaker.end_trial(lease.trial)

    # --- waiting
    def _enqueue(self, errand: Errand, todo: Sequence[Endpoint], now_s: float) -> Step:
        if len(self._queue) >= 2 * self._max_queued:
            return self._refuse(errand, "queue is full")
        given_s = min(errand.deadline_s - now_s, self._queue_s)
        ahead = len(self._queue) if len(self.endpoints) == 1 else 0
        if min(e.bucket.wait_s(now_s, ahead=ahead) for e in todo) > given_s:
            return self._refuse(errand, "rate limit leaves no room before the deadline")
        errand.lobby = len(self._queue) >= self._max_queued
        errand.until_s = now_s + (min(given_s, self._lobby_s) if errand.lobby else given_s)
        errand.queued = True
        self._queue.append(errand)
        self.counts["waited"] += 1
        return Wait(errand.until_s)

    def _leave_queue(self, errand: Errand) -> None:
        self._queue.remove(errand)
        errand.queued = False

    def _refuse(self, errand: Errand, reason: str) -> RpcError:
        self.counts[f"refused: {reason}"] += 1
        return errand.error or RpcOverloaded(f"{reason} (nothing was sent)")

    def pump(self, now_s: float) -> None:
        """Let those who wait go on, in the order of their coming, as far as there is room."""
        if not self._queue:
            return
        stay: deque[Errand] = deque()
        queue, self._queue = self._queue, stay
        room, look_at_all = self._has_room(now_s), self._somebody_fell_ill
        self._somebody_fell_ill = False
        while queue:
            if not room and not look_at_all:
                stay.extend(queue)
                break
            errand = queue.popleft()
            todo = [e for e in errand.todo if e.usable(now_s) or (errand.insist and not e.resting(now_s))]
            if errand.deadline_s - now_s < self._request_s:  # its own timer may be later than we are
                todo = [e for e in todo if now_s + self._shortest(e) <= errand.deadline_s]
            errand.lease = self._grant(errand, todo, now_s) if todo else None
            if todo and errand.lease is None:
                stay.append(errand)
                continue
            errand.queued = False
            if errand.wake is not None:
                errand.wake()  # with a lease, or because nobody is left whom it could wait for
            room = self._has_room(now_s)

    def _has_room(self, now_s: float) -> bool:
        if not self.permits.free:
            return False
        return any(e.ready(now_s) and e.usable(now_s) for e in self.endpoints)

    def next_token_s(self, now_s: float) -> float | None:
        """
        Return how long until a token comes that somebody may wait for; None if nobody does.

        Where a token is there already nobody waits for one: who waits all the same wants another endpoint, or a permit.
        """
        if not self._queue or not self.permits.free:
            return None
        waits = (e.bucket.wait_s(now_s) for e in self.endpoints if e.permits.free)
        return min((wait_s for wait_s in waits if wait_s > 0.0), default=None)

    def _nobody(self, errand: Errand, now_s: float) -> RpcError:
        resting = [e for e in self.endpoints if not e.disabled and e.cool_until_s > now_s]
        if resting:
            first = min(resting, key=lambda e: e.cool_until_s)
            return RpcThrottled(f"cooling off for {first.cool_until_s - now_s:.1f} s", provider=first.name)
        disabled = [e for e in self.endpoints if e.disabled]
        if disabled and len(disabled) == len(self.endpoints):
            if any(e.wrong_chain for e in disabled):
                return WrongChain(f"no endpoint is left: {'; '.join(e.disabled for e in disabled)}")
            return RpcCredential("every endpoint refuses our credentials")
        return RpcUnavailable("no endpoint may be asked")


def worse(old: RpcError | None, new: RpcError) -> RpcError:
    """Return the complaint that says more about the question: a node's own answer outranks a node that gave none."""
    if isinstance(new, WrongChain) and old is not None:
        return old  # somebody else's chain says nothing about ours: the rest may only be away
    if old is None or isinstance(old, WrongChain) or (_silent(old) and not _silent(new)):
        return new
    return old if _silent(new) and not _silent(old) else new


def _silent(error: RpcError) -> bool:
    return isinstance(error, RpcUnavailable | RpcThrottled | RpcCredential)
