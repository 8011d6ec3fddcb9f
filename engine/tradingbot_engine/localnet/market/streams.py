"""
Price streams in the shapes of Birdeye and of Pyth's Hermes, over websockets, fed by the pools.

Each connection has one task that sends what changed since it last looked, and looks again when a slot has passed: a client
that reads slowly gets fewer messages, never old ones, and nothing is queued for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import orjson
from aiohttp import WSCloseCode, WSMsgType, web
from solders.pubkey import Pubkey

from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.units import Slot
from tradingbot_engine.localnet.market import pyth
from tradingbot_engine.localnet.market.history import History
from tradingbot_engine.localnet.market.ports import Bank
from tradingbot_engine.localnet.market.prices import BIRDEYE_MINUTES, Prices, merged
from tradingbot_engine.localnet.market.tokens import USDC, Token
from tradingbot_engine.localnet.market.web_api import Gate, json_response
from tradingbot_engine.localnet.market.world import World

MAX_MESSAGE_BYTES = 1 << 16
MOST_SUBSCRIPTIONS = 100
"""Per connection, as Birdeye allows."""
AVERAGE_MINUTES = 60


class Talk(Protocol):
    """What is spoken on one connection."""

    def heard(self, message: Any) -> list[dict[str, Any]]:
        """Take a client's message (None: it was no JSON object); return the answers."""

    def news(self) -> Iterator[dict[str, Any]]:
        """Yield what changed since the last call."""


class Streams:
    """The websockets of one world."""

    def __init__(
        self, *, world: World, bank: Bank, gate: Gate, prices: Prices, histories: Mapping[Pubkey, History]
    ) -> None:
        self._world, self._bank, self._gate = world, bank, gate
        self._prices, self._histories = prices, histories
        self._usdc_pool = {pool.base.mint: pool for pool in world.pools if pool.quote == USDC}
        self.feeds = {pyth.feed_id(token): token for token in world.by_mint.values()}
        self._connections: dict[web.WebSocketResponse, asyncio.Event] = {}
        bank.on_slot(self._wake)

    def mount(self, app: web.Application) -> None:
        """Add the routes: `/socket/solana` is Birdeye's, `/ws` and `/v2/price_feeds` are Hermes'."""
        guard = self._gate.guard
        app.router.add_get("/socket/solana", guard(self._birdeye))
        app.router.add_get("/ws", guard(self._hermes))
        app.router.add_get("/v2/price_feeds", guard(self._price_feeds))
        app.on_shutdown.append(self._close)

    # -- what is told --------------------------------------------------------------------------------------------------

    def token(self, address: object) -> Token | None:
        """Return the token of an address in text, if there is a price of it in dollars."""
        with contextlib.suppress(ValueError):
            token = self._world.by_mint.get(Pubkey.from_string(str(address)))
            return token if token != USDC else None
        return None

    def candle(self, token: Token, chart: str) -> Bar | None:
        """Return the candle that is being made."""
        minutes = BIRDEYE_MINUTES[chart]
        bars = merged(self._histories[self._usdc_pool[token.mint].address].bars()[-minutes:], minutes)
        return bars[-1] if bars else None

    def update(self, token: Token) -> dict[str, Any] | None:
        """Return a token's price now in Hermes' shape; None where its pool is empty."""
        usd = self._prices.usd(token)
        if usd is None:
            return None
        closes = [1.0]
        if token != USDC:
            bars = self._histories[self._usdc_pool[token.mint].address].bars()
            closes = [bar.close for bar in bars[-AVERAGE_MINUTES:]] or [usd]
        at_ms = self._bank.clock.at_ms(self._bank.slot)
        return pyth.price_update(token, usd=usd, average_usd=sum(closes) / len(closes), at_ms=at_ms)

    # -- connections ---------------------------------------------------------------------------------------------------

    async def _price_feeds(self, request: web.Request) -> web.Response:
        wanted = request.query.get("query", "").lower()
        found = [pyth.described(token) for token in self._world.by_mint.values() if wanted in token.symbol.lower()]
        return json_response(found)

    async def _birdeye(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, BirdeyeTalk(self))

    async def _hermes(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, HermesTalk(self))

    async def _serve(self, request: web.Request, talk: Talk) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("echo-protocol",), max_msg_size=MAX_MESSAGE_BYTES)
        await socket.prepare(request)
        changed = self._connections[socket] = asyncio.Event()
        telling = asyncio.create_task(self._tell(request, socket, talk, changed))
        try:
            async for message in socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    continue
                for answer in talk.heard(_parsed(message.data)):
                    await socket.send_str(orjson.dumps(answer).decode())
                changed.set()  # the first price comes at once
        finally:
            del self._connections[socket]
            telling.cancel()
            await asyncio.wait({telling})
        return socket

    async def _tell(
        self, request: web.Request, socket: web.WebSocketResponse, talk: Talk, changed: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):  # the client went away
            while True:
                await changed.wait()
                changed.clear()
                refusal = await self._gate.faults.before(request.path)
                if refusal is not None and refusal.how == "reset" and request.transport is not None:
                    request.transport.abort()
                if refusal is not None:
                    continue  # silence, until the fault is gone
                for message in talk.news():
                    await socket.send_str(orjson.dumps(message).decode())

    def _wake(self, _slot: Slot) -> None:
        for changed in self._connections.values():
            changed.set()

    async def _close(self, _app: web.Application) -> None:
        for socket in list(self._connections):
            await socket.close(code=WSCloseCode.GOING_AWAY)


def _parsed(data: str | bytes) -> dict[str, Any] | None:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


class BirdeyeTalk:
    """SUBSCRIBE_PRICE and UNSUBSCRIBE_PRICE; answers are the prices themselves, errors have the type ERROR."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._told: dict[tuple[Token, str], Bar | None] = {}

    def heard(self, message: Any) -> list[dict[str, Any]]:
        kind = message.get("type") if message is not None else None
        data = message.get("data") if message is not None else None
        if kind not in ("SUBSCRIBE_PRICE", "UNSUBSCRIBE_PRICE"):
            return [_error("Invalid message: type must be SUBSCRIBE_PRICE or UNSUBSCRIBE_PRICE")]
        if kind == "UNSUBSCRIBE_PRICE" and data is None:
            self._told.clear()
            return []
        if not isinstance(data, dict):
            return [_error("Invalid message: data must be an object")]
        token, chart = self._streams.token(data.get("address")), data.get("chartType", "1m")
        if token is None:
            return [_error(f"Invalid address: {str(data.get('address'))[:64]}")]
        if chart not in BIRDEYE_MINUTES:
            return [_error(f"Invalid chartType: one of {', '.join(BIRDEYE_MINUTES)}")]
        if data.get("currency", "usd") != "usd":
            return [_error("Invalid currency: usd")]
        if kind == "UNSUBSCRIBE_PRICE":
            self._told.pop((token, chart), None)
        elif len(self._told) >= MOST_SUBSCRIPTIONS:
            return [_error(f"Too many subscriptions: at most {MOST_SUBSCRIPTIONS}")]
        else:
            self._told.setdefault((token, chart), None)
        return []

    def news(self) -> Iterator[dict[str, Any]]:
        for (token, chart), before in list(self._told.items()):
            bar = self._streams.candle(token, chart)
            if bar is None or bar == before:
                continue
            self._told[token, chart] = bar
            data = {
                **{"o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close},
                "v": bar.volume / USDC.unit / bar.close,  # Birdeye counts volume in the token
                "type": chart,
                "unixTime": bar.start_ms // 1000,
                "symbol": token.symbol,
                "address": str(token.mint),
            }
            yield {"type": "PRICE_DATA", "data": data}


def _error(text: str) -> dict[str, Any]:
    return {"type": "ERROR", "data": text}


class HermesTalk:
    """subscribe and unsubscribe with ids; each is answered by a response that says success or error."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._told: dict[str, Any] = {}

    def heard(self, message: Any) -> list[dict[str, Any]]:
        kind = message.get("type") if message is not None else None
        ids = message.get("ids") if message is not None else None
        if kind not in ("subscribe", "unsubscribe"):
            return [_response("unknown message type: subscribe or unsubscribe is expected")]
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            return [_response("ids must be a list of price feed ids")]
        names = [one.removeprefix("0x").lower() for one in ids]
        unknown = [one for one, name in zip(ids, names, strict=True) if name not in self._streams.feeds]
        if unknown:
            return [_response(f"Price feed(s) with id(s) {[one[:66] for one in unknown[:10]]} not found")]
        for name in names:
            if kind == "subscribe":
                self._told.setdefault(name, None)
            else:
                self._told.pop(name, None)
        return [{"type": "response", "status": "success"}]

    def news(self) -> Iterator[dict[str, Any]]:
        for name, before in list(self._told.items()):
            update = self._streams.update(self._streams.feeds[name])
            if update is not None and update != before:
                self._told[name] = update
                yield update


def _response(error: str) -> dict[str, Any]:
    return {"type": "response", "status": "error", "error": error}
