"""
The admin port: health and metrics for anybody, control for whoever holds the token.

`GET /livez /readyz /metrics`; with a bearer token `GET /v1/status`, `PUT /v1/live`, `POST /v1/pause`, `/v1/resume`,
`/v1/drain`.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tradingbot_engine.errors import EngineError
from tradingbot_engine.private_file import write_private
from tradingbot_engine.redact import remember, scrub
from tradingbot_engine.settings import AdminSettings, SettingsInvalid, problems_of

_MAX_BODY = 64 * 1024


class LiveSettings(BaseModel):
    """What may change without a restart; the newest generation wins."""

    # Strict: "false" in quotes must not pause a bot, nor `true` pass for generation 1.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    generation: int = Field(ge=0, le=2**63 - 1)
    paused: bool
    risk: dict[str, Any] = Field(default_factory=dict)
    """Groups and names of the engine's `risk` settings; absent: those of the file."""


class CloseOut(BaseModel):
    """Who wants everything sold, in words that people will read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    by: str = Field(min_length=1, max_length=200, pattern=r"^[\x20-\x7e]+$")


class Control(Protocol):
    """What the admin port can ask of the engine."""

    def ready(self) -> tuple[bool, str]:
        """Whether shards can be taken, and why not."""

    async def status(self) -> dict[str, Any]:
        """Return the status document."""

    async def apply_live(self, live: LiveSettings) -> bool:
        """Keep and apply live settings; False if an older generation was offered."""

    async def latch(self, latched: bool) -> None:
        """Pause or resume by hand."""

    async def close_out(self, by: str) -> None:
        """Sell everything, open nothing any more."""

    async def reopen(self) -> None:
        """Trade again after that."""

    async def drain(self, *, wait: bool) -> dict[str, Any]:
        """Start the drain, wait for its end if asked, and return progress."""


class AdminServer:
    """Serves the admin port; writes the port and token files that the settings name."""

    def __init__(self, *, settings: AdminSettings, control: Control, registry: CollectorRegistry) -> None:
        self._settings, self._control, self._registry = settings, control, registry
        self._token = _token(settings.token_file)
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; return the port."""
        app = web.Application(client_max_size=_MAX_BODY, middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/v1/status", self._status),
                web.put("/v1/live", self._live),
                web.post("/v1/pause", self._pause),
                web.post("/v1/resume", self._resume),
                web.post("/v1/close-out", self._close_out),
                web.post("/v1/reopen", self._reopen),
                web.post("/v1/drain", self._drain),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        await site.start()
        port: int = self._runner.addresses[0][1]
        if self._settings.port_file is not None:
            write_private(self._settings.port_file, str(port))
        return port

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path.startswith("/v1/"):
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if self._token is None or not hmac.compare_digest(given.encode(), self._token.encode()):
                return _json({"error": "a bearer token is needed (admin.token_file)"}, status=401)
        try:
            return await handler(request)
        except ValidationError as error:
            return _json({"error": "; ".join(problems_of(error))}, status=400)
        except SettingsInvalid as error:
            return _json({"error": "; ".join(str(error).splitlines())}, status=400)
        except orjson.JSONDecodeError as error:
            return _json({"error": scrub(f"the body is not JSON: {error}")}, status=400)
        except EngineError as error:
            return _json({"error": str(error)}, status=503)

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        ready, why = self._control.ready()
        return web.Response(text=f"{'ok' if ready else why}\n", status=200 if ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))  # exemplars only in OpenMetrics
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _status(self, _: web.Request) -> web.Response:
        return _json(await self._control.status())

    async def _live(self, request: web.Request) -> web.Response:
        live = LiveSettings.model_validate(orjson.loads(await request.read()))
        kept = await self._control.apply_live(live)
        return _json({"applied": kept}, status=200 if kept else 409)

    async def _pause(self, request: web.Request) -> web.Response:
        await _without_body(request)
        await self._control.latch(True)
        return _json({"latched": True})

    async def _resume(self, request: web.Request) -> web.Response:
        await _without_body(request)
        await self._control.latch(False)
        return _json({"latched": False})

    async def _close_out(self, request: web.Request) -> web.Response:
        wish = CloseOut.model_validate(orjson.loads(await request.read()))
        await self._control.close_out(wish.by)
        return _json({"closing": True})

    async def _reopen(self, request: web.Request) -> web.Response:
        await _without_body(request)
        await self._control.reopen()
        return _json({"closing": False})

    async def _drain(self, request: web.Request) -> web.Response:
        await _without_body(request)
        wait = request.query.get("wait", "true")
        if wait not in ("true", "false"):
            raise SettingsInvalid(f"wait: must be true or false (value {wait[:80]!r})")
        progress = await self._control.drain(wait=wait == "true")
        return _json(progress, status=200 if progress.get("drained") else 202)


async def _without_body(request: web.Request) -> None:
    """Refuse what would be ignored: who sends a field means something by it."""
    body = (await request.read()).strip()
    if body not in (b"", b"{}", b"null"):
        raise SettingsInvalid(f"body: {request.path} takes none (value {scrub(body[:80].decode(errors='replace'))!r})")


def _json(data: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")


def _token(path: Path | None) -> str | None:
    """Read the token, making a new one where the file does not exist; without a file nothing under /v1 is served."""
    if path is None:
        return None
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    token = path.read_text(encoding="utf-8").strip() or None
    if token is not None:
        remember(token)
    return token
