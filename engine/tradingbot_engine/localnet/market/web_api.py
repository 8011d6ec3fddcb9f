"""What the market's HTTP handlers share: JSON, errors that are answers, rate limits, and faults on demand."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from solders.pubkey import Pubkey

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


class SwapFaults(BaseModel):
    """What the swap and price APIs do wrong, until it is replaced by another one; the default does nothing wrong."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency_ms: int = Field(default=0, ge=0, le=600_000)
    """Delay before every answer."""
    status: int | None = Field(default=None, ge=400, le=599)
    """Answer with this HTTP status (429, 500, 502, 503, …) instead."""
    probability: float = Field(default=1.0, gt=0, le=1)
    """Share of the requests that `status` hits."""
    stale_slots: int = Field(default=0, ge=0, le=500)
    """Quote from what the pools held so many slots ago."""
    path_prefix: str = Field(default="/", pattern="^/")
    """Only requests whose path starts with this."""


class Gate:
    """Every request passes it: counts against the limit, and meets the faults that are set."""

    def __init__(self, *, requests_per_minute: int | None = None, seed: int = 0) -> None:
        self.faults = SwapFaults()
        self.requests_per_minute = requests_per_minute
        self._random = random.Random(seed)
        self._minute, self._count = 0, 0

    def guard(self, handler: Handler) -> Handler:
        """Return `handler` behind the gate, its ApiErrors turned into responses."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                await self._enter(request)
                return await handler(request)
            except ApiError as error:
                headers = self._limit_headers() if error.status == 429 else None
                return json_response(error.body, status=error.status, headers=headers)

        return guarded

    def mount(self, app: web.Application) -> None:
        """Add `/localnet/swap-faults`: POST replaces what is wrong, GET shows it, DELETE ends it."""
        app.router.add_get("/localnet/swap-faults", self._show)
        app.router.add_post("/localnet/swap-faults", self._replace)
        app.router.add_delete("/localnet/swap-faults", self._end)

    async def _show(self, request: web.Request) -> web.Response:
        return json_response(self.faults.model_dump())

    async def _replace(self, request: web.Request) -> web.Response:
        try:
            self.faults = SwapFaults.model_validate_json(await request.read())
        except ValidationError as error:
            problems = [{"field": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
            return json_response({"error": "no fault that the swap API can have", "problems": problems}, status=422)
        return json_response(self.faults.model_dump(), status=201)

    async def _end(self, request: web.Request) -> web.Response:
        self.faults = SwapFaults()
        return json_response(self.faults.model_dump())

    async def _enter(self, request: web.Request) -> None:
        faults = self.faults
        if request.path.startswith(faults.path_prefix):
            if faults.latency_ms:
                await asyncio.sleep(faults.latency_ms / 1000)
            if faults.status is not None and self._random.random() < faults.probability:
                raise ApiError(
                    faults.status, {"error": "Too many requests" if faults.status == 429 else "Upstream failure"}
                )
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
