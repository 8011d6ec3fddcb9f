"""One bounded, patient GET of JSON from a provider that is no Solana node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

from tradingbot_engine.errors import TemporaryError
from tradingbot_engine.market.normalise import Malformed, parse

MAX_ANSWER_BYTES = 8 * 1024 * 1024


class ProviderUnavailable(TemporaryError):
    """The provider did not answer as documented now; the text names it by what it is for, never by URL."""


async def get_json(
    session: aiohttp.ClientSession,
    url: str,
    *,
    what: str,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 3.0,
) -> Any:
    """
    Return the JSON that `url` answers with status 200.

    Raises:
        ProviderUnavailable: No answer in time, another status, too large, or not JSON.
    """
    try:
        async with session.get(
            url,
            params=params,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            allow_redirects=False,
        ) as answer:
            raw = bytearray()
            async for chunk in answer.content.iter_any():
                raw += chunk
                if len(raw) > MAX_ANSWER_BYTES:
                    raise ProviderUnavailable(f"{what}: answer larger than {MAX_ANSWER_BYTES} bytes")
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise ProviderUnavailable(f"{what}: {type(error).__name__}") from None
    if status != 200:
        raise ProviderUnavailable(f"{what}: HTTP {status}{_told(bytes(raw))}")
    try:
        return parse(bytes(raw))
    except Malformed as error:
        raise ProviderUnavailable(f"{what}: {error}") from error


def _told(raw: bytes) -> str:
    """Return the provider's own short reason, if it gives one as documented."""
    try:
        body = parse(raw)
    except Malformed:
        return ""
    if not isinstance(body, dict):
        return ""
    reason = body.get("errorCode") or body.get("error")
    return f" ({reason[:100]})" if isinstance(reason, str) else ""


def new_session() -> aiohttp.ClientSession:
    """Return a session without cookies and without proxies from the environment."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
