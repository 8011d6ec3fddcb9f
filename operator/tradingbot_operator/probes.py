"""/livez, /readyz and /metrics of the operator."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from tradingbot_operator.metrics import Metrics

STALE_S = 60.0
"""A watch that has been stale for so long will not heal by itself."""


class Probes:
    """
    Serve them.

    Args:
        metrics: What /metrics shows.
        stale_s: How long the worst watch has been stale.
        ready: Whether everything was listed once.
        refresh: Called before metrics are read.
    """

    def __init__(
        self, *, metrics: Metrics, stale_s: Callable[[], float], ready: Callable[[], bool], refresh: Callable[[], None]
    ) -> None:
        self._metrics, self._stale_s, self._ready, self._refresh = metrics, stale_s, ready, refresh
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, port_file: str | None) -> int:
        """Listen; return the port."""
        app = web.Application()
        app.add_routes(
            [web.get("/livez", self._livez), web.get("/readyz", self._readyz), web.get("/metrics", self._show)]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        found: int = self._runner.addresses[0][1]
        if port_file is not None:
            await asyncio.to_thread(Path(port_file).write_text, str(found))
        return found

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        stale_s = self._stale_s()
        if stale_s < STALE_S:
            return web.Response(text="ok\n")
        return web.Response(text=f"a watch has been stale for {stale_s:.0f} s\n", status=500)

    async def _readyz(self, _: web.Request) -> web.Response:
        ready = self._ready()
        return web.Response(text="ok\n" if ready else "not everything was listed yet\n", status=200 if ready else 503)

    async def _show(self, request: web.Request) -> web.Response:
        self._refresh()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._metrics.registry), headers={"Content-Type": content_type})
