"""The HTTP side of a node: JSON-RPC calls and batches, and the door to the websocket."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import orjson
from aiohttp import web

from tradingbot_engine.localnet.faults.node import Refusal
from tradingbot_engine.localnet.pubsub import Pubsub
from tradingbot_engine.localnet.rpc.errors import (
    RpcError,
    invalid_params,
    invalid_request,
    method_not_found,
    parse_error,
)
from tradingbot_engine.localnet.rpc.methods import METHODS
from tradingbot_engine.localnet.rpc.node import Node

MAX_BODY = 50 * 1024
"""Bytes of a request that validators take."""
MAX_BATCH = 500
_CORS = {"Access-Control-Allow-Origin": "*"}


class NodeServer:
    """Serves one node on `/`: POST for JSON-RPC, a websocket upgrade for subscriptions, GET /health."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._pubsub = Pubsub(node)
        self._hanging: set[asyncio.Future[None]] = set()

    def application(self) -> web.Application:
        """The application to run."""
        app = web.Application(client_max_size=MAX_BODY * 2)
        app.router.add_post("/", self._post)
        app.router.add_get("/", self._get)
        app.router.add_get("/health", self._health)
        app.router.add_options("/", self._options)
        app.on_shutdown.append(self._release)
        return app

    async def _release(self, _app: web.Application) -> None:
        for waiting in self._hanging:
            waiting.cancel()
        await self._pubsub.close()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            refusal = await self._node.faults.before(("websocket",))
            if refusal is not None:
                return await self._refused(request, refusal)
            return await self._pubsub.serve(request)
        return web.Response(status=405, text="Used HTTP Method is not allowed. POST or OPTIONS is required\n")

    async def _health(self, request: web.Request) -> web.Response:
        try:
            self._node.faults.check_health()
        except RpcError:
            return web.Response(text="behind")
        return web.Response(text="ok")

    async def _options(self, request: web.Request) -> web.Response:
        headers = {**_CORS, "Access-Control-Allow-Methods": "POST, OPTIONS", "Access-Control-Allow-Headers": "*"}
        return web.Response(headers=headers)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            message = "Supplied content type is not allowed. Content-Type: application/json is required\n"
            return web.Response(status=415, text=message)
        body = await request.read()
        if len(body) > MAX_BODY:
            return web.Response(status=413, text="Payload Too Large")
        try:
            call = orjson.loads(body)
        except orjson.JSONDecodeError:
            return _json(_error(parse_error(), None))
        calls = call if isinstance(call, list) else [call]
        methods = [c["method"] for c in calls if isinstance(c, dict) and isinstance(c.get("method"), str)]
        refusal = await self._node.faults.before(methods)
        if refusal is not None:
            return await self._refused(request, refusal)
        if isinstance(call, list):
            if not call or len(call) > MAX_BATCH:
                return _json(_error(invalid_request(), None))
            answers = [answer for each in call if (answer := await self._answer(each)) is not None]
            reply: Any = answers or None
        else:
            reply = await self._answer(call)
        lost = self._node.faults.after(methods)
        if lost is not None:
            return await self._refused(request, Refusal(0 if lost == "reset" else -1))
        return _json(reply) if reply is not None else web.Response(headers=_CORS)

    async def _answer(self, call: Any) -> dict[str, Any] | None:
        """Answer one call; None for a notification, which gets no answer."""
        if not isinstance(call, dict):
            return _error(invalid_request(), None)
        call_id = call.get("id")
        method, params = call.get("method"), call.get("params")
        try:
            if call.get("jsonrpc") != "2.0" or not isinstance(method, str):
                raise invalid_request()
            handler = METHODS.get(method)
            if handler is None:
                raise method_not_found()
            if params is None:
                params = []
            if not isinstance(params, list):
                raise invalid_params("Invalid params: invalid type: map, expected a tuple.")
            self._node.faults.check_method(method)
            result = handler(self._node, params)
            if inspect.isawaitable(result):
                result = await result
        except RpcError as error:
            return _error(error, call_id)
        if "id" not in call:
            return None
        return {"jsonrpc": "2.0", "result": result, "id": call_id}

    async def _refused(self, request: web.Request, refusal: Refusal) -> web.StreamResponse:
        if refusal.status < 0:
            waiting = asyncio.get_running_loop().create_future()
            self._hanging.add(waiting)
            try:
                await waiting  # until the client gives up or localnet stops
            finally:
                self._hanging.discard(waiting)
        if refusal.status <= 0:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        headers = {"Retry-After": refusal.retry_after} if refusal.retry_after is not None else {}
        return web.Response(
            status=refusal.status, body=refusal.body, content_type=refusal.content_type, headers=headers
        )


def _error(error: RpcError, call_id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": error.body(), "id": call_id}


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json", headers=_CORS)
