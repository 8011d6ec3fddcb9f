"""What the market's HTTP handlers share: JSON, errors that are answers, rate limits, and faults on demand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from solders.pubkey import Pubkey

from tradingbot_engine.localnet.faults.swap import SWAP_FAULTS, SwapFaults, SwapRefusal
from tradingbot_engine.localnet.market.amm import U64_MAX

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """An answer that is an error: becomes the response, in the shape `body`."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body))
        self.status, self.body = status, body

    @classmethod
    def bad_request(cls, error: str, code: str | None = None) -> ApiError:
        """Return a 400 as Jupiter words it."""
        return cls(400, {"error": error, **({"errorCode": code} if code else {})})


class Gate:
    """Every request passes it: counts against the limit, and meets the faults that are set."""

    def __init__(self, *, requests_per_minute: int | None = None, seed: int = 0) -> None:
        self.faults = SwapFaults(seed=seed)
        self.requests_per_minute = requests_per_minute
        self._minute, self._count = 0, 0

    def mount(self, app: web.Application) -> None:
        """Take the faults of the application on which the APIs are mounted, if it has any."""
        self.faults = app.get(SWAP_FAULTS, self.faults)
        self.faults.served = True

    def guard(self, handler: Handler) -> Handler:
        """Return `handler` behind the gate, its ApiErrors turned into responses."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            refusal = await self.faults.before(request.path)
            try:
                if refusal is not None:
                    return await _refused(request, refusal)
                self._count_in()
                answer = await handler(request)
            except ApiError as error:
                headers = self._limit_headers() if error.status == 429 else None
                answer = json_response(error.body, status=error.status, headers=headers)
            return _reset(request) if self.faults.loses(request.path) else answer

        return guarded

    def _count_in(self) -> None:
        minute = int(time.time() // 60)
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        if self.requests_per_minute is not None and self._count > self.requests_per_minute:
            raise ApiError(429, {"error": f"Rate limit of {self.requests_per_minute} requests per minute exceeded"})

    def _limit_headers(self) -> dict[str, str]:
        limit = self.requests_per_minute or 60
        return {
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": str(max(0, limit - self._count)),
            "x-ratelimit-reset": str((int(time.time() // 60) + 1) * 60),
        }


async def _refused(request: web.Request, refusal: SwapRefusal) -> web.StreamResponse:
    if refusal.how == "limit":
        raise ApiError(429, {"error": "Too many requests"})
    if refusal.how == "error":
        raise ApiError(refusal.status, {"error": "Upstream failure"})
    if refusal.how == "html":
        page = "<html><head><title>Bad gateway</title></head><body>nginx</body></html>"
        return web.Response(text=page, status=refusal.status, content_type="text/html")
    if refusal.how == "hang":
        await asyncio.get_running_loop().create_future()  # until the client gives up, or localnet stops
    return _reset(request)


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def json_response(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return `body` as JSON."""
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)


async def json_body(request: web.Request) -> dict[str, Any]:
    """Return the request's JSON object; anything else is a 400."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise ApiError.bad_request(f"Failed to deserialize the JSON body: {error}") from error
    if not isinstance(body, dict):
        raise ApiError.bad_request("Failed to deserialize the JSON body: an object is expected")
    return body


def pubkey(value: object, name: str) -> Pubkey:
    """Return `value` as a public key; a 400 that names the parameter otherwise."""
    try:
        return Pubkey.from_string(str(value))
    except ValueError as error:
        raise ApiError.bad_request(
            f"Query parameter {name} cannot be parsed: {value!r} is no base58 public key"
        ) from error


def whole_number(value: object, name: str, *, low: int = 0, high: int = U64_MAX) -> int:
    """Return `value` (a number, or digits) as an integer within bounds; a 400 that names the parameter otherwise."""
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ApiError.bad_request(
            f"Query parameter {name} cannot be parsed: {text!r} is no integer from {low} to {high}"
        )
    return int(text)


def flag(value: object, *, default: bool) -> bool:
    """Return a boolean of JSON or of a query."""
    return default if value is None else str(value).lower() in ("true", "1")
