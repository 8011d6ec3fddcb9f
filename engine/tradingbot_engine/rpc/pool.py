"""
Ask one of several providers, and another when that one cannot answer.

The state is the dispatch's (`rpc.dispatch`): its synchronous methods change it and return the step that is left to do.
This module does the steps: it sends, waits, pauses, hedges; everything that awaits is here or in what it calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from random import Random
from typing import Any, TypeVar, overload

import aiohttp
import orjson
from yarl import URL

from tradingbot_engine.clock import Clock
from tradingbot_engine.rpc.breaker import Breaker, BreakerState
from tradingbot_engine.rpc.chain import GENESIS, ChainCheck
from tradingbot_engine.rpc.dispatch import Dispatch
from tradingbot_engine.rpc.endpoint import Choice, Endpoint, EndpointStatus
from tradingbot_engine.rpc.errand import Errand, Lease, Pause, RpcAnswer, Wait
from tradingbot_engine.rpc.errors import RpcError, RpcUnavailable, Verdict
from tradingbot_engine.rpc.events import BreakerMoved, OnEvent, PoolStats, Requested
from tradingbot_engine.rpc.flights import Flights
from tradingbot_engine.rpc.limiter import TokenBucket
from tradingbot_engine.rpc.permits import Permits
from tradingbot_engine.rpc.race import Race
from tradingbot_engine.rpc.score import Latencies
from tradingbot_engine.rpc.transport import MalformedAnswer, Question, Transport
from tradingbot_engine.rpc.watch import HealthWatch
from tradingbot_engine.rpc.wire import Result
from tradingbot_engine.settings.rpc import EndpointSettings, RpcSettings

__all__ = ["Choice", "EndpointStatus", "MalformedAnswer", "RpcAnswer", "RpcPool"]

T = TypeVar("T")

SLOT_S = 0.4
"""One slot's delay before nodes that lacked the data are asked again."""
SHORTEST_HEDGE_S = 0.005
"""No hedge is sent sooner, however fast the nodes are: the event loop itself may be late by as much."""
LONGEST_TIMER_S = 1.0
"""Who waits for tokens is looked after at least this often."""


class RpcPool:
    """
    Calls to Solana nodes over the configured providers, in order of priority, by the error table.

    Inside `async with` the endpoints' health is watched too. Raises from `call`: an `RpcError` (see `rpc.errors`),
    temporary or permanent by its class.
    """

    def __init__(
        self,
        settings: RpcSettings | Sequence[EndpointSettings],
        *,
        clock: Clock,
        request_timeout_s: float | None = None,
        max_in_flight: int | None = None,
        session: aiohttp.ClientSession | None = None,
        slot_s: float = SLOT_S,
        random: Random | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        """
        Take the whole group of settings, or endpoints alone with every protection at its default.

        Args:
            settings: How nodes are asked.
            clock: Time.
            request_timeout_s: Instead of the settings' own; as `max_in_flight`.
            max_in_flight: See `request_timeout_s`.
            session: Used instead of a session of its own, and not closed.
            slot_s: One slot's delay.
            random: Spreads the health probes.
            on_event: Told of each request, breaker and probe, at once and in line: it must be quick and not raise.
        """
        if not isinstance(settings, RpcSettings):
            settings = RpcSettings(endpoints=tuple(settings))
        own = {"request_timeout_s": request_timeout_s, "max_in_flight": max_in_flight}
        settings = settings.model_copy(update={k: v for k, v in own.items() if v is not None})
        self._settings, self._clock, self._on_event = settings, clock, on_event
        self._endpoints = tuple(self._endpoint(place, e) for place, e in enumerate(settings.endpoints))
        firsts: dict[tuple[str | None, int | None, str], str] = {}
        self._first_names = {
            e.name: firsts.setdefault((e.url.host, e.url.port, e.url.path.rstrip("/")), e.name) for e in self._endpoints
        }
        self._dispatch = Dispatch(self._endpoints, settings, slot_s=slot_s)
        self._transport = Transport(settings, self._endpoints, clock=clock, session=session)
        genesis = Question(GENESIS, b"[]")
        self._chain = ChainCheck(self._endpoints, lambda e: self._request(e, genesis, settings.request_timeout_s))
        self._watch = HealthWatch(
            self._dispatch,
            settings=settings.health,
            ask=lambda e, question: self._request(e, question, settings.health.probe_timeout_s),
            unfit=self._unfit,
            clock=clock,
            random=random or Random(),
            on_event=on_event,
        )
        self._dispatch.doubted = self._watch.doubt
        self._flights = Flights()
        self._latencies: dict[str, Latencies] = {}
        self._longest_hedge_s = min(settings.hedging.delay_ms / 1000, settings.request_timeout_s / 2)
        self._deadline_s = max(settings.call_deadline_s, settings.request_timeout_s)
        self._timer: asyncio.TimerHandle | None = None
        self._unheard: set[asyncio.Task[Any]] = set()
        self._closed = False

    def _endpoint(self, place: int, settings: EndpointSettings) -> Endpoint:
        now_s, name = self._clock.monotonic_s(), settings.name
        rate, probes = settings.requests_per_second, self._settings.health.probes_per_second
        sockets = self._settings.keep_alive.max_sockets if self._settings.keep_alive.enabled else settings.concurrency
        return Endpoint(
            name=name,
            url=URL(settings.url.get_secret_value()),
            priority=settings.priority,
            place=place,
            bucket=TokenBucket(per_second=rate, burst=rate * self._settings.rate_window_ms / 1000, now_s=now_s),
            probes=TokenBucket(per_second=probes, burst=1, now_s=now_s),
            permits=Permits(min(settings.concurrency, sockets)),
            breaker=Breaker(self._settings.breaker, on_change=partial(self._breaker_moved, name)),
            batch_size=settings.batch_size,
        )

    async def __aenter__(self) -> RpcPool:
        if self._settings.health.enabled:
            self._watch.start(self._endpoints)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the watch and let go of the connections; a session that was given from outside stays open."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await self._watch.close()
        await self._chain.close()
        unheard = list(self._unheard)
        for task in unheard:
            task.cancel()
        await asyncio.gather(*unheard, return_exceptions=True)
        await self._transport.close()

    # --- what it knows
    @property
    def names(self) -> tuple[str, ...]:
        """Names of all providers, in the order of the settings."""
        return tuple(e.name for e in self._endpoints)

    def independent(self, name: str) -> str:
        """
        Return the first name under which the provider `name` is configured.

        Two names for one host, port and path are one provider: its word does not count twice, whatever key it came under.
        """
        return self._first_names[name]

    def expect_genesis(self, genesis_hash: str) -> None:
        """
        From now on ask only endpoints that serve the chain with this genesis hash.

        Each is asked for its own before its first use after this call, and again after it was away. One on another chain
        is disabled, with a WrongGenesis in `endpoints()`; when no other is left, calls raise `WrongChain`.
        """
        self._chain.expect(genesis_hash)

    @property
    def in_flight(self) -> int:
        """Requests of calls under way."""
        return self._dispatch.permits.in_use

    def switched_off(self) -> list[str]:
        """Return the names of the protections that the settings switch off, as `rpc.<group>`."""
        s = self._settings
        off = {
            "rpc.breaker": s.breaker.enabled,
            "rpc.hedging": s.hedging.enabled,
            "rpc.health": s.health.enabled,
            "rpc.keep_alive": s.keep_alive.enabled,
            "rpc.retry_budget": s.retry_budget.enabled,
        }
        return [name for name, on in off.items() if not on]

    def stats(self) -> PoolStats:
        """Return counters since the start, and gauges of now."""
        counts = self._dispatch.counts
        return PoolStats(
            requests={(e.name, outcome): n for e in self._endpoints for outcome, n in e.outcomes.items()},
            refused={k.removeprefix("refused: "): n for k, n in counts.items() if k.startswith("refused: ")},
            waited=counts["waited"],
            hedges=counts["hedges"],
            hedges_won=counts["hedges won"],
            shared=self._flights.shared,
            batches=sum(b.sent for b in self._transport.batchers.values()),
            in_flight=self.in_flight,
            queued=self._dispatch.queued,
        )

    def endpoints(self) -> list[EndpointStatus]:
        """Return every provider's health: asked lately without fault, moving on, and not far behind the others."""
        now = self._clock.monotonic_s()
        return [self._status(e, now) for e in self._endpoints]

    def _status(self, e: Endpoint, now_s: float) -> EndpointStatus:
        state = e.breaker.state(now_s)
        trouble = self._dispatch.trouble(e, now_s)
        fine = not e.resting(now_s) and state is BreakerState.CLOSED and not e.faults_in_a_row
        return EndpointStatus(
            name=e.name,
            healthy=fine and not trouble,
            slot=e.health.slot,
            latency_ms=round(e.score.latency_ms, 3),
            error=e.disabled or e.error or trouble,
            breaker=state,
            finalized_slot=e.health.finalized,
            lag_slots=e.health.lag,
            in_flight=e.permits.in_use,
            failing=round(e.score.failing, 3),
        )

    def select(self, exclude: Collection[str] = ()) -> Choice:
        """Return who would be asked next: always an endpoint, with what speaks against it; the caller decides."""
        endpoint, degraded = self._dispatch.least_bad(self._clock.monotonic_s(), exclude)
        return Choice(endpoint.name, degraded)

    @property
    def serving(self) -> bool:
        """Whether any endpoint may be asked now; False is what stops trading with reason NoEndpoint."""
        now = self._clock.monotonic_s()
        return any(e.usable(now) for e in self._endpoints)

    def order(self, turn: int = 0) -> list[str]:
        """
        Return the names of the providers that may be asked now, best first.

        With `turn` counting up the sound ones take turns at being first; those that failed lately or lag stay last.
        """
        now = self._clock.monotonic_s()
        # By rank alone: were speed to reorder them between two turns, the same one could be first in both.
        ranked = sorted(
            ((self._dispatch.rank(e, now), e.place, e.name) for e in self._endpoints if e.usable(now)),
        )
        sound = [name for rank, _, name in ranked if rank[:2] == (False, False)]
        first = turn % len(sound) if sound else 0
        return sound[first:] + sound[:first] + [name for rank, _, name in ranked if rank[:2] != (False, False)]

    async def probe(self) -> None:
        """Ask every provider for its health and slots at once, so that `endpoints` speaks of now (at most at the probe rate)."""
        await asyncio.gather(*(self._watch.probe(e) for e in self._endpoints))

    # --- asking
    @overload
    async def call(
        self,
        method: str,
        params: Sequence[Any] = ...,
        *,
        provider: str | None = ...,
        exclude: Collection[str] = ...,
        timeout_s: float | None = ...,
        deadline_s: float | None = ...,
        insist: bool = ...,
    ) -> RpcAnswer[Any]: ...

    @overload
    async def call(
        self,
        method: str,
        params: Sequence[Any] = ...,
        *,
        decode: Callable[[Any], T],
        provider: str | None = ...,
        exclude: Collection[str] = ...,
        timeout_s: float | None = ...,
        deadline_s: float | None = ...,
        insist: bool = ...,
    ) -> RpcAnswer[T]: ...

    async def call(
        self,
        method: str,
        params: Sequence[Any] = (),
        *,
        decode: Callable[[Any], Any] | None = None,
        provider: str | None = None,
        exclude: Collection[str] = (),
        timeout_s: float | None = None,
        deadline_s: float | None = None,
        insist: bool = False,
    ) -> RpcAnswer[Any]:
        """
        Ask the best provider, and the next ones by the error table, until one answers.

        Args:
            method: JSON-RPC method.
            params: Its parameters, positional.
            decode: Turns the raw result into what is wanted; a `MalformedAnswer` counts as the endpoint's fault.
            provider: Ask this one only; such an answer is never raced, and never another call's.
            exclude: Names never to ask.
            timeout_s: Per request, instead of the pool's own.
            deadline_s: On the pool's monotonic clock: by then there is an answer or an error, and no request is begun
                that could not end before it. Absent: `call_deadline_s` from now.
            insist: Ask endpoints whose breaker is open too, after the others.

        Raises:
            RpcError: See `rpc.errors`; of several complaints, the one that says most.
        """
        if self._closed:
            raise RpcUnavailable("the pool is closed")
        question = Question(method, orjson.dumps(list(params)), decode, timeout_s)
        alone = provider is not None or exclude or timeout_s is not None or deadline_s is not None or insist
        if alone or decode is None or not question.kind.shared or not self._settings.single_flight:
            return await self._errand(question, provider, exclude, deadline_s, insist)
        # What is shared must be immutable, as decoded answers are, and decoded in the same way.
        return await self._flights.join(
            (method, question.params, decode), partial(self._errand, question, None, (), None, False)
        )

    async def _errand(
        self,
        question: Question,
        provider: str | None,
        exclude: Collection[str],
        deadline_s: float | None,
        insist: bool,
    ) -> RpcAnswer[Any]:
        now = self._clock.monotonic_s()
        dispatch = self._dispatch
        todo = dispatch.candidates(now, provider=provider, exclude=exclude, insist=insist)
        until_s = deadline_s if deadline_s is not None else now + max(self._deadline_s, question.timeout_s or 0.0)
        errand = Errand(todo, tuple(todo), until_s, pinned=provider is not None, insist=insist)
        step = dispatch.begin(errand, now)
        try:
            while True:
                if isinstance(step, Lease):
                    lease, outcome = await self._send(errand, step, question)
                    step = dispatch.advance(errand, lease, outcome, self._clock.monotonic_s())
                elif isinstance(step, RpcAnswer):
                    return step
                elif isinstance(step, RpcError):
                    raise step
                else:
                    if isinstance(step, Wait):
                        await self._wait(errand, step)
                    else:
                        assert isinstance(step, Pause)
                        await self._clock.sleep(step.seconds)
                    step = dispatch.resume(errand, self._clock.monotonic_s())
        finally:
            dispatch.abandon(errand, self._clock.monotonic_s())

    async def _send(self, errand: Errand, lease: Lease, question: Question) -> tuple[Lease, Result | Verdict]:
        """Use a lease, with hedges beside it where the method allows; return the outcome that counts, and whose it is."""
        if not (errand.todo and not errand.pinned and question.kind.hedged and self._settings.hedging.enabled):
            return await self._use(errand, lease, question)
        extras = 0

        def another() -> Any:
            nonlocal extras
            if extras >= self._settings.hedging.max_extra:
                return None
            extra = self._dispatch.hedge(errand, self._clock.monotonic_s())
            extras += 1
            return None if extra is None else self._use(errand, extra, question)

        race = Race(delay_s=self._hedge_delay_s(question.method), another=another, good=_is_good)
        (used, outcome), silent = await race.run(
            self._use(errand, lease, question),
            let_run=None if self._settings.hedging.abort_on_primary_success else self._let_run,
        )
        if silent:
            self._dispatch.lost(lease, self._clock.monotonic_s())
        return used, outcome

    def _hedge_delay_s(self, method: str) -> float:
        seen = self._latencies.get(method)
        p95_s = None if seen is None else seen.p95_s
        return self._longest_hedge_s if p95_s is None else min(self._longest_hedge_s, max(SHORTEST_HEDGE_S, p95_s))

    async def _use(self, errand: Errand, lease: Lease, question: Question) -> tuple[Lease, Result | Verdict]:
        """Send one request and give its lease back, whatever happens."""
        endpoint = lease.endpoint
        try:
            outcome: Result | Verdict | None = None
            if self._chain.needed(endpoint, question.method):
                outcome = await self._chain.unfit(endpoint)
            if outcome is None:
                outcome = await self._request(endpoint, question, errand.deadline_s - lease.began_s)
        except BaseException:
            self._dispatch.drop(lease, self._clock.monotonic_s())
            raise
        now = self._clock.monotonic_s()
        self._dispatch.settle(lease, outcome, now)
        if type(outcome) is Result and question.kind.hedged:
            seen = self._latencies.get(question.method)
            if seen is None:
                seen = self._latencies[question.method] = Latencies()
            seen.add(now - lease.began_s)
        return lease, outcome

    async def _request(self, endpoint: Endpoint, question: Question, left_s: float) -> Result | Verdict:
        if self._on_event is None:
            return await self._transport.ask(endpoint, question, left_s=left_s)
        began = self._clock.monotonic_s()
        outcome = await self._transport.ask(endpoint, question, left_s=left_s)
        said = "ok" if isinstance(outcome, Result) else outcome.row.name
        self._on_event(Requested(endpoint.name, question.method, said, self._clock.monotonic_s() - began))
        return outcome

    async def _unfit(self, endpoint: Endpoint) -> Verdict | None:
        return await self._chain.unfit(endpoint) if self._chain.needed(endpoint, "getHealth") else None

    # --- waiting
    async def _wait(self, errand: Errand, wait: Wait) -> None:
        """Return when the errand was granted its turn, woken without one, or may have waited long enough."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        errand.wake = partial(_wake, turn)
        self._arm()
        late = loop.call_later(max(0.0, wait.until_s - self._clock.monotonic_s()), _wake, turn)
        try:
            await turn
        finally:
            late.cancel()
            errand.wake = None

    def _arm(self) -> None:
        """See to it that tokens which come with time are handed out."""
        if self._timer is None:
            wait_s = self._dispatch.next_token_s(self._clock.monotonic_s())
            if wait_s is not None:
                delay_s = min(max(wait_s, 0.001), LONGEST_TIMER_S)
                self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._dispatch.pump(self._clock.monotonic_s())
        self._arm()

    def _let_run(self, task: asyncio.Task[Any]) -> None:
        self._unheard.add(task)
        task.add_done_callback(self._unheard.discard)

    def _breaker_moved(self, name: str, before: BreakerState, after: BreakerState) -> None:
        if self._on_event is not None:
            self._on_event(BreakerMoved(name, before, after))


def _is_good(outcome: tuple[Lease, Result | Verdict]) -> bool:
    return type(outcome[1]) is Result


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
