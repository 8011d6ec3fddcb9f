"""JSON-RPC over HTTP, one request: bytes out, result or complaint in. Knows nothing of choosing endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import aiohttp
import orjson
from yarl import URL

from tradingbot_engine.rpc.errors import FAULT, TIMEOUT, Verdict, classify

MAX_COUNT = 2**63 - 1
"""No slot, height or amount of lamports comes near it; what is above would only overflow where it is stored."""

MAX_SLOT = 2**40
"""No slot comes near it either: fourteen thousand years."""

HEADERS = {"Content-Type": "application/json"}


@dataclass(slots=True)
class Result:
    """The answer's `result`, and the slot that it speaks of, if it says."""

    value: Any
    context_slot: int | None


@dataclass(slots=True)
class Post:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    raw: bytes


def new_session(*, keep_alive: bool = True, idle_timeout_s: float = 30) -> aiohttp.ClientSession:
    """Return a session for JSON-RPC: no cookies, no proxies from the environment, connections kept."""
    if keep_alive:
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=idle_timeout_s)
    else:
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, force_close=True)
    return aiohttp.ClientSession(
        connector=connector, headers=HEADERS, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )


def encode(method: str, params: bytes, request_id: int) -> bytes:
    """Return the request's body; `params` is JSON already, since repetitions send the same."""
    return b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b}' % (request_id, method.encode(), params)


async def post(
    session: aiohttp.ClientSession,
    url: URL,
    body: bytes,
    *,
    provider: str,
    timeout: aiohttp.ClientTimeout,
    max_answer_bytes: int,
    headers: Mapping[str, str] | None = None,
) -> Post | Verdict:
    """
    Send a body and return what came back, whatever it is; raises nothing but cancellation.

    `headers`: for a session that is none of `new_session`, which holds them itself.
    """
    try:
        # No redirect is followed: it would carry the request, and perhaps a key, to somebody who was not configured.
        answer = await session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False)
        if answer.content.is_eof():  # all of it came with its head, and the connection is free again
            whole = answer.content.read_nowait()
            if len(whole) <= max_answer_bytes:
                return Post(answer.status, answer.headers, whole)
        else:
            async with answer:
                raw = await read_bounded(answer, max_answer_bytes)
                if raw is not None:
                    return Post(answer.status, answer.headers, raw)
                answer.close()  # the rest of it is not worth reading to keep the connection
    except TimeoutError:
        return _timeout(provider)
    except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:  # RuntimeError: the session was closed
        # Its text names host and port; the class alone says what happened.
        return fault(provider, type(error).__name__)
    return fault(provider, f"answer larger than {max_answer_bytes} bytes")


def parse(raw: bytes) -> Any:
    """Return what the body holds; None if it is no JSON."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def read(answered: Any, came: Post, *, provider: str, request_id: int, now_ms: Callable[[], int]) -> Result | Verdict:
    """Return what one answer to the request `request_id` means."""
    if type(answered) is dict and came.status == 200 and "result" in answered and answered.get("error") is None:
        if answered.get("id") != request_id:
            return fault(provider, "the answer is to another question")
        value = answered["result"]
        return Result(value, _context_slot(value))
    if not isinstance(answered, dict):
        return classify(
            provider=provider, status=came.status, error=None, headers=came.headers, now_unix_s=now_ms() / 1000
        )
    complaint = answered.get("error")
    if complaint is None and "result" not in answered and "code" in answered and "message" in answered:
        complaint = answered  # gateways send the error object bare
    if complaint is not None or came.status != 200:
        # Gateways answer for the node with a null or missing id: a complaint needs no matching id, a result does.
        shaped = complaint if isinstance(complaint, dict) else None
        return classify(
            provider=provider, status=came.status, error=shaped, headers=came.headers, now_unix_s=now_ms() / 1000
        )
    return fault(provider, "the answer is to another question")


async def read_bounded(answer: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """Return the body; None if it is longer than `limit` bytes."""
    length = answer.content_length
    if length is not None and length > limit:
        return None
    if length is not None and "Content-Encoding" not in answer.headers:
        return await answer.read()
    parts, size = [], 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > limit:
            return None
        parts.append(chunk)
    return b"".join(parts)


def _context_slot(value: Any) -> int | None:
    if isinstance(value, dict):
        context = value.get("context")
        if isinstance(context, dict):
            slot = context.get("slot")
            if is_slot(slot):
                return slot
    return None


def is_count(value: Any) -> TypeGuard[int]:
    """Return whether it is an integer in [0, 2^63), the most that a ledger can hold."""
    return type(value) is int and 0 <= value <= MAX_COUNT  # not isinstance: true is an int


def is_slot(value: Any) -> TypeGuard[int]:
    """Return whether it is an integer that a slot can be."""
    return type(value) is int and 0 <= value <= MAX_SLOT


def fault(provider: str, message: str) -> Verdict:
    """Return the verdict that the endpoint itself failed."""
    return Verdict(FAULT, FAULT.error(f"{FAULT.name}: {message}", provider=provider))


def _timeout(provider: str) -> Verdict:
    return Verdict(TIMEOUT, TIMEOUT.error(f"{TIMEOUT.name}: no answer in time", provider=provider))
