"""The engine's admin port, asked over the network: what it says, and the few things that it can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

MAX_ANSWER = 1024 * 1024
"""Bytes of an answer; a pod that was taken over by a stranger must not fill our memory."""


class EngineUnreachable(Exception):
    """The engine does not answer: it starts, is gone, or hangs. Ask again."""


class EngineRefused(Exception):
    """The engine answered and will not: `status` says which way, the text why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Live:
    """What may change without a restart; the newest generation wins."""

    generation: int
    paused: bool
    risk: Mapping[str, Any]


@dataclass(frozen=True)
class Address:
    """Where one engine's admin port is."""

    host: str
    port: int

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class EnginePort:
    """
    Ask any engine; each request has its own short limit, and none waits for another.

    Args:
        session: Shared by all engines; without a limit of connections, so that engines which hang hold up no other.
        timeout_s: Limit of one request.
    """

    def __init__(self, *, session: aiohttp.ClientSession, timeout_s: float) -> None:
        self._session, self._timeout_s = session, timeout_s

    async def status(self, address: Address, token: str) -> dict[str, Any]:
        """Return the status document; raise EngineUnreachable, EngineRefused."""
        return await self._ask("GET", address, "/v1/status", token)

    async def put_live(self, address: Address, token: str, live: Live) -> bool:
        """Hand over `live`; return False if the engine already has a newer one. Raise EngineUnreachable, EngineRefused."""
        body = {"generation": live.generation, "paused": live.paused, "risk": dict(live.risk)}
        try:
            await self._ask("PUT", address, "/v1/live", token, body)
        except EngineRefused as error:
            if error.status == 409:
                return False
            raise
        return True

    async def close_out(self, address: Address, token: str, by: str) -> None:
        """Have everything sold and nothing bought any more, on behalf of `by`; raise EngineUnreachable, EngineRefused."""
        await self._ask("POST", address, "/v1/close-out", token, {"by": by})

    async def reopen(self, address: Address, token: str) -> None:
        """Let it trade again after that; raise EngineUnreachable, EngineRefused."""
        await self._ask("POST", address, "/v1/reopen", token)

    async def drain(self, address: Address, token: str) -> dict[str, Any]:
        """Start the drain, or see how far it is; raise EngineUnreachable, EngineRefused."""
        return await self._ask("POST", address, "/v1/drain?wait=false", token)

    async def _ask(
        self, method: str, address: Address, path: str, token: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            async with self._session.request(
                method,
                address.url + path,
                data=None if body is None else orjson.dumps(body),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                allow_redirects=False,
            ) as answer:
                data = await _all(answer)
        except TimeoutError:
            raise EngineUnreachable(f"no answer within {self._timeout_s:g} s") from None
        except (OSError, ValueError, aiohttp.ClientError) as error:
            raise EngineUnreachable(f"{type(error).__name__}: {error}"[:300]) from None
        try:
            found = orjson.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise EngineRefused(answer.status, "the answer is no JSON object")
        if answer.status >= 300:
            raise EngineRefused(answer.status, str(found.get("error", "no reason given"))[:300])
        return found


async def _all(answer: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_chunked(64 * 1024):
        size += len(part)
        if size > MAX_ANSWER:
            raise ValueError("the answer is too long")
        parts.append(part)
    return b"".join(parts)
