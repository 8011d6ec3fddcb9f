"""
Subscriptions to a node over a websocket that survive the node.

One connection at a time. When it drops, refuses, or goes silent, the next endpoint is connected and everything is
subscribed anew; the reader is told, so that it can repair what it missed.

A validator answers nothing but subscriptions over its websocket: its genesis hash cannot be asked for there. But it can be
asked about a transaction that is final on our chain (a witness): `signatureSubscribe` tells at once of one that its own
bank holds, and never of one that it does not know. A transaction names a blockhash, so no other chain has it. Nothing of a
connection is passed on before it has told of its witness. There is no queue and no task of our own: the
reader's own iteration reads the socket, so a slow reader slows the node down (and is cut off by it), never the memory.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import aiohttp
import orjson

from tradingbot_engine.clock import Clock
from tradingbot_engine.errors import EngineError
from tradingbot_engine.settings import EndpointSettings

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
ACKNOWLEDGE_TIMEOUT_S = 10.0
WITNESS_TIMEOUT_S = 10.0
"""How long a node may take to tell of a transaction that is final: it does so with the next slot at the latest."""
WITNESS = "witness"
"""Key of the subscription to it."""
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0
MESSAGES_PER_TURN = 64
"""After so many messages in a row, other tasks get their turn even if more are waiting."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What to subscribe to; `key` is the reader's own name for it, the same over all connections."""

    key: str
    method: str
    params: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection stands, to a node of our chain; nothing is subscribed yet."""

    provider: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The node took a subscription: from now on its notifications come."""

    key: str


@dataclass(frozen=True, slots=True)
class Notification:
    """The `result` of a notification, as it came."""

    key: str
    result: Any


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The node answered a ping."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """A message that is none of JSON-RPC's."""

    what: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone; from here to the next `Acknowledged` of a key, its notifications may be missing."""

    provider: str
    reason: str


Message: TypeAlias = Connected | Acknowledged | Notification | Heartbeat | Garbage | Lost


@dataclass(frozen=True, slots=True)
class _Endpoint:
    name: str
    url: str


class _Broken(Exception):
    """Why this connection is given up; never holds a URL."""


def websocket_url(endpoint: EndpointSettings) -> str:
    """Return the endpoint's websocket URL; without one of its own, the HTTP URL with the scheme changed, as providers do."""
    if endpoint.websocket_url is not None:
        return endpoint.websocket_url.get_secret_value()
    return "ws" + endpoint.url.get_secret_value().removeprefix("http")


class NodeStream:
    """
    Notifications of all wanted subscriptions, over whichever endpoint works.

    Args:
        endpoints: In order of preference within equal `priority`.
        pulse: Key of a subscription that always has something to say (slots): if it is silent for `silence_s`, the
            connection counts as dead although it stands.
        ping_s: Seconds between pings; None sends none.
        witness: Returns the signature of a transaction that is final on our chain, not older than the status cache (300
            slots); an EngineError where there is none to be had. Without it every node is believed.
        witness_timeout_s: How long a node may take to tell of it.
    """

    def __init__(
        self,
        endpoints: Sequence[EndpointSettings],
        *,
        clock: Clock,
        pulse: str,
        silence_s: float = 3.0,
        ping_s: float | None = None,
        witness: Callable[[], Awaitable[str]] | None = None,
        witness_timeout_s: float = WITNESS_TIMEOUT_S,
    ) -> None:
        self._endpoints = [_Endpoint(e.name, websocket_url(e)) for e in sorted(endpoints, key=lambda e: e.priority)]
        self._clock = clock
        self._pulse, self._silence_s, self._ping_s = pulse, silence_s, ping_s
        self._witness, self._witness_timeout_s = witness, witness_timeout_s
        self._wanted: dict[str, Subscription] = {}
        self._unsent: deque[Subscription] = deque()
        self._drop_reason: str | None = None
        self._ids = itertools.count(1)

    @property
    def alternatives(self) -> bool:
        """Whether there is another endpoint to go to."""
        return len(self._endpoints) > 1

    def want(self, subscriptions: Iterable[Subscription]) -> None:
        """Subscribe to these as well, on this connection and all later ones."""
        for subscription in subscriptions:
            if subscription.key not in self._wanted:
                self._wanted[subscription.key] = subscription
                self._unsent.append(subscription)

    def drop(self, reason: str) -> None:
        """Give the present connection up and go to the next endpoint."""
        self._drop_reason = reason

    async def messages(self) -> AsyncGenerator[Message, None]:
        """Yield what nodes say until closed; connection faults are messages, not exceptions."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
        tracing = aiohttp.TraceConfig()
        tracing.on_request_redirect.append(_refuse_redirect)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False, trace_configs=[tracing]) as session:
            failures = 0
            for endpoint in itertools.cycle(self._endpoints):
                pulses = 0
                try:
                    async with aclosing(self._connection(session, endpoint)) as connection:
                        async for message in connection:
                            if isinstance(message, Notification) and message.key == self._pulse:
                                pulses += 1
                            yield message
                except _Broken as error:
                    yield Lost(endpoint.name, str(error))
                # A connection that lived earns an immediate second chance elsewhere; a round of failures does not.
                failures = 0 if pulses > 1 else failures + 1
                if failures >= len(self._endpoints):
                    rounds = failures // len(self._endpoints)
                    pause = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(rounds - 1, 10))
                    await self._clock.sleep(pause * random.uniform(0.5, 1.0))

    async def _connection(self, session: aiohttp.ClientSession, endpoint: _Endpoint) -> AsyncGenerator[Message, None]:
        """Yield one connection's messages; ends by raising `_Broken`."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await session.ws_connect(
                    endpoint.url,
                    autoping=False,
                    max_msg_size=MAX_MESSAGE_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=0.5),
                )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _Broken(f"cannot connect ({_name(error)})") from None
        try:
            self._drop_reason = None
            talk = _Talk(socket, ids=self._ids)
            if self._witness is not None:
                await self._prove(talk, self._witness)
            yield Connected(endpoint.name)
            self._unsent = deque(self._wanted.values())
            pulse_due = self._clock.monotonic_s() + self._silence_s
            ping_due = self._clock.monotonic_s()
            turn = 0
            while True:
                while self._unsent:
                    await talk.subscribe(self._unsent.popleft(), self._clock.monotonic_s())
                now = self._clock.monotonic_s()
                if self._drop_reason is not None:
                    raise _Broken(self._drop_reason)
                if now >= pulse_due:
                    raise _Broken(f"no slot for {self._silence_s:g} s")
                if talk.oldest_request_s is not None and now - talk.oldest_request_s > ACKNOWLEDGE_TIMEOUT_S:
                    raise _Broken("a subscription was not answered")
                if self._ping_s is not None and now >= ping_due:
                    await talk.ping()
                    ping_due = now + self._ping_s
                wait = min(pulse_due - now, 0.25, max(0.001, ping_due - now) if self._ping_s is not None else 0.25)
                for message in await talk.listen(wait):
                    if isinstance(message, Notification) and message.key == self._pulse:
                        pulse_due = self._clock.monotonic_s() + self._silence_s
                    yield message
                turn += 1
                if turn % MESSAGES_PER_TURN == 0:
                    await asyncio.sleep(0)
        except (aiohttp.ClientError, OSError) as error:
            raise _Broken(_name(error)) from None
        finally:
            await socket.close()

    async def _prove(self, talk: _Talk, witness: Callable[[], Awaitable[str]]) -> None:
        """Wait until the node tells of a transaction of our chain; raises `_Broken` if it does not."""
        try:
            async with asyncio.timeout(self._witness_timeout_s):
                params = (await witness(), {"commitment": "confirmed"})
                await talk.subscribe(Subscription(WITNESS, "signatureSubscribe", params), self._clock.monotonic_s())
                while not any(isinstance(m, Notification) for m in await talk.listen(self._witness_timeout_s)):
                    pass
        except EngineError as error:
            raise _Broken(f"no transaction to know the chain by ({_name(error)})") from None
        except TimeoutError:
            raise _Broken("it does not tell of a transaction that is final on our chain") from None


class _Talk:
    """JSON-RPC over one socket: who asked for what, and which answer belongs to whom."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool], *, ids: itertools.count[int]) -> None:
        self._socket = socket
        self._ids = ids
        self._asked: dict[int, tuple[Subscription, float]] = {}
        self._active: dict[int, str] = {}

    @property
    def oldest_request_s(self) -> float | None:
        """When the longest unanswered subscription was asked for."""
        return next((at for _, at in self._asked.values()), None)

    async def subscribe(self, subscription: Subscription, now_s: float) -> None:
        request_id = next(self._ids)
        self._asked[request_id] = (subscription, now_s)
        body = {"jsonrpc": "2.0", "id": request_id, "method": subscription.method, "params": subscription.params}
        await self._socket.send_str(orjson.dumps(body).decode())

    async def ping(self) -> None:
        await self._socket.ping()

    async def listen(self, wait_s: float) -> Sequence[Message]:
        """
        Return what came within `wait_s`, perhaps nothing.

        Raises:
            _Broken: The node closed, failed, or refused a subscription.
        """
        try:
            message = await self._socket.receive(timeout=wait_s)
        except TimeoutError:
            return ()
        match message.type:
            case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                return self._read(message.data)
            case aiohttp.WSMsgType.PONG:
                return (Heartbeat(),)
            case aiohttp.WSMsgType.PING:
                await self._socket.pong(message.data)
                return ()
            case aiohttp.WSMsgType.ERROR:
                raise _Broken(f"protocol error ({_name(message.data)})")
            case _:
                raise _Broken("closed by the node")

    def _read(self, raw: str | bytes) -> Sequence[Message]:
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return (Garbage("not JSON"),)
        if not isinstance(body, dict):
            return (Garbage("not an object"),)
        params = body.get("params")
        if "method" in body:
            if not isinstance(params, dict) or "result" not in params:
                return (Garbage("a notification without result"),)
            subscription = params.get("subscription")
            key = self._active.get(subscription) if type(subscription) is int else None
            return (Notification(key, params["result"]),) if key is not None else (Garbage("of no subscription"),)
        return self._read_reply(body)

    def _read_reply(self, body: dict[str, Any]) -> Sequence[Message]:
        request_id = body.get("id")
        asked = self._asked.pop(request_id, None) if type(request_id) is int else None
        if asked is None:
            return (Garbage("an answer to no question"),)
        subscription, _ = asked
        result = body.get("result")
        if type(result) is not int:
            error = body.get("error")
            code = error.get("code") if isinstance(error, dict) else None
            raise _Broken(f"{subscription.method} was refused (code {code if type(code) is int else 'unknown'})")
        self._active[result] = subscription.key
        return (Acknowledged(subscription.key),)


async def _refuse_redirect(*_: object) -> None:
    """Connect to nobody who was not configured; `ws_connect` has no switch of its own for that."""
    raise _Broken("cannot connect (it redirects elsewhere)")


def _name(error: object) -> str:
    return type(error).__name__
