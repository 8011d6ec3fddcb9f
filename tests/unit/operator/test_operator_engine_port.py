"""Engines that do not answer as they should: each error says what happened, to a person who reads a condition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from tradingbot_operator.engine_port import Address, EnginePort, EngineRefused, EngineUnreachable


async def hangs(request: web.Request) -> web.Response:
    await asyncio.sleep(30)
    raise AssertionError("nobody waits for so long")


async def is_no_object(request: web.Request) -> web.Response:
    return web.Response(text="<html>")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def asked(session: aiohttp.ClientSession, handler: object, *, timeout_s: float = 5.0) -> str:
    """Ask an engine that answers so for its status, and return the error's text."""
    app = web.Application()
    app.router.add_get("/v1/status", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        with pytest.raises((EngineUnreachable, EngineRefused)) as raised:
            await EnginePort(session=session, timeout_s=timeout_s).status(Address("127.0.0.1", port), "token")
    finally:
        await runner.cleanup()
    return str(raised.value)


async def test_an_engine_that_hangs_is_told_by_how_long_it_was_waited_for(session: aiohttp.ClientSession) -> None:
    """A TimeoutError has no words of its own."""
    assert await asked(session, hangs, timeout_s=0.2) == "no answer within 0.2 s"


async def test_what_is_no_status_is_refused(session: aiohttp.ClientSession) -> None:
    """Another program may listen there."""
    assert "no JSON object" in await asked(session, is_no_object)


async def test_a_port_that_nobody_listens_on_is_told_by_what_the_system_says(session: aiohttp.ClientSession) -> None:
    """The address is in it."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(EngineUnreachable, match=f"127.0.0.1.*{port}"):
        await EnginePort(session=session, timeout_s=5).status(Address("127.0.0.1", port), "token")
