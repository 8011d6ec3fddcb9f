"""A websocket node that does what a test says, on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import orjson
from aiohttp import WSMsgType, web
from pydantic import SecretStr

from tradingbot_engine.clock import Clock, SystemClock
from tradingbot_engine.rpc.websocket import Message, NodeStream, Subscription
from tradingbot_engine.settings import EndpointSettings

Told = Callable[["SocketNode", int, str], Any]


class SocketNode:
    """A websocket node; what it answers can be changed at any time."""

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.asked: list[str] = []
        self.refuse = False
        self.mute = False
        self.knows: set[str] = set()
        """Signatures of transactions that are on its chain."""
        self.silent_about: set[str] = set()
        """Methods that are asked for and never answered."""
        self.on_answered: Told | None = None
        """Awaited with the node, the subscription's number and its method, right after a subscription was answered."""
        self.url = ""
        self.elsewhere = ""
        """Where it sends whoever connects; empty: it serves itself."""

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        if self.elsewhere:
            raise web.HTTPFound(self.elsewhere)
        socket = web.WebSocketResponse(autoping=not self.mute)
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            body = orjson.loads(message.data)
            self.asked.append(body["method"])
            number = len(self.asked)
            if body["method"] in self.silent_about:
                continue
            reply = {"error": {"code": -32601, "message": "no"}} if self.refuse else {"result": number}
            await socket.send_str(orjson.dumps({"jsonrpc": "2.0", "id": body["id"], **reply}).decode())
            if body["method"] == "signatureSubscribe" and body["params"][0] in self.knows:
                await self.tell(number, {"context": {"slot": 7}, "value": {"err": None}})
            if self.on_answered is not None:
                await self.on_answered(self, number, body["method"])
        return socket

    async def tell(self, subscription: int, result: object) -> None:
        """Send a notification over the newest connection."""
        params = {"subscription": subscription, "result": result}
        await self.sockets[-1].send_str(orjson.dumps({"jsonrpc": "2.0", "method": "x", "params": params}).decode())


@asynccontextmanager
async def serving(*nodes: SocketNode) -> AsyncIterator[None]:
    """Run the nodes on free ports of 127.0.0.1."""
    runners = []
    for node in nodes:
        app = web.Application()
        app.router.add_get("/", node.serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        node.url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
        runners.append(runner)
    try:
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


def stream(
    *nodes: SocketNode, silence_s: float = 5.0, ping_s: float | None = None, clock: Clock | None = None, **more: Any
) -> NodeStream:
    """Return a stream over the nodes, named node-0, node-1, …; its pulse is the subscription "slots"."""
    endpoints = [
        EndpointSettings(name=f"node-{i}", url=SecretStr("http://unused"), websocket_url=SecretStr(node.url))
        for i, node in enumerate(nodes)
    ]
    return NodeStream(
        endpoints, clock=clock or SystemClock(), pulse="slots", silence_s=silence_s, ping_s=ping_s, **more
    )


async def meet_a_stranger(
    wanted: Subscription, *, witness_timeout_s: float
) -> tuple[list[Message], SocketNode, SocketNode]:
    """Return the first three messages of a stream, its first node, which knows no transaction of our chain, and its second."""
    stranger, ours = SocketNode(), SocketNode()
    stranger.knows, ours.knows = {"theirs"}, {"ours"}

    async def witness() -> str:
        return "ours"

    async with serving(stranger, ours):
        over = stream(stranger, ours, witness=witness, witness_timeout_s=witness_timeout_s)
        over.want([wanted])
        async with aclosing(over.messages()) as messages:
            return [await anext(messages) for _ in range(3)], stranger, ours
