"""Subscriptions over websocket: slots, roots, accounts, programs, signatures, logs."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from tradingbot_engine.localnet.rpc.errors import (
    RpcError,
    invalid_params,
    invalid_request,
    method_not_found,
    parse_error,
)
from tradingbot_engine.localnet.rpc.node import Node
from tradingbot_engine.localnet.subscriptions import KINDS, Subscription

MAX_QUEUE = 20_000
"""Messages that a slow client may leave unread before its connection is closed."""
HANG_LOOK_S = 0.02
"""How often a connection looks whether its node still hangs."""


class Connection:
    """One websocket: its subscriptions, and the messages that wait to be sent."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.socket = socket
        self._transport = transport
        self.subscriptions: dict[int, Subscription] = {}
        self.outgoing: asyncio.Queue[str] = asyncio.Queue(MAX_QUEUE)
        self.overrun = False

    def put(self, message: dict[str, Any]) -> None:
        """Queue a message; a client that does not read is given up."""
        try:
            self.outgoing.put_nowait(orjson.dumps(message).decode())
        except asyncio.QueueFull:
            self.overrun = True

    def abort(self) -> None:
        """End the connection at once, without the closing handshake."""
        if self._transport is not None:
            self._transport.abort()

    async def pump(self) -> None:
        """Send what is queued, in order."""
        while True:
            await self.socket.send_str(await self.outgoing.get())


class Pubsub:
    """All websocket connections of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ids = itertools.count(1)
        self._connections: set[Connection] = set()
        node.bank.on_slot(self._on_slot)

    async def close(self) -> None:
        """Close all connections."""
        for connection in list(self._connections):
            await connection.socket.close(code=WSCloseCode.GOING_AWAY)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection until it ends."""
        socket = web.WebSocketResponse(autoping=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        connection = Connection(socket, request.transport)
        self._connections.add(connection)
        pump = asyncio.create_task(connection.pump())
        try:
            async for message in socket:
                while self._node.faults.websocket == "silent":
                    await asyncio.sleep(HANG_LOOK_S)  # a process that hangs answers no ping either
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._receive(connection, message.data)
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
        finally:
            self._connections.discard(connection)
            connection.subscriptions.clear()
            pump.cancel()
        return socket

    def _receive(self, connection: Connection, data: str | bytes) -> None:
        try:
            call = orjson.loads(data)
        except orjson.JSONDecodeError:
            connection.put({"jsonrpc": "2.0", "error": parse_error().body(), "id": None})
            return
        for each in call if isinstance(call, list) else [call]:
            self._call(connection, each)

    def _call(self, connection: Connection, call: Any) -> None:
        call_id = call.get("id") if isinstance(call, dict) else None
        subscription: Subscription | None = None
        try:
            if not isinstance(call, dict) or not isinstance(call.get("method"), str):
                raise invalid_request()
            method, params = call["method"], call.get("params") or []
            if not isinstance(params, list):
                raise invalid_params("Invalid params: invalid type: map, expected a tuple.")
            if method.endswith("Unsubscribe") and method.removesuffix("Unsubscribe") in KINDS:
                result: Any = self._unsubscribe(connection, params)
            elif method.endswith("Subscribe") and method.removesuffix("Subscribe") in KINDS:
                result = next(self._ids)
                subscription = KINDS[method.removesuffix("Subscribe")](self._node, params)
                connection.subscriptions[result] = subscription
            else:
                raise method_not_found()
        except RpcError as error:
            connection.put({"jsonrpc": "2.0", "error": error.body(), "id": call_id})
            return
        connection.put({"jsonrpc": "2.0", "result": result, "id": call_id})
        if subscription is not None and subscription.immediate:
            self._notify(connection, result, subscription)

    def _unsubscribe(self, connection: Connection, params: list[Any]) -> bool:
        if len(params) != 1 or not isinstance(params[0], int) or connection.subscriptions.pop(params[0], None) is None:
            raise invalid_params("Invalid subscription id.")
        return True

    def _on_slot(self, _slot: int) -> None:
        state = self._node.faults.websocket
        if state == "silent":
            return  # the subscriptions catch up when the node does
        for connection in list(self._connections):
            for number, subscription in list(connection.subscriptions.items()):
                self._notify(connection, number, subscription)
            if connection.overrun or state == "closed":
                self._connections.discard(connection)
                connection.abort()

    def _notify(self, connection: Connection, number: int, subscription: Subscription) -> None:
        for result in subscription.news():
            params = {"result": result, "subscription": number}
            connection.put({"jsonrpc": "2.0", "method": f"{subscription.kind}Notification", "params": params})
        if subscription.done:
            connection.subscriptions.pop(number, None)
