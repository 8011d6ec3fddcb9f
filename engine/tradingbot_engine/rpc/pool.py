"""
Ask one of several providers, and another when that one cannot answer.

One synchronous method, `_advance`, changes the pool's state and returns the I/O that is left to do (ask, pause) or the
end of the errand (answer, error); everything that awaits is in `call`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import aiohttp
from yarl import URL

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.units import Slot
from tradingbot_engine.rpc.endpoint import Endpoint, EndpointStatus
from tradingbot_engine.rpc.errors import (
    WRONG_GENESIS,
    Next,
    RpcCredential,
    RpcError,
    RpcThrottled,
    RpcUnavailable,
    Verdict,
    WrongChain,
)
from tradingbot_engine.rpc.wire import Result, encode, exchange, fault, is_count, new_session
from tradingbot_engine.settings import EndpointSettings

T = TypeVar("T")

SLOT_S = 0.4
"""One slot's delay before nodes that lacked the data are asked again."""
WAITING_PER_IN_FLIGHT = 16
"""How many calls may wait for each one under way, before more are refused."""


class MalformedAnswer(ValueError):
    """A decoder does not accept a result: the endpoint is to blame, another is asked."""


@dataclass(frozen=True, slots=True)
class RpcAnswer(Generic[T]):
    """A result, who gave it, and the slot that it speaks of (None where the method does not say)."""

    result: T
    provider: str
    context_slot: Slot | None


@dataclass(slots=True)
class _Errand:
    """One call on its way: who is still to be asked in this round, and the best error so far."""

    todo: list[Endpoint]
    everybody: tuple[Endpoint, ...]
    rounds_left: int = 1
    wait_for_data: bool = False
    error: RpcError | None = None


@dataclass(frozen=True, slots=True)
class _Pause:
    seconds: float


class RpcPool:
    """
    Calls to Solana nodes over the configured providers, in order of priority, by the error table.

    Raises from `call`: an `RpcError` (see `rpc.errors`), temporary or permanent by its class.
    """

    def __init__(
        self,
        endpoints: Sequence[EndpointSettings],
        *,
        request_timeout_s: float,
        max_in_flight: int,
        clock: Clock,
        session: aiohttp.ClientSession | None = None,
        slot_s: float = SLOT_S,
    ) -> None:
        self._endpoints = tuple(
            Endpoint(name=e.name, url=URL(e.url.get_secret_value()), priority=e.priority) for e in endpoints
        )
        self._by_name = {e.name: e for e in self._endpoints}
        firsts: dict[tuple[str | None, int | None, str], str] = {}
        self._first_names = {
            e.name: firsts.setdefault((e.url.host, e.url.port, e.url.path.rstrip("/")), e.name) for e in self._endpoints
        }
        self._genesis_hash: str | None = None
        self._checks: dict[str, asyncio.Task[Verdict | None]] = {}
        self._timeout = aiohttp.ClientTimeout(total=request_timeout_s)
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._session = session
        self._owns_session = session is None
        self._closed = False
        self._slot_s = slot_s
        self._ids = itertools.count(1)
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> RpcPool:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections; a session that was given from outside stays open."""
        self._closed = True
        for check in self._checks.values():
            check.cancel()
        if self._owns_session and self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all providers, in the order of the settings."""
        return tuple(self._by_name)

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
        self._genesis_hash = genesis_hash
        for endpoint in self._endpoints:
            endpoint.on_our_chain = False

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self._in_flight

    def endpoints(self) -> list[EndpointStatus]:
        """Return every provider's health: asked lately without fault, and not far behind the others."""
        now, best = self._clock.monotonic_s(), self._best_slot()
        return [
            EndpointStatus(
                name=e.name,
                healthy=e.usable(now) and not e.faults_in_a_row and not e.lags(best, now),
                slot=e.slot,
                latency_ms=round(e.latency_ms, 3),
                error=e.disabled
                or e.error
                or (f"{best - e.slot} slots behind the best node" if e.lags(best, now) else ""),
            )
            for e in self._endpoints
        ]

    def order(self, turn: int = 0) -> list[str]:
        """
        Return the names of the providers that may be asked now, best first.

        With `turn` counting up the sound ones take turns at being first; those that failed lately or lag stay last.
        """
        now, best = self._clock.monotonic_s(), self._best_slot()
        usable = self._candidates(None, ())
        sound = [e.name for e in usable if e.rank(best, now)[:2] == (False, False)]
        first = turn % len(sound) if sound else 0
        return sound[first:] + sound[:first] + [e.name for e in usable if e.name not in sound]

    async def probe(self) -> None:
        """Ask every usable provider for its slot at once, so that `endpoints` speaks of now."""
        names = [e.name for e in self._candidates(None, ())]
        await asyncio.gather(*(self._probe_one(name) for name in names))

    async def _probe_one(self, name: str) -> None:
        endpoint = self._by_name[name]
        try:
            answer = await self.call("getSlot", [{"commitment": "processed"}], provider=name)
        except RpcError:
            return
        if is_count(answer.result):
            endpoint.saw(answer.result, self._clock.monotonic_s())

    @overload
    async def call(
        self,
        method: str,
        params: Sequence[Any] = ...,
        *,
        provider: str | None = ...,
        exclude: Collection[str] = ...,
        timeout_s: float | None = ...,
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
    ) -> RpcAnswer[Any]:
        """
        Ask the best provider, and the next ones by the error table, until one answers.

        Args:
            method: JSON-RPC method.
            params: Its parameters, positional.
            decode: Turns the raw result into what is wanted; a `MalformedAnswer` counts as the endpoint's fault.
            provider: Ask this one only.
            exclude: Names never to ask.
            timeout_s: Per request, instead of the pool's own.

        Raises:
            RpcError: See `rpc.errors`; of several complaints, the one that says most.
        """
        if self._closed:
            raise RpcUnavailable("the pool is closed")
        if self._session is None:
            self._session = new_session()
        timeout = self._timeout if timeout_s is None else aiohttp.ClientTimeout(total=timeout_s)
        everybody = tuple(self._candidates(provider, exclude))
        errand = _Errand(todo=list(reversed(everybody)), everybody=everybody)
        step = self._advance(errand, None, None, 0.0)
        while True:
            if isinstance(step, RpcAnswer):
                return step
            if isinstance(step, RpcError):
                raise step
            if isinstance(step, _Pause):
                await self._clock.sleep(step.seconds)
                step = self._advance(errand, None, None, 0.0)
                continue
            began = self._clock.monotonic_s()
            unfit = await self._chain_of(step) if self._unchecked(step, method) else None
            outcome = unfit or await self._ask(step, method, params, timeout)
            if decode is not None and type(outcome) is Result:
                try:
                    outcome = Result(decode(outcome.value), outcome.context_slot)
                except (MalformedAnswer, KeyError, TypeError, ValueError, IndexError) as error:
                    outcome = fault(step.name, f"malformed answer to {method} ({type(error).__name__})")
            step = self._advance(errand, step, outcome, began)

    # --- is it our chain?
    def _unchecked(self, endpoint: Endpoint, method: str) -> bool:
        return self._genesis_hash is not None and not endpoint.on_our_chain and method != "getGenesisHash"

    async def _chain_of(self, endpoint: Endpoint) -> Verdict | None:
        """Find out whether `endpoint` serves our chain, once for all who want to know; None if it does."""
        check = self._checks.get(endpoint.name)
        if check is None:
            check = asyncio.create_task(self._check_chain(endpoint))
            self._checks[endpoint.name] = check
            check.add_done_callback(lambda _: self._checks.pop(endpoint.name, None))
        try:
            return await asyncio.shield(check)  # whoever gives up does not take the answer from the others
        except asyncio.CancelledError:
            if check.cancelled() and self._closed:
                raise RpcUnavailable("the pool is closed") from None
            raise

    async def _check_chain(self, endpoint: Endpoint) -> Verdict | None:
        expected = self._genesis_hash
        outcome = await self._ask(endpoint, "getGenesisHash", (), self._timeout)
        if type(outcome) is not Result:
            assert isinstance(outcome, Verdict)
            return outcome if outcome.row.next is not Next.SURFACE else fault(endpoint.name, "no genesis hash")
        if not isinstance(outcome.value, str):
            return fault(endpoint.name, "malformed answer to getGenesisHash")
        if outcome.value != expected:
            served = outcome.value[:64]
            error = WrongChain(f"WrongGenesis: it serves {served}, not {expected}", provider=endpoint.name)
            return Verdict(WRONG_GENESIS, error)
        endpoint.on_our_chain = expected == self._genesis_hash
        return None

    async def _ask(
        self, endpoint: Endpoint, method: str, params: Sequence[Any], timeout: aiohttp.ClientTimeout
    ) -> Result | Verdict:
        assert self._session is not None
        if self._in_flight >= self._max_in_flight:
            refused = await self._wait_for_room(endpoint.name)
            if refused is not None:
                return refused
        self._in_flight += 1
        endpoint.in_flight += 1
        endpoint.asked += 1
        request_id = next(self._ids)
        try:
            return await exchange(
                self._session,
                endpoint.url,
                encode(method, params, request_id),
                provider=endpoint.name,
                request_id=request_id,
                timeout=timeout,
                clock=self._clock,
            )
        finally:
            endpoint.in_flight -= 1
            self._in_flight -= 1
            self._wake_one()

    async def _wait_for_room(self, name: str) -> Verdict | None:
        while self._in_flight >= self._max_in_flight:
            if len(self._waiting) >= self._max_in_flight * WAITING_PER_IN_FLIGHT:
                return fault(name, "too many requests are waiting")
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(room)
            try:
                await room
            except asyncio.CancelledError:
                if room.done() and not room.cancelled():
                    self._wake_one()  # the turn was given to us: pass it on
                raise
        return None

    def _wake_one(self) -> None:
        while self._waiting:
            room = self._waiting.popleft()
            if not room.done():
                room.set_result(None)
                return

    # --- state
    def _best_slot(self) -> Slot:
        return max((e.slot for e in self._endpoints), default=0)

    def _candidates(self, provider: str | None, exclude: Collection[str]) -> list[Endpoint]:
        now = self._clock.monotonic_s()
        if provider is not None:
            chosen = self._by_name.get(provider)
            return [chosen] if chosen is not None and chosen.usable(now) and provider not in exclude else []
        usable = [e for e in self._endpoints if e.usable(now) and e.name not in exclude]
        if len(usable) > 1:
            best = self._best_slot()
            usable.sort(key=lambda e: e.rank(best, now))
        return usable

    def _advance(
        self, errand: _Errand, endpoint: Endpoint | None, outcome: Result | Verdict | None, began_s: float
    ) -> Endpoint | _Pause | RpcAnswer[Any] | RpcError:
        """Take note of what came back from `endpoint`, and return what to do next."""
        if endpoint is not None:
            now = self._clock.monotonic_s()
            if type(outcome) is Result:
                endpoint.answer(slot=outcome.context_slot, latency_ms=(now - began_s) * 1000, now_s=now)
                return RpcAnswer(outcome.value, endpoint.name, outcome.context_slot)
            assert isinstance(outcome, Verdict)
            self._note(endpoint, outcome, now)
            errand.error = _worse(errand.error, outcome.error)
            if outcome.row.next is Next.SURFACE:
                return outcome.error
            errand.wait_for_data |= outcome.row.next is Next.ELSEWHERE_THEN_WAIT
        if errand.todo:
            return errand.todo.pop()
        if errand.wait_for_data and errand.rounds_left:
            errand.rounds_left -= 1
            now = self._clock.monotonic_s()
            errand.todo = [e for e in reversed(errand.everybody) if e.usable(now)]
            if errand.todo:
                return _Pause(self._slot_s)
        return errand.error or self._nobody(errand)

    def _note(self, endpoint: Endpoint, verdict: Verdict, now: float) -> None:
        text = str(verdict.error)
        match verdict.row.next:
            case Next.DISABLE:
                endpoint.disabled, endpoint.wrong_chain = text, isinstance(verdict.error, WrongChain)
            case Next.COOL:
                endpoint.cool(text, now + verdict.cool_off_s)
            case Next.BLAME:
                endpoint.blame(text, now)
            case Next.ELSEWHERE | Next.ELSEWHERE_THEN_WAIT | Next.SURFACE:
                endpoint.faults_in_a_row = 0  # it answers; what it answered is no fault of transport

    def _nobody(self, errand: _Errand) -> RpcError:
        now = self._clock.monotonic_s()
        cooling = [e for e in self._endpoints if not e.disabled and e.cool_until_s > now]
        if cooling:
            first = min(cooling, key=lambda e: e.cool_until_s)
            return RpcThrottled(f"cooling off for {first.cool_until_s - now:.1f} s", provider=first.name)
        disabled = [e for e in self._endpoints if e.disabled]
        if disabled and len(disabled) == len(self._endpoints):
            if any(e.wrong_chain for e in disabled):
                return WrongChain(f"no endpoint is left: {'; '.join(e.disabled for e in disabled)}")
            return RpcCredential("every endpoint refuses our credentials")
        return RpcUnavailable("no endpoint may be asked")


def _worse(old: RpcError | None, new: RpcError) -> RpcError:
    """Return the complaint that says more about the question: a node's own answer outranks a node that gave none."""
    if isinstance(new, WrongChain) and old is not None:
        return old  # somebody else's chain says nothing about ours: the rest may only be away
    if old is None or isinstance(old, WrongChain) or (_silent(old) and not _silent(new)):
        return new
    return old if _silent(new) and not _silent(old) else new


def _silent(error: RpcError) -> bool:
    return isinstance(error, RpcUnavailable | RpcThrottled | RpcCredential)
