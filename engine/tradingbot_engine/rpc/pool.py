"""
Ask one of several providers, and another when that one cannot answer.

The state is the dispatch's (`rpc.dispatch`): its synchronous methods change it and return the step that is left to do;
`rpc.asking` does these steps. This module is what the rest of the engine sees.
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
from tradingbot_engine.domain.units import BlockHeight, Slot
from tradingbot_engine.rpc.asking import Asker
from tradingbot_engine.rpc.breaker import Breaker, BreakerState
from tradingbot_engine.rpc.chain import GENESIS, ChainCheck
from tradingbot_engine.rpc.dispatch import Dispatch
from tradingbot_engine.rpc.endpoint import Choice, Endpoint, EndpointStatus
from tradingbot_engine.rpc.errand import RpcAnswer
from tradingbot_engine.rpc.errors import RpcError, RpcUnavailable
from tradingbot_engine.rpc.events import BreakerMoved, OnEvent, PoolStats
from tradingbot_engine.rpc.flights import Flights
from tradingbot_engine.rpc.limiter import TokenBucket
from tradingbot_engine.rpc.permits import Permits
from tradingbot_engine.rpc.transport import MalformedAnswer, Question, Transport
from tradingbot_engine.rpc.watch import HealthWatch
from tradingbot_engine.rpc.wire import fault
from tradingbot_engine.settings.rpc import EndpointSettings, RpcSettings

__all__ = ["Choice", "EndpointStatus", "MalformedAnswer", "RpcAnswer", "RpcPool"]

T = TypeVar("T")

SLOT_S = 0.4
"""One slot's delay before nodes that lacked the data are asked again."""


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
        self._transport = Transport(settings, self._endpoints, clock=clock, session=session, on_event=on_event)
        genesis = Question(GENESIS, b"[]")
        self._chain = ChainCheck(
            self._endpoints,
            lambda e, left_s: self._transport.ask(
                e, genesis, left_s=settings.request_timeout_s if left_s is None else left_s
            ),
        )
        self._asker = Asker(
            settings, dispatch=self._dispatch, transport=self._transport, chain=self._chain, clock=clock
        )
        self._watch = HealthWatch(
            self._dispatch,
            settings=settings.health,
            transport=self._transport,
            chain=self._chain,
            clock=clock,
            random=random or Random(),
            on_event=on_event,
            voice=self.independent,
        )
        self._dispatch.doubted = self._watch.doubt
        self._flights = Flights()
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
        await self._watch.close()
        await self._chain.close()
        await self._asker.close()
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

    def doubt_of_validity(self, provider: str, slot: Slot, last_valid_block_height: BlockHeight) -> str:
        """
        Return what speaks against a blockhash's slot and L as `provider` gave them, "" if nothing does.

        A contradiction counts as the provider's fault.
        """
        now_s, text = self._clock.monotonic_s(), ""
        tip = self._dispatch.tip
        if not tip.reaches(slot, now_s):
            text = f"a blockhash of slot {slot}, the chain stands at {tip.slot}"
        text = text or self._watch.heights.problem(
            self.independent(provider), slot=slot, last_valid_block_height=last_valid_block_height
        )
        if text:
            self._dispatch.note(self._dispatch.by_name[provider], fault(provider, text), now_s)
        return text

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
        """Whether any endpoint may be asked now."""
        now = self._clock.monotonic_s()
        return any(e.usable(now) for e in self._endpoints)

    @property
    def away(self) -> bool:
        """
        Whether no endpoint is asked, which stops trading with reason NoEndpoint.

        One that a good probe has opened the way to is asked, also while its trial is under way and it takes no second one.
        """
        now = self._clock.monotonic_s()
        return not any(e.usable(now) or (e.breaker.invited and not e.resting(now)) for e in self._endpoints)

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
        question = Question(method, orjson.dumps(params if type(params) is list else list(params)), decode, timeout_s)
        alone = provider is not None or exclude or timeout_s is not None or deadline_s is not None or insist
        if alone or decode is None or not question.kind.shared or not self._settings.single_flight:
            return await self._asker.ask(question, provider, exclude, deadline_s, insist)
        # What is shared must be immutable, as decoded answers are, and decoded in the same way.
        key, flights = (method, question.params, decode), self._flights
        while not flights.begin(key):
            answer = await flights.follow(key)
            if answer is not None:
                return answer
        end: RpcAnswer[Any] | RpcError | None = None
        try:
            end = await self._asker.ask(question, None, (), None, False)
            return end
        except RpcError as error:
            end = error
            raise
        finally:
            flights.end(key, end)

    def _breaker_moved(self, name: str, before: BreakerState, after: BreakerState) -> None:
        self._watch.moved(self._dispatch.by_name[name], after)
        if self._on_event is not None:
            self._on_event(BreakerMoved(name, before, after))
