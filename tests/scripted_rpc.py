"""Small JSON-RPC servers that answer what a test tells them to, and where recorded data is found."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from pydantic import SecretStr

from tradingbot_engine.settings import EndpointSettings

RECORDED = Path(os.environ.get("TRADINGBOT_RECORDED_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""Recorded market data beside the repository; tests that read it are marked `recorded` and skip where it is absent."""

Handler = Callable[[str, list[Any]], Any]


class Complaint(Exception):
    """Answer with a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.error = {"code": code, "message": message, "data": data}


class Raw(Exception):
    """Answer with these bytes and this HTTP status, whatever the protocol says."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers or {}


class ScriptedNode:
    """One node; `handler(method, params)` returns the result, or raises Complaint, Raw or ConnectionResetError."""

    def __init__(self, handler: Callable[[str, list[Any]], Any | Awaitable[Any]]) -> None:
        self.handler = handler
        self.calls: list[tuple[str, list[Any]]] = []
        self.url = ""

    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        question = orjson.loads(await request.read())
        self.calls.append((question["method"], question["params"]))
        try:
            result = self.handler(question["method"], question["params"])
            if hasattr(result, "__await__"):
                result = await result
            body = {"jsonrpc": "2.0", "id": question["id"], "result": result}
        except Complaint as complaint:
            body = {"jsonrpc": "2.0", "id": question["id"], "error": complaint.error}
        except Raw as raw:
            return web.Response(status=raw.status, body=raw.body, headers=raw.headers)
        except ConnectionResetError:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        return web.Response(body=orjson.dumps(body), content_type="application/json")


UNLIMITED = 100_000.0
"""Requests per second; a test that is not about rates waits for none, and meets no deadline of the queue when the machine stalls."""


@asynccontextmanager
async def serving(*nodes: ScriptedNode) -> AsyncIterator[tuple[EndpointSettings, ...]]:
    """Run the nodes on free ports of 127.0.0.1; yields their settings, named n0, n1, … in order of priority."""
    runners, settings = [], []
    try:
        for index, node in enumerate(nodes):
            app = web.Application()
            app.router.add_post("/{key:.*}", node.serve)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            runners.append(runner)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            node.url = f"http://127.0.0.1:{port}/sesame-key"
            url = SecretStr(node.url)
            settings.append(EndpointSettings(name=f"n{index}", url=url, priority=index, requests_per_second=UNLIMITED))
        yield tuple(settings)
    finally:
        for runner in runners:
            await runner.cleanup()
