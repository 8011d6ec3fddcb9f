"""Price and history APIs in the shapes of Jupiter, CoinGecko, DexScreener, GeckoTerminal and Birdeye."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from solders.pubkey import Pubkey

from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.localnet.market import amm
from tradingbot_engine.localnet.market.history import History
from tradingbot_engine.localnet.market.ports import Bank
from tradingbot_engine.localnet.market.tokens import SOL, USDC, Token
from tradingbot_engine.localnet.market.web_api import ApiError, Gate, flag, json_response, pubkey, whole_number
from tradingbot_engine.localnet.market.world import Pool, World, reserves

DAY_MS = 86_400_000
MOST_MINTS = 30
MOST_CANDLES = 1000
AGGREGATES = {"minute": (1, 5, 15), "hour": (1, 4, 12), "day": (1,)}
MINUTES_OF = {"minute": 1, "hour": 60, "day": 1440}
BIRDEYE_MINUTES = {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1H": 60, "2H": 120, "4H": 240, "1D": 1440}


def _not_found(what: str) -> ApiError:
    return ApiError(404, {"errors": [{"status": "404", "title": "Not Found", "detail": what}], "meta": {}})


class Prices:
    """Dollar prices from the pools: of SOL by SOL/USDC, of a token by its USDC pool."""

    def __init__(self, *, world: World, bank: Bank, histories: Mapping[Pubkey, History]) -> None:
        self._world, self._bank, self._histories = world, bank, histories
        self._usdc_pool = {pool.base.mint: pool for pool in world.pools if pool.quote == USDC}

    def of_pool(self, pool: Pool) -> float | None:
        """Return the pool's price now, quote per token; None where it is empty."""
        base, quote = reserves(self._bank, pool)
        return amm.price(base, quote, pool.base.decimals, pool.quote.decimals) if base and quote else None

    def usd(self, token: Token) -> float | None:
        """Return the price of one whole token in dollars; None where its pool is empty."""
        return 1.0 if token == USDC else self.of_pool(self._usdc_pool[token.mint])

    def change_24h(self, token: Token) -> float:
        """Return the change over 24 h in percent."""
        if token == USDC:
            return 0.0
        return self.change(self._usdc_pool[token.mint], 1440)

    def change(self, pool: Pool, minutes: int) -> float:
        """Return the pool's price change over so many minutes, in percent."""
        bars = self._histories[pool.address].bars()
        now = self.of_pool(pool)
        if not bars or now is None:
            return 0.0
        then = bars[max(0, len(bars) - 1 - minutes)].close
        return (now / then - 1) * 100

    def usd_of_quote(self, pool: Pool) -> Callable[[UnixMs], float]:
        """Return a function that values the pool's quote currency in dollars at the start of a bar."""
        if pool.quote == USDC:
            return lambda start_ms: 1.0
        closes = {bar.start_ms: bar.close for bar in self._histories[self._world.sol_usdc.address].bars()}
        now = self.usd(SOL) or SOL.opening_usd
        return lambda start_ms: closes.get(start_ms, now)


def merged(bars: list[Bar], minutes: int) -> list[Bar]:
    """Return bars of so many minutes each, aligned to the epoch."""
    if minutes == 1:
        return bars
    found: list[Bar] = []
    length_ms = minutes * 60_000
    for bar in bars:
        start_ms = bar.start_ms - bar.start_ms % length_ms
        if found and found[-1].start_ms == start_ms:
            last = found[-1]
            found[-1] = Bar(
                start_ms,
                last.open,
                max(last.high, bar.high),
                min(last.low, bar.low),
                bar.close,
                last.volume + bar.volume,
                bar.quote_reserve,
            )
        else:
            found.append(Bar(start_ms, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_reserve))
    return found


class PriceApi:
    """Handlers over one world; prices are those of the processed view, times are market time."""

    def __init__(self, *, world: World, bank: Bank, gate: Gate, histories: Mapping[Pubkey, History]) -> None:
        self._world, self._bank, self._gate, self._histories = world, bank, gate, histories
        self.prices = Prices(world=world, bank=bank, histories=histories)
        self._usdc_pool = {pool.base.mint: pool for pool in world.pools if pool.quote == USDC}

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        guard = self._gate.guard
        app.router.add_get("/price/v3", guard(self._jupiter))
        app.router.add_get("/api/v3/simple/price", guard(self._coingecko))
        app.router.add_get("/tokens/v1/solana/{mints}", guard(self._dexscreener))
        app.router.add_get("/api/v2/networks/{network}/pools/{pool}/ohlcv/{timeframe}", guard(self._geckoterminal))
        app.router.add_get("/defi/price", guard(self._birdeye_price))
        app.router.add_get("/defi/ohlcv", guard(self._birdeye_ohlcv))
        app.router.add_get("/defi/history_price", guard(self._birdeye_history))

    def _now_ms(self) -> UnixMs:
        return self._bank.clock.at_ms(self._bank.slot)

    async def _jupiter(self, request: web.Request) -> web.Response:
        ids = [text for text in request.query.get("ids", "").split(",") if text]
        if not ids:
            raise ApiError.bad_request("Query parameter ids is required")
        if len(ids) > 50:
            raise ApiError.bad_request("Query parameter ids: at most 50 mints")
        body: dict[str, Any] = {}
        for text in ids:
            token = self._world.by_mint.get(pubkey(text, "ids"))
            usd = self.prices.usd(token) if token else None
            if token is not None and usd is not None:
                body[text] = {
                    "usdPrice": usd,
                    "blockId": self._bank.view_slot("processed"),
                    "decimals": token.decimals,
                    "priceChange24h": self.prices.change_24h(token),
                }
        return json_response(body)

    async def _coingecko(self, request: web.Request) -> web.Response:
        query = request.query
        if "ids" not in query or "vs_currencies" not in query:
            raise ApiError(422, {"error": "Missing parameter ids or vs_currencies"})
        by_coin = {token.coin_id: token for token in self._world.by_mint.values()}
        body: dict[str, Any] = {}
        for name in query["ids"].split(","):
            token = by_coin.get(name)
            usd = self.prices.usd(token) if token else None
            if token is None or usd is None:
                continue
            entry = body[name] = {}
            if "usd" in query["vs_currencies"].split(","):
                entry["usd"] = usd
                if flag(query.get("include_24hr_change"), default=False):
                    entry["usd_24h_change"] = self.prices.change_24h(token)
            if flag(query.get("include_last_updated_at"), default=False):
                entry["last_updated_at"] = self._now_ms() // 1000
        return json_response(body)

    async def _dexscreener(self, request: web.Request) -> web.Response:
        mints = [pubkey(text, "tokenAddresses") for text in request.match_info["mints"].split(",") if text]
        if len(mints) > MOST_MINTS:
            raise ApiError.bad_request(f"At most {MOST_MINTS} addresses")
        wanted = set(mints)
        return json_response([self._pair(pool) for pool in self._world.pools if pool.base.mint in wanted])

    def _pair(self, pool: Pool) -> dict[str, Any]:
        base, quote = reserves(self._bank, pool)
        native = self.prices.of_pool(pool) or 0.0
        quote_usd = self.prices.usd(pool.quote) or 0.0
        bars = self._histories[pool.address].bars()

        def volume_usd(minutes: int) -> float:
            return sum(bar.volume for bar in bars[-minutes:]) / pool.quote.unit * quote_usd

        spans = {"m5": 5, "h1": 60, "h6": 360, "h24": 1440}
        base_whole, quote_whole = base / pool.base.unit, quote / pool.quote.unit
        return {
            "chainId": "solana",
            "dexId": "localnet",
            "pairAddress": str(pool.address),
            "baseToken": {"address": str(pool.base.mint), "name": pool.base.name, "symbol": pool.base.symbol},
            "quoteToken": {"address": str(pool.quote.mint), "name": pool.quote.name, "symbol": pool.quote.symbol},
            "priceNative": f"{native:.12g}",
            "priceUsd": f"{native * quote_usd:.12g}",
            "volume": {name: volume_usd(minutes) for name, minutes in spans.items()},
            "priceChange": {name: round(self.prices.change(pool, minutes), 4) for name, minutes in spans.items()},
            "liquidity": {
                "usd": 2 * quote_whole * quote_usd,
                "base": base_whole,
                "quote": quote_whole,
            },
            "pairCreatedAt": bars[0].start_ms if bars else self._now_ms(),
        }

    async def _geckoterminal(self, request: web.Request) -> web.Response:
        path, query = request.match_info, request.query
        pool = self._world.by_address.get(pubkey(path["pool"], "pool_address"))
        timeframe = path["timeframe"]
        if path["network"] != "solana" or pool is None or timeframe not in AGGREGATES:
            raise _not_found(f"no {timeframe} candles of pool {path['pool']} on {path['network']}")
        aggregate = whole_number(query.get("aggregate", 1), "aggregate", low=1)
        if aggregate not in AGGREGATES[timeframe]:
            raise ApiError.bad_request(f"aggregate must be one of {AGGREGATES[timeframe]} for {timeframe}")
        limit = whole_number(query.get("limit", 100), "limit", low=1, high=MOST_CANDLES)
        before_s = whole_number(query.get("before_timestamp", 2**53), "before_timestamp")
        currency = query.get("currency", "usd")
        if currency not in ("usd", "token"):
            raise ApiError.bad_request("currency must be usd or token")
        bars = merged(self._histories[pool.address].bars(), aggregate * MINUTES_OF[timeframe])
        bars = [bar for bar in bars if bar.start_ms < before_s * 1000][-limit:]
        if not flag(query.get("include_empty_intervals"), default=True):
            bars = [bar for bar in bars if bar.volume]
        worth = self.prices.usd_of_quote(pool) if currency == "usd" else (lambda start_ms: 1.0)
        rows = [
            [bar.start_ms // 1000, *(price * rate for price in (bar.open, bar.high, bar.low, bar.close)), volume * rate]
            for bar in reversed(bars)
            for rate, volume in [(worth(bar.start_ms), bar.volume / pool.quote.unit)]
        ]
        described = {
            side: {
                "address": str(token.mint),
                "name": token.name,
                "symbol": token.symbol,
                "coingecko_coin_id": token.coin_id,
            }
            for side, token in (("base", pool.base), ("quote", pool.quote))
        }
        data = {"id": str(pool.address), "type": "ohlcv_request_response", "attributes": {"ohlcv_list": rows}}
        return json_response({"data": data, "meta": described})

    # -- Birdeye -------------------------------------------------------------------------------------------------------

    def _birdeye_token(self, request: web.Request) -> Token:
        token = self._world.by_mint.get(pubkey(request.query.get("address"), "address"))
        if token is None or token == USDC:
            raise ApiError(404, {"success": False, "message": "Not found"})
        return token

    def _birdeye_bars(self, request: web.Request) -> tuple[Token, str, list[Bar]]:
        token, query = self._birdeye_token(request), request.query
        kind = query.get("type", "1m")
        if kind not in BIRDEYE_MINUTES:
            raise ApiError(422, {"success": False, "message": f"type must be one of {', '.join(BIRDEYE_MINUTES)}"})
        since = whole_number(query.get("time_from", 0), "time_from") * 1000
        until = whole_number(query.get("time_to", 2**53), "time_to") * 1000
        bars = merged(self._histories[self._usdc_pool[token.mint].address].bars(), BIRDEYE_MINUTES[kind])
        return token, kind, [bar for bar in bars if since <= bar.start_ms <= until][-MOST_CANDLES:]

    async def _birdeye_price(self, request: web.Request) -> web.Response:
        token = self._birdeye_token(request)
        data = {
            "value": self.prices.usd(token),
            "updateUnixTime": self._now_ms() // 1000,
            "priceChange24h": self.prices.change_24h(token),
        }
        return json_response({"success": True, "data": data})

    async def _birdeye_ohlcv(self, request: web.Request) -> web.Response:
        token, kind, bars = self._birdeye_bars(request)
        items = [
            {
                "o": bar.open,
                "h": bar.high,
                "l": bar.low,
                "c": bar.close,
                "v": bar.volume / USDC.unit / bar.close,  # Birdeye counts volume in the token
                "unixTime": bar.start_ms // 1000,
                "address": str(token.mint),
                "type": kind,
                "currency": "usd",
            }
            for bar in bars
        ]
        return json_response({"success": True, "data": {"items": items}})

    async def _birdeye_history(self, request: web.Request) -> web.Response:
        _, _, bars = self._birdeye_bars(request)
        items = [{"unixTime": bar.start_ms // 1000, "value": bar.close} for bar in bars]
        return json_response({"success": True, "data": {"items": items}})
