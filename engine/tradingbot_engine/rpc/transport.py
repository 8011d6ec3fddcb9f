"""One question to one endpoint: ids, timeouts, batches, and what the answer means once it is decoded."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import aiohttp

from tradingbot_engine.clock import Clock
from tradingbot_engine.request_id import request_name
from tradingbot_engine.rpc.batch import Batcher
from tradingbot_engine.rpc.endpoint import Endpoint
from tradingbot_engine.rpc.errors import TIMEOUT, Verdict
from tradingbot_engine.rpc.events import OnEvent, Requested
from tradingbot_engine.rpc.kinds import KINDS, OTHER, Kind, Pace
from tradingbot_engine.rpc.wire import HEADERS, Post, Result, encode, fault, new_session, parse, post, read
from tradingbot_engine.settings.rpc import RpcSettings
from tradingbot_engine.tracing import REQUEST

SHORTEST_S = 0.001
"""A timeout of 0 would be none at all."""


class MalformedAnswer(ValueError):
    """A decoder does not accept a result: the endpoint is to blame, another is asked."""


class Question:
    """
    A method with its parameters, as JSON.

    `decode` turns the raw result into what is wanted; `timeout_s` counts per request, instead of the pool's own; `kind`
    is what may be done with it.
    """

    __slots__ = ("decode", "kind", "method", "params", "timeout_s")

    def __init__(
        self,
        method: str,
        params: bytes,
        decode: Callable[[Any], Any] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.method, self.params, self.decode, self.timeout_s = method, params, decode, timeout_s
        self.kind: Kind = KINDS.get(method, OTHER)


class Transport:
    """Sessions and sockets of one pool. Asking raises nothing but cancellation."""

    def __init__(
        self,
        settings: RpcSettings,
        endpoints: Sequence[Endpoint],
        *,
        clock: Clock,
        session: aiohttp.ClientSession | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self._settings, self._clock, self._on_event = settings, clock, on_event
        self._session, self._owns_session = session, session is None
        self._headers = None if session is None else HEADERS
        steady_s = settings.request_timeout_s
        limits_s = (min(settings.urgent_timeout_s, steady_s), steady_s, max(settings.history_timeout_s, steady_s))
        self._limits = tuple((s, aiohttp.ClientTimeout(total=s)) for s in limits_s)
        """By pace."""
        self._max_bytes = settings.max_answer_bytes
        self._ids = itertools.count(1)
        self.batchers = {
            e.name: Batcher(e.name, size=e.batch_size, post=partial(self._post_batch, e), now_ms=clock.now_ms)
            for e in endpoints
            if e.batch_size > 1
        }

    async def close(self) -> None:
        """Let go of the connections; a session that was given from outside stays open."""
        for batcher in self.batchers.values():
            await batcher.close()
        if self._owns_session and self._session is not None:
            await self._session.close()

    async def ask(self, endpoint: Endpoint, question: Question, *, left_s: float) -> Result | Verdict:
        """Return what one request came to; `left_s` is what the call's deadline leaves for it."""
        began_s = self._clock.monotonic_s() if self._on_event is not None else 0.0
        limit_s, timeout = self._limits[question.kind.pace]
        if question.timeout_s is not None and question.timeout_s != limit_s:
            limit_s = question.timeout_s
            timeout = aiohttp.ClientTimeout(total=limit_s)
        if left_s < limit_s:
            limit_s = max(left_s, SHORTEST_S)
            timeout = aiohttp.ClientTimeout(total=limit_s)
        request_id = next(self._ids)
        token = REQUEST.set(request_name(request_id))
        try:  # every line and error from here on carries the request's id
            body = encode(question.method, question.params, request_id)
            outcome: Result | Verdict | None = None
            batcher = self.batchers.get(endpoint.name) if self.batchers and question.kind.batched else None
            if batcher is not None and not batcher.refused:
                outcome = await self._in_batch(batcher, request_id, body, endpoint.name, limit_s)
            if outcome is None:
                came = await post(
                    self._session or self._open_session(),
                    endpoint.url,
                    body,
                    provider=endpoint.name,
                    timeout=timeout,
                    max_answer_bytes=self._max_bytes,
                    headers=self._headers,
                )
                if type(came) is Post:
                    outcome = read(
                        parse(came.raw), came, provider=endpoint.name, request_id=request_id, now_ms=self._clock.now_ms
                    )
                else:
                    assert isinstance(came, Verdict)
                    outcome = came
            if question.decode is not None and type(outcome) is Result:
                try:
                    outcome.value = question.decode(outcome.value)
                except (MalformedAnswer, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                    outcome = fault(endpoint.name, f"malformed answer to {question.method} ({type(error).__name__})")
            if self._on_event is not None:
                said = "ok" if isinstance(outcome, Result) else outcome.row.name
                self._on_event(Requested(endpoint.name, question.method, said, self._clock.monotonic_s() - began_s))
            return outcome
        finally:
            REQUEST.reset(token)

    async def _in_batch(
        self, batcher: Batcher, request_id: int, body: bytes, name: str, limit_s: float
    ) -> Result | Verdict | None:
        try:
            async with asyncio.timeout(limit_s):
                return await batcher.ask(request_id, body)
        except TimeoutError:
            return Verdict(TIMEOUT, TIMEOUT.error(f"{TIMEOUT.name}: no answer in time", provider=name))

    async def _post_batch(self, endpoint: Endpoint, body: bytes) -> Post | Verdict:
        return await post(
            self._open_session(),
            endpoint.url,
            body,
            provider=endpoint.name,
            timeout=self._limits[Pace.STEADY][1],
            max_answer_bytes=self._max_bytes,
            headers=self._headers,
        )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            keep = self._settings.keep_alive
            self._session = new_session(keep_alive=keep.enabled, idle_timeout_s=keep.idle_timeout_s)
        return self._session
