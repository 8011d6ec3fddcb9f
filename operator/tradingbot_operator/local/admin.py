"""The engine's admin port, asked from this machine; the port and the token lie in the state directory."""

from pathlib import Path
from typing import Any

import aiohttp

TIMEOUT_S = 5.0


class AdminUnreachable(Exception):
    """The engine does not answer: it starts, is gone, or hangs."""


class AdminPort:
    """One engine's admin port; the files are read anew each time, since a restarted engine has another port."""

    def __init__(self, *, port_file: Path, token_file: Path, session: aiohttp.ClientSession) -> None:
        self._port_file, self._token_file, self._session = port_file, token_file, session

    async def status(self) -> dict[str, Any]:
        """Return the status document; raise AdminUnreachable."""
        return await self._ask("GET", "/v1/status")

    async def drain(self) -> dict[str, Any]:
        """Start the drain and return its progress; raise AdminUnreachable."""
        return await self._ask("POST", "/v1/drain?wait=false")

    async def live(self, *, generation: int, paused: bool, risk: dict[str, Any]) -> dict[str, Any]:
        """Hand over what may change without a restart; raise AdminUnreachable."""
        return await self._ask("PUT", "/v1/live", {"generation": generation, "paused": paused, "risk": risk})

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            port = int(self._port_file.read_text())
            token = self._token_file.read_text().strip()
            async with self._session.request(
                method,
                f"http://127.0.0.1:{port}{path}",
                json=body,
                headers={"Authorization": f"Bearer {token}"},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            ) as answer:
                data = await answer.json(content_type=None)
        except (TimeoutError, OSError, ValueError, aiohttp.ClientError) as error:
            raise AdminUnreachable(f"{type(error).__name__}: {error}") from None
        if not isinstance(data, dict):
            raise AdminUnreachable(f"HTTP {answer.status}, and no JSON object")
        if answer.status >= 400:
            raise AdminUnreachable(f"HTTP {answer.status}: {data.get('error', 'no reason given')}")
        return data
