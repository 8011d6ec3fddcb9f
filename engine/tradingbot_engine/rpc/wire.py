"""JSON-RPC over HTTP, one request: bytes out, result or complaint in. Knows nothing of choosing endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

import aiohttp
import orjson
from yarl import URL

from tradingbot_engine.clock import Clock
from tradingbot_engine.rpc.errors import FAULT, TIMEOUT, Verdict, classify

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A full mainnet block is below 10 MB; nothing that a node says may fill the memory."""

MAX_COUNT = 2**63 - 1
"""No slot, height or amount of lamports comes near it; what is above would only overflow where it is stored."""

_HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Result:
    """The answer's `result`, and the slot that it speaks of, if it says."""

    value: Any
    context_slot: int | None


def new_session() -> aiohttp.ClientSession:
    """Return a session for JSON-RPC: no cookies, no proxies from the environment, connections kept."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=30),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


def encode(method: str, params: Any, request_id: int) -> bytes:
    """Return the request's body."""
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})


async def exchange(
    session: aiohttp.ClientSession,
    url: URL,
    body: bytes,
    *,
    provider: str,
    request_id: int,
    timeout: aiohttp.ClientTimeout,
    clock: Clock,
    max_answer_bytes: int = MAX_ANSWER_BYTES,
) -> Result | Verdict:
    """Send one request and return what came of it; raises nothing but cancellation."""
    try:
        # No redirect is followed: it would carry the request, and perhaps a key, to somebody who was not configured.
        async with session.post(url, data=body, headers=_HEADERS, timeout=timeout, allow_redirects=False) as answer:
            raw = await read_bounded(answer, max_answer_bytes)
            status, headers = answer.status, answer.headers
    except TimeoutError:
        return _timeout(provider)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # Its text names host and port; the class alone says what happened.
        return fault(provider, type(error).__name__)
    if raw is None:
        return fault(provider, f"answer larger than {max_answer_bytes} bytes")
    try:
        answered = orjson.loads(raw)
    except orjson.JSONDecodeError:
        answered = None
    if not isinstance(answered, dict):
        return classify(provider=provider, status=status, error=None, headers=headers, now_unix_s=clock.now_ms() / 1000)
    complaint = answered.get("error")
    if complaint is None and "result" not in answered and "code" in answered and "message" in answered:
        complaint = answered  # gateways send the error object bare
    if complaint is not None or status != 200:
        # Gateways answer for the node with a null or missing id: a complaint needs no matching id, a result does.
        shaped = complaint if isinstance(complaint, dict) else None
        return classify(
            provider=provider, status=status, error=shaped, headers=headers, now_unix_s=clock.now_ms() / 1000
        )
    if answered.get("id") != request_id or "result" not in answered:
        return fault(provider, "the answer is to another question")
    value = answered["result"]
    return Result(value, _context_slot(value))


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
            if is_count(slot):
                return slot
    return None


def is_count(value: Any) -> TypeGuard[int]:
    """Return whether it is an integer in [0, 2^63), the most that a ledger can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def fault(provider: str, message: str) -> Verdict:
    """Return the verdict that the endpoint itself failed."""
    return Verdict(FAULT, FAULT.error(f"{FAULT.name}: {message}", provider=provider))


def _timeout(provider: str) -> Verdict:
    return Verdict(TIMEOUT, TIMEOUT.error(f"{TIMEOUT.name}: no answer in time", provider=provider))
