"""A JSON-RPC proxy that spoils answers on their way back: cut, junk, without end, nested, of another type, or a trickle."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

import aiohttp
import orjson
from aiohttp import web

OTHERS: tuple[Any, ...] = (None, True, -1, 1.5, 2**64 - 1, "", "x" * 3000, [], [[]], {}, {"value": None})
NESTED = 200_000
TRICKLE_S = 0.05
CHUNK = b" " * 65_536


def of_another_type(answer: Any, dice: random.Random) -> Any:
    """
    Return the answer with one of its parts, at any depth, replaced by something of another type.

    Never by another value of the same type: that would be a lie, which is another test's business.
    """
    places: list[tuple[Any, Any]] = []
    rest = [answer]
    while rest:
        inner = rest.pop()
        keys = inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()
        places += [(inner, key) for key in keys]
        rest += [inner[key] for key in keys]
    if not places:
        return dice.choice(OTHERS)
    inner, key = dice.choice(places)
    # Nothing in place of something is what nodes say that have not heard of it yet, so that is no other type either.
    inner[key] = dice.choice([o for o in OTHERS if o is not None and type(o) is not type(inner[key])])
    return answer


class ManglingProxy:
    """
    Forwards JSON-RPC to `target` and spoils a `share` of the answers, from a seed.

    `spoiled` counts them by kind. A `huge` answer goes on for `huge_bytes`.
    """

    def __init__(self, target: str, *, seed: int, huge_bytes: int) -> None:
        self._target, self._dice, self._huge_bytes = target, random.Random(seed), huge_bytes
        self.share = 0.0
        self.spoiled: Counter[str] = Counter()
        self.url = ""
        self._kinds: dict[str, Callable[[web.Request, bytes], Any]] = {
            "type": self._type, "cut": self._cut, "junk": self._junk, "nested": self._nested, "squeezed": self._squeezed,
            "huge": self._huge, "trickle": self._trickle,
        }  # fmt: skip

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._http.close()

    @property
    def kinds(self) -> set[str]:
        return set(self._kinds)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            async with self._http.post(self._target, data=await request.read(), headers=_JSON) as answer:
                status, raw = answer.status, await answer.read()
        except aiohttp.ClientError:
            return web.Response(status=502)
        if self._dice.random() >= self.share:
            return web.Response(status=status, body=raw, headers=_JSON)
        # What is of another type looks the most like an answer: half of all.
        kind = self._dice.choice([*self._kinds, *["type"] * (len(self._kinds) - 2)])
        self.spoiled[kind] += 1
        response: web.StreamResponse = await self._kinds[kind](request, raw)
        return response

    async def _type(self, _: web.Request, raw: bytes) -> web.StreamResponse:
        return web.Response(body=orjson.dumps(of_another_type(orjson.loads(raw), self._dice)), headers=_JSON)

    async def _cut(self, _: web.Request, raw: bytes) -> web.StreamResponse:
        return web.Response(body=raw[: self._dice.randrange(len(raw))], headers=_JSON)

    async def _junk(self, _: web.Request, raw: bytes) -> web.StreamResponse:
        return web.Response(body=self._dice.randbytes(self._dice.randrange(2000)), headers=_JSON)

    async def _nested(self, _: web.Request, raw: bytes) -> web.StreamResponse:
        return web.Response(body=self._dice.choice([b"[", b'{"result":']) * NESTED, headers=_JSON)

    async def _squeezed(self, _: web.Request, raw: bytes) -> web.StreamResponse:
        return web.Response(body=raw, headers={**_JSON, "Content-Encoding": self._dice.choice(["gzip", "deflate"])})

    async def _huge(self, request: web.Request, raw: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers=_JSON)
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            for _ in range(0, self._huge_bytes, len(CHUNK)):
                await response.write(CHUNK)
            await response.write(raw)
        return response

    async def _trickle(self, request: web.Request, raw: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers=_JSON)
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            while True:
                await response.write(b" ")
                await asyncio.sleep(TRICKLE_S)
        return response


_JSON = {"Content-Type": "application/json"}
