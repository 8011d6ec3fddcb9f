"""
How much of an answer is read and for how long, broken on purpose: a node that floods or trickles must not be listened to.

Real pools over raw sockets: what the server sends, and when, is the schedule's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import orjson
import pytest
from mutants.protections import Mutant, wrong_under
from pydantic import SecretStr
from rpc_pools import BALANCE, says
from scripted_rpc import serving

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.rpc import transport, wire
from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.rpc.transport import Transport
from tradingbot_engine.settings import EndpointSettings, RpcSettings

LIMIT_BYTES = 64 * 1024
SMALL_LIMIT_BYTES = 1024
TRICKLE_BYTES, TRICKLE_S = 100, 0.03
"""A byte of blank at a time, for three seconds, then all of a good answer."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"

Respond = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]
"""Writes the answer whose good body is given."""


async def announced(writer: asyncio.StreamWriter, good: bytes) -> None:
    """All of it, with its true length in the head."""
    body = good + b" " * (8 * LIMIT_BYTES)
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
    await writer.drain()
    await asyncio.sleep(0.05)  # so that nothing of it comes with its head
    writer.write(body)


async def at_once(writer: asyncio.StreamWriter, good: bytes) -> None:
    """One segment holds head and body."""
    body = good + b" " * (2 * SMALL_LIMIT_BYTES)
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)


async def chunked(writer: asyncio.StreamWriter, good: bytes) -> None:
    """Nobody knows before how long it is."""
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for part in (good, *[b" " * (LIMIT_BYTES // 8)] * 16):  # none of them is too long by itself
        writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        await writer.drain()
        await asyncio.sleep(0.01)
    writer.write(b"0\r\n\r\n")


async def compressed(writer: asyncio.StreamWriter, good: bytes) -> None:
    """Some kilobytes on the wire, far more of them once they are unpacked."""
    body = gzip.compress(good + b" " * (8 * LIMIT_BYTES))
    assert len(body) < LIMIT_BYTES
    writer.write(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body))
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.write(body)


async def trickled(writer: asyncio.StreamWriter, good: bytes) -> None:
    """A byte now and then, and in the end a good answer."""
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % (TRICKLE_BYTES + len(good)))
    for _ in range(TRICKLE_BYTES):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(TRICKLE_S)
    writer.write(good)


@asynccontextmanager
async def answering(respond: Respond) -> AsyncIterator[str]:
    """Run a server that answers every POST of JSON-RPC, batched or not, as `respond` writes it; yields its URL."""
    under_way: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # An answer with spaces after it is one still: whoever reads all of it accepts it.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            asked = orjson.loads(await reader.readexactly(length))
            answers = [
                {"jsonrpc": "2.0", "id": q["id"], "result": BALANCE}
                for q in (asked if isinstance(asked, list) else [asked])
            ]
            await respond(writer, orjson.dumps(answers if isinstance(asked, list) else answers[0]))
            await writer.drain()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.add(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield "http://{}:{}/".format(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


@asynccontextmanager
async def two_nodes(respond: Respond, *, batch_size: int = 1, **settings: Any) -> AsyncIterator[RpcPool]:
    """A pool whose preferred endpoint "first" answers by `respond`, and another, "n0", as it should."""
    async with answering(respond) as url, serving(says()) as (fine,):
        first = EndpointSettings(name="first", url=SecretStr(url), batch_size=batch_size)
        both = {"endpoints": (first, fine.model_copy(update={"priority": 1})), "hedging": {"enabled": False}}
        async with RpcPool(RpcSettings.model_validate({**both, **settings}), clock=SystemClock()) as pool:
            yield pool


async def an_answer_is_longer_than_the_limit(respond: Respond, *, limit: int = LIMIT_BYTES, batch_size: int = 1) -> str:
    """It is no answer, its node is to blame, and the next one answers."""
    async with two_nodes(
        respond, batch_size=batch_size, max_answer_bytes=limit, request_timeout_s=20, call_deadline_s=20
    ) as pool:
        done = await asyncio.gather(*(pool.call("getBalance", [str(n)]) for n in range(2)))
        why = pool.endpoints()[0].error
    who = {d.provider for d in done}
    return "" if who == {"n0"} and "larger than" in why else f"{who} answered, blamed for {why!r}"


async def an_answer_trickles() -> str:
    """It has the time of a request and no more, however lively it looks."""
    async with two_nodes(trickled, request_timeout_s=0.3) as pool:
        answer = await pool.call("getBalance", ["k"])
    return "" if answer.provider == "n0" else "it was waited for"


async def an_answer_trickles_to_a_batch_whose_call_is_in_a_hurry() -> str:
    """Who waits for a batch waits no longer than its own deadline."""
    async with two_nodes(trickled, batch_size=8, request_timeout_s=20, call_deadline_s=20) as pool:
        deadline_s = SystemClock().monotonic_s() + 0.3
        calls = (pool.call("getBalance", [str(n)], deadline_s=deadline_s) for n in range(2))
        ends = await asyncio.gather(*calls, return_exceptions=True)
    return "; ".join(repr(end) for end in ends if not isinstance(end, RpcError))


async def an_answer_sends_us_elsewhere() -> str:
    """Nobody who was not configured is asked, and nothing of what was to be said reaches them."""
    elsewhere = says()
    async with serving(elsewhere) as (other,):
        target = other.url.get_secret_value().encode()

        async def redirects(writer: asyncio.StreamWriter, good: bytes) -> None:
            writer.write(b"HTTP/1.1 307 Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % target)

        async with two_nodes(redirects) as pool:
            answer = await pool.call("getBalance", ["k"])
    return (
        "" if answer.provider == "n0" and not elsewhere.calls else f"{answer.provider} answered, a stranger was asked"
    )


ANNOUNCED, CHUNKED, COMPRESSED, AT_ONCE, BATCHED = (
    partial(an_answer_is_longer_than_the_limit, announced),
    partial(an_answer_is_longer_than_the_limit, chunked),
    partial(an_answer_is_longer_than_the_limit, compressed),
    partial(an_answer_is_longer_than_the_limit, at_once, limit=SMALL_LIMIT_BYTES),
    partial(an_answer_is_longer_than_the_limit, chunked, batch_size=8),
)
SCHEDULES = {
    "announced": ANNOUNCED,
    "chunked": CHUNKED,
    "compressed": COMPRESSED,
    "at once": AT_ONCE,
    "batched": BATCHED,
    "trickled": an_answer_trickles,
    "trickled to a batch": an_answer_trickles_to_a_batch_whose_call_is_in_a_hurry,
    "redirected": an_answer_sends_us_elsewhere,
}

MUTANTS = (
    Mutant("announced length passed over", ANNOUNCED, wire, "read_bounded", (("if length is not None and length > limit:", "if False:"),)),
    Mutant("chunks not counted", CHUNKED, wire, "read_bounded", (("if size > limit:", "if False:"),)),
    Mutant("only the first chunk counted", CHUNKED, wire, "read_bounded", (("size += len(chunk)", "size = len(chunk)"),)),
    Mutant("packed length taken for the length", COMPRESSED, wire, "read_bounded", ((' and "Content-Encoding" not in answer.headers', ""),)),
    Mutant("what comes with its head not measured", AT_ONCE, transport, "post", (("if len(whole) <= max_answer_bytes:", "if True:"),)),
    Mutant("the limit set not kept", CHUNKED, Transport, "ask", (("max_answer_bytes=self._max_bytes", "max_answer_bytes=2**62"),)),
    Mutant("the limit set not kept of batches", BATCHED, Transport, "_post_batch", (("max_answer_bytes=self._max_bytes", "max_answer_bytes=2**62"),)),
    Mutant("each byte has a request's time", an_answer_trickles, transport, "post", (("timeout=timeout, allow_redirects", "timeout=aiohttp.ClientTimeout(sock_read=timeout.total), allow_redirects"),)),
    Mutant("a batch is waited for", an_answer_trickles_to_a_batch_whose_call_is_in_a_hurry, Transport, "_in_batch", (("asyncio.timeout(limit_s)", "asyncio.timeout(None)"),)),
    Mutant("redirects followed", an_answer_sends_us_elsewhere, transport, "post", (("allow_redirects=False", "allow_redirects=True"),)),
)  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
async def test_the_sound_transport_passes_every_schedule(name: str) -> None:
    """Else a mutant would be caught by what is no fault of its own."""
    assert await SCHEDULES[name]() == ""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
async def test_a_transport_that_listens_too_long_or_to_too_much_is_caught(
    monkeypatch: pytest.MonkeyPatch, mutant: Mutant
) -> None:
    """Each limit is worth what its absence would show."""
    assert await wrong_under(mutant, monkeypatch), f"{mutant.name} survives"
