"""The price streams of Birdeye and Pyth's Hermes as localnet serves them, seen by a plain websocket client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import WSMsgType

from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT
from tradingbot_engine.localnet.cluster import Cluster
from tradingbot_engine.localnet.market import Market
from tradingbot_engine.localnet.market.world import reserves

BONK = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
SOL_FEED = "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d"
BONK_FEED = "72b021217ca3fe68922a19aaf990109cb9d84e9ad004b4d2025ad6f529314419"


class Talk:
    """One websocket connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, message: Any) -> None:
        await self.socket.send_str(message if isinstance(message, str) else orjson.dumps(message).decode())

    async def hear(self, within_s: float = 5) -> Any:
        message = await self.socket.receive(timeout=within_s)
        assert message.type is WSMsgType.TEXT, message
        return orjson.loads(message.data)

    async def hears_nothing(self) -> None:
        with pytest.raises(TimeoutError):
            await self.hear(within_s=0.2)


class Stage:
    """localnet in virtual time."""

    def __init__(self, cluster: Cluster, market: Market, session: aiohttp.ClientSession) -> None:
        self.cluster, self.market, self.session = cluster, market, session

    @asynccontextmanager
    async def talking(self, path: str, **options: Any) -> AsyncIterator[Talk]:
        async with self.session.ws_connect(self.cluster.gateway_url + path, **options) as socket:
            yield Talk(socket)

    def usd(self, mint: str) -> float:
        """The price that the token's USDC pool has now."""
        pool = next(p for p in self.market.world.pools if (str(p.base.mint), str(p.quote.mint)) == (mint, USDC_MINT))
        base, quote = reserves(self.cluster.bank, pool)
        return quote / base * 10.0 ** (pool.base.decimals - pool.quote.decimals)

    def move(self) -> None:
        """Let the traders act until both prices have changed."""
        before = self.usd(BONK), self.usd(SOL_MINT)
        while before[0] == self.usd(BONK) or before[1] == self.usd(SOL_MINT):
            self.cluster.bank.tick()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    cluster = Cluster(nodes=1, slot_ms=0, speed=741)  # few slots make its history: born in no time
    market = Market(cluster.bank, seed=3, scenario="Viral")
    market.open()
    market.mount(cluster.gateway)
    async with cluster, aiohttp.ClientSession() as session:
        yield Stage(cluster, market, session)
    market.close()


async def test_birdeye_tells_the_candle_in_the_making_until_it_is_unsubscribed(stage: Stage) -> None:
    """`c` is the pool's price now; unixTime is the start of the candle, not the time of the tick."""
    async with stage.talking("/socket/solana?x-api-key=k", protocols=["echo-protocol"]) as talk:
        assert talk.socket.protocol == "echo-protocol"
        for chart in ("1m", "5m"):
            ask = {"chartType": chart, "address": BONK, "currency": "usd"}
            await talk.say({"type": "SUBSCRIBE_PRICE", "data": ask})
            told = await talk.hear()
            assert told["type"] == "PRICE_DATA"
            data = told["data"]
            assert set(data) == {"o", "h", "l", "c", "v", "type", "unixTime", "symbol", "address"}
            assert (data["type"], data["symbol"], data["address"]) == (chart, "BONK", BONK)
            assert data["c"] == pytest.approx(stage.usd(BONK))
            assert data["l"] <= min(data["o"], data["c"]) <= max(data["o"], data["c"]) <= data["h"]
        for _ in range(3):
            stage.move()
            told = [(await talk.hear())["data"] for _ in range(2)]
            for data in told:
                span_s = {"1m": 60, "5m": 300}[data["type"]]
                now_s = stage.cluster.bank.clock.at_ms(stage.cluster.bank.slot) // 1000
                assert data["unixTime"] == now_s - now_s % span_s
                assert data["c"] == pytest.approx(stage.usd(BONK))
        await talk.say({"type": "UNSUBSCRIBE_PRICE", "data": {"chartType": "5m", "address": BONK}})
        await talk.hears_nothing()
        stage.move()
        assert (await talk.hear())["data"]["type"] == "1m"
        await talk.say({"type": "UNSUBSCRIBE_PRICE"})
        await talk.hears_nothing()
        stage.move()
        await talk.hears_nothing()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("no json", "type must be"),
        ("[]", "type must be"),
        ({"type": "SUBSCRIBE_TXS", "data": {}}, "type must be"),
        ({"type": "SUBSCRIBE_PRICE"}, "data must be an object"),
        ({"type": "SUBSCRIBE_PRICE", "data": {"address": "x"}}, "Invalid address: x"),
        ({"type": "SUBSCRIBE_PRICE", "data": {"address": USDC_MINT}}, "Invalid address"),
        ({"type": "SUBSCRIBE_PRICE", "data": {"address": BONK, "chartType": "7m"}}, "Invalid chartType"),
        ({"type": "SUBSCRIBE_PRICE", "data": {"address": BONK, "currency": "eur"}}, "Invalid currency"),
    ],
)
async def test_birdeye_answers_nonsense_with_an_error_and_goes_on(stage: Stage, message: Any, told: str) -> None:
    """The connection stays; what is right afterwards is served; pings are answered."""
    async with stage.talking("/socket/solana", autoping=False) as talk:
        await talk.say(message)
        answer = await talk.hear()
        assert answer["type"] == "ERROR"
        assert told in answer["data"]
        await talk.socket.ping(b"alive?")
        pong = await talk.socket.receive(timeout=30)
        assert (pong.type, bytes(pong.data)) == (WSMsgType.PONG, b"alive?")
        await talk.say({"type": "SUBSCRIBE_PRICE", "data": {"address": BONK}})
        assert (await talk.hear())["type"] == "PRICE_DATA"


async def test_hermes_tells_prices_by_feed_id_as_integers_with_an_exponent(stage: Stage) -> None:
    """The ids are those of the public network; price × 10^expo is what the pool says."""
    async with stage.talking("/ws") as talk:
        await talk.say({"type": "subscribe", "ids": [f"0x{SOL_FEED}", BONK_FEED.upper()]})
        assert await talk.hear() == {"type": "response", "status": "success"}
        for moves in range(3):
            if moves:
                stage.move()
            told = {}
            for _ in range(2):
                message = await talk.hear()
                assert message["type"] == "price_update"
                told[message["price_feed"]["id"]] = message["price_feed"]
            at_s = stage.cluster.bank.clock.at_ms(stage.cluster.bank.slot) // 1000
            for feed, mint in ((SOL_FEED, SOL_MINT), (BONK_FEED, BONK)):
                price = told[feed]["price"]
                assert int(price["price"]) * 10.0 ** price["expo"] == pytest.approx(stage.usd(mint), rel=1e-5)
                assert 0 < int(price["conf"]) < int(price["price"]) / 100
                assert price["publish_time"] == at_s
                assert set(told[feed]["ema_price"]) == {"price", "conf", "expo", "publish_time"}
        await talk.say({"type": "unsubscribe", "ids": [SOL_FEED]})
        assert await talk.hear() == {"type": "response", "status": "success"}
        stage.move()
        assert (await talk.hear())["price_feed"]["id"] == BONK_FEED
        await talk.hears_nothing()


async def test_hermes_names_what_it_does_not_know(stage: Stage) -> None:
    """An error response, and the connection stays; nothing of a wrong message is subscribed to."""
    async with stage.talking("/ws") as talk:
        for message, told in (
            ("{", "unknown message type"),
            ({"type": "hello"}, "unknown message type"),
            ({"type": "subscribe"}, "ids must be a list"),
            ({"type": "subscribe", "ids": [7]}, "ids must be a list"),
            ({"type": "subscribe", "ids": [SOL_FEED, "0xabc"]}, "'0xabc'] not found"),
        ):
            await talk.say(message)
            answer = await talk.hear()
            assert (answer["type"], answer["status"]) == ("response", "error")
            assert told in answer["error"]
        stage.move()
        await talk.hears_nothing()
    async with stage.session.get(f"{stage.cluster.gateway_url}/v2/price_feeds?query=bonk") as answer:
        (feed,) = await answer.json()
    assert (feed["id"], feed["attributes"]["symbol"]) == (BONK_FEED, "Crypto.BONK/USD")


async def test_a_client_that_does_not_read_gets_the_newest_price_and_costs_no_memory(stage: Stage) -> None:
    """Between two looks prices are conflated: no old one follows a newer one."""
    async with stage.talking("/ws") as talk:
        await talk.say({"type": "subscribe", "ids": [SOL_FEED]})
        await talk.hear()
        await talk.hear()
        for _ in range(50):
            stage.move()  # no turn for the loop: nobody is told in between
        update = (await talk.hear())["price_feed"]["price"]
        assert int(update["price"]) * 10.0 ** update["expo"] == pytest.approx(stage.usd(SOL_MINT), rel=1e-6)
        await talk.hears_nothing()


async def test_faults_of_the_apis_reach_the_streams(stage: Stage) -> None:
    """Silence while it hangs, then the price of now; the end of the connection when it is down."""
    async with stage.talking("/ws") as talk:
        await talk.say({"type": "subscribe", "ids": [SOL_FEED]})
        await talk.hear()
        await talk.hear()
        faults = f"{stage.cluster.gateway_url}/localnet/faults"
        async with stage.session.post(faults, json={"target": "swap", "kind": "hang", "paths": ["/ws"]}) as answer:
            assert answer.status == 201
        stage.move()
        await talk.hears_nothing()
        stage.cluster.faults.clear()
        stage.move()
        assert (await talk.hear())["type"] == "price_update"
        async with stage.session.post(faults, json={"target": "swap", "kind": "down", "paths": ["/ws"]}) as answer:
            assert answer.status == 201
        stage.move()
        ended = await asyncio.wait_for(talk.socket.receive(), 30)
        assert ended.type in (WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR)
