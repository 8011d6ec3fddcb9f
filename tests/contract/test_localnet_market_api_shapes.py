"""The market's HTTP APIs have the shapes of those they stand in for: fields, types, order, errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from solders.keypair import Keypair

from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.market import Market

SOL = "So11111111111111111111111111111111111111112"
USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
BONK = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
WIF = "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm"
UNKNOWN = "7GCihgDB8fe6KNjn2MYtkzZcRjQy3t9GHdC8uHYmW2hr"
Client = TestClient[web.Request, web.Application]


@pytest.fixture(scope="module")
def market() -> Market:
    bank = Bank(ms_per_slot=24_000.0)
    market = Market(bank, seed=2, scenario="Calm", tokens=[f"{UNKNOWN}:8"])
    market.open()
    bank.tick(5)
    market.trading = False
    return market


@pytest.fixture
async def client(market: Market) -> AsyncIterator[Client]:
    app = web.Application()
    market.mount(app)
    async with TestClient(TestServer(app)) as client:
        yield client
    market.gate.requests_per_minute = None


async def get(client: Client, path: str, status: int = 200) -> Any:
    async with client.get(path) as answer:
        assert answer.status == status, await answer.text()
        assert answer.content_type == "application/json"
        return await answer.json()


def quote_path(mint_in: str = SOL, mint_out: str = BONK, amount: object = 10**9, **more: object) -> str:
    query = {"inputMint": mint_in, "outputMint": mint_out, "amount": amount, **more}
    return "/swap/v1/quote?" + "&".join(f"{name}={value}" for name, value in query.items())


async def test_quote_has_jupiters_fields_and_amounts_are_strings(client: Client, market: Market) -> None:
    """The v1 quote as recorded from Jupiter; threshold = amount less slippage, rounded down."""
    quote = await get(client, quote_path(slippageBps=100))
    assert list(quote) == [
        "inputMint", "inAmount", "outputMint", "outAmount", "otherAmountThreshold", "swapMode", "slippageBps",
        "platformFee", "priceImpactPct", "routePlan", "contextSlot", "timeTaken",
    ]  # fmt: skip
    assert (quote["inAmount"], quote["swapMode"], quote["slippageBps"]) == (str(10**9), "ExactIn", 100)
    assert int(quote["otherAmountThreshold"]) == int(quote["outAmount"]) * 9_900 // 10_000
    assert 0 < float(quote["priceImpactPct"]) < 0.01
    (step,) = quote["routePlan"]
    assert (step["percent"], step["bps"]) == (100, 10_000)
    info = step["swapInfo"]
    assert list(info) == ["ammKey", "label", "inputMint", "outputMint", "inAmount", "outAmount", "feeAmount", "feeMint"]
    assert all(isinstance(info[name], str) for name in info)
    assert quote["contextSlot"] == market._bank.slot
    assert (await get(client, quote_path()))["slippageBps"] == 50


async def test_impact_grows_with_size_and_counts_no_fee(client: Client) -> None:
    """1 % of a vault costs about 1 % of the price; a crumb costs nothing."""
    crumb = float((await get(client, quote_path(amount=10_000)))["priceImpactPct"])
    large = float((await get(client, quote_path(amount=27 * 10**9)))["priceImpactPct"])
    assert crumb < 1e-4
    assert large == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (quote_path(mint_out=str(Keypair().pubkey())), "TOKEN_NOT_TRADABLE"),
        (quote_path(mint_out=SOL), "CIRCULAR_ARBITRAGE_IS_DISABLED"),
        (quote_path(amount=0), "COULD_NOT_FIND_ANY_ROUTE"),
        (quote_path(mint_in=WIF, onlyDirectRoutes="true"), "NO_ROUTES_FOUND"),
        (quote_path(mint_in=WIF, maxAccounts=12), "NO_ROUTES_FOUND"),
        (quote_path(swapMode="ExactBoth"), "NOT_SUPPORTED"),
        (quote_path(swapMode="ExactOut").replace("/v1/quote", "/v2/build") + f"&taker={UNKNOWN}", "NOT_SUPPORTED"),
        (quote_path(swapMode="ExactOut", amount=2**63), "COULD_NOT_FIND_ANY_ROUTE"),
        (quote_path(mint_out="nonsense"), None),
        (quote_path(amount="1.5"), None),
        (quote_path(amount=-1), None),
        (quote_path(amount=2**64), None),
        (quote_path(slippageBps=10_001), None),
        ("/swap/v1/quote?inputMint=" + SOL, None),
    ],
)
async def test_quotes_that_cannot_be_are_400_with_error_and_code(client: Client, path: str, code: str | None) -> None:
    """Jupiter's words where there are such; always a text in `error`."""
    body = await get(client, path, status=400)
    assert isinstance(body["error"], str)
    assert body["error"]
    assert body.get("errorCode") == code


async def test_order_that_finds_nothing_says_so_as_v2_does(client: Client) -> None:
    """v2 hides the reason behind one sentence."""
    path = quote_path(mint_out=str(Keypair().pubkey())).replace("/v1/quote", "/v2/order")
    assert (await get(client, path, status=400))["error"] == "Failed to get quotes"


async def test_order_has_v2s_fields_and_types(client: Client) -> None:
    """lastValidBlockHeight is a string there, and null without a taker."""
    order = await get(client, quote_path().replace("/v1/quote", "/v2/order"))
    assert order["transaction"] is None
    assert order["lastValidBlockHeight"] is None
    assert {"requestId", "router", "outAmount", "routePlan", "prioritizationFeeLamports"} <= set(order)


async def test_swap_instructions_have_jupiters_groups(client: Client) -> None:
    """Wrapping, accounts, the swap and the unwrapping stand where clients look for them."""
    quote = await get(client, quote_path())
    body = {
        "quoteResponse": quote,
        "userPublicKey": str(Keypair().pubkey()),
        "prioritizationFeeLamports": {
            "priorityLevelWithMaxLamports": {"priorityLevel": "veryHigh", "maxLamports": 9_999}
        },
    }
    async with client.post("/swap/v1/swap-instructions", json=body) as answer:
        parts = await answer.json()
    assert [len(parts[name]) for name in ("computeBudgetInstructions", "setupInstructions", "otherInstructions")] == [
        2,
        4,
        0,
    ]
    assert parts["swapInstruction"]["accounts"][0] == {
        "pubkey": body["userPublicKey"],
        "isSigner": True,
        "isWritable": False,
    }
    assert set(parts["cleanupInstruction"]) == {"programId", "accounts", "data"}
    assert len(parts["addressLookupTableAddresses"]) == 1
    assert parts["prioritizationFeeLamports"] == 9_999


@pytest.mark.parametrize(
    "change",
    [
        {"quoteResponse": None},
        {"quoteResponse": {}},
        {"quoteResponse": {"routePlan": []}},
        {"userPublicKey": "x"},
        {"userPublicKey": None},
        {"prioritizationFeeLamports": {"priorityLevelWithMaxLamports": {"priorityLevel": "lots"}}},
        {"prioritizationFeeLamports": -1},
    ],
)
async def test_swap_wishes_that_cannot_be_are_400(client: Client, change: dict[str, Any]) -> None:
    """A damaged quote or key never becomes a transaction, nor a 500."""
    body = {"quoteResponse": await get(client, quote_path()), "userPublicKey": str(Keypair().pubkey()), **change}
    async with client.post("/swap/v1/swap", json=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]
    async with client.post("/swap/v1/swap", data=b"{") as answer:
        assert answer.status == 400


async def test_quote_that_was_tampered_with_is_refused(client: Client) -> None:
    """Pools that are not of this market, or that do not lead from input to output."""
    quote = await get(client, quote_path())
    for tampered in (
        {**quote, "outputMint": WIF},
        {**quote, "inAmount": "0"},
        {**quote, "routePlan": [{"swapInfo": {"ammKey": UNKNOWN}}]},
        {**quote, "routePlan": quote["routePlan"] * 2},
    ):
        async with client.post("/swap/v1/swap", json={"quoteResponse": tampered, "userPublicKey": UNKNOWN}) as answer:
            assert answer.status == 400, await answer.text()


async def test_rate_limit_answers_429_with_the_time_of_its_end(client: Client, market: Market) -> None:
    """`x-ratelimit-reset` is a unix time in seconds, at most a minute ahead."""
    import time

    market.gate.requests_per_minute = 0
    async with client.get(quote_path()) as answer:
        assert answer.status == 429
        assert 0 < int(answer.headers["x-ratelimit-reset"]) - time.time() <= 60
        assert (await answer.json())["error"]


async def test_jupiter_prices_leave_out_what_they_do_not_know(client: Client) -> None:
    """usdPrice, blockId, decimals, priceChange24h by mint."""
    prices = await get(client, f"/price/v3?ids={SOL},{UNKNOWN},{Keypair().pubkey()}")
    assert set(prices) == {SOL, UNKNOWN}
    assert set(prices[SOL]) == {"usdPrice", "blockId", "decimals", "priceChange24h"}
    assert prices[SOL]["usdPrice"] == pytest.approx(150, rel=0.05)
    assert prices[UNKNOWN]["decimals"] == 8
    assert (await get(client, "/price/v3", status=400))["error"]


async def test_coingecko_prices(client: Client, market: Market) -> None:
    """By the coin's name; the time is market time."""
    path = "/api/v3/simple/price?ids=solana,bonk,nothing&vs_currencies=usd&include_last_updated_at=true"
    prices = await get(client, path)
    assert set(prices) == {"solana", "bonk"}
    assert prices["solana"]["usd"] == pytest.approx(150, rel=0.05)
    assert prices["solana"]["last_updated_at"] == market._bank.clock.at_ms(market._bank.slot) // 1000


async def test_dexscreener_pairs(client: Client) -> None:
    """Every pool of the tokens asked for, prices as text."""
    pairs = await get(client, f"/tokens/v1/solana/{BONK},{WIF}")
    assert [(pair["baseToken"]["symbol"], pair["quoteToken"]["symbol"]) for pair in pairs] == [
        ("BONK", "SOL"),
        ("BONK", "USDC"),
        ("WIF", "SOL"),
        ("WIF", "USDC"),
    ]
    assert all(pair["liquidity"]["usd"] >= 200_000 for pair in pairs)
    assert float(pairs[0]["priceUsd"]) == pytest.approx(float(pairs[1]["priceUsd"]), rel=0.01)
    assert await get(client, f"/tokens/v1/solana/{Keypair().pubkey()}") == []
    await get(client, "/tokens/v1/solana/" + ",".join([BONK] * 31), status=400)


async def test_geckoterminal_candles_page_backwards_newest_first(client: Client, market: Market) -> None:
    """25 h in two pages; volume in the quote currency, or in dollars."""
    pool = market.world.pools[1]
    path = f"/api/v2/networks/solana/pools/{pool.address}/ohlcv/minute"
    first = await get(client, path + "?aggregate=1&limit=1000&currency=token&token=base")
    rows = first["data"]["attributes"]["ohlcv_list"]
    assert len(rows) == 1000
    assert [row[0] for row in rows] == list(range(rows[0][0], rows[0][0] - 60_000, -60))
    assert all(row[3] <= min(row[1], row[4]) <= max(row[1], row[4]) <= row[2] for row in rows)
    older = await get(client, path + f"?limit=1000&currency=token&before_timestamp={rows[-1][0]}")
    more = older["data"]["attributes"]["ohlcv_list"]
    assert more[0][0] == rows[-1][0] - 60
    assert len(rows) + len(more) >= 1500
    bars = {bar.start_ms // 1000: bar for bar in market.histories[pool.address].bars()}
    for at, opened, high, low, close, volume in rows[1:]:
        bar = bars[at]
        assert (opened, high, low, close) == (bar.open, bar.high, bar.low, bar.close)
        assert volume == pytest.approx(bar.volume / 10**9)
    dollars = (await get(client, path + "?limit=10"))["data"]["attributes"]["ohlcv_list"]
    for usd, native in zip(dollars, rows, strict=False):
        assert usd[4] / native[4] == pytest.approx(150, rel=0.05)
        assert usd[5] / native[5] == pytest.approx(150, rel=0.05) if native[5] else usd[5] == 0
    assert first["meta"]["base"]["address"] == BONK


async def test_geckoterminal_hours_are_made_of_minutes_and_mistakes_are_told(client: Client, market: Market) -> None:
    """Aggregates align to the epoch; unknown pools are 404."""
    pool = market.world.pools[1]
    base = f"/api/v2/networks/solana/pools/{pool.address}/ohlcv"
    (newest, hour, *_) = (await get(client, base + "/hour?currency=token"))["data"]["attributes"]["ohlcv_list"]
    minutes = (await get(client, base + f"/minute?limit=60&currency=token&before_timestamp={newest[0]}"))["data"][
        "attributes"
    ]
    rows = minutes["ohlcv_list"]
    assert hour[0] % 3600 == 0
    assert (hour[1], hour[4]) == (rows[-1][1], rows[0][4])
    assert (hour[2], hour[3]) == (max(row[2] for row in rows), min(row[3] for row in rows))
    assert hour[5] == pytest.approx(sum(row[5] for row in rows))
    await get(client, f"/api/v2/networks/solana/pools/{UNKNOWN}/ohlcv/minute", status=404)
    await get(client, f"/api/v2/networks/eth/pools/{pool.address}/ohlcv/minute", status=404)
    for wrong in ("aggregate=7", "limit=1001", "currency=eur", "before_timestamp=yesterday"):
        await get(client, base + "/minute?" + wrong, status=400)


async def test_birdeye_prices_and_candles(client: Client, market: Market) -> None:
    """Its own names; unixTime is the candle's start, and the volume counts tokens."""
    price = (await get(client, f"/defi/price?address={BONK}"))["data"]
    assert price["value"] == pytest.approx(2e-5, rel=0.2)
    items = (await get(client, f"/defi/ohlcv?address={BONK}&type=5m"))["data"]["items"]
    assert set(items[0]) == {"o", "h", "l", "c", "v", "unixTime", "address", "type", "currency"}
    assert all(item["unixTime"] % 300 == 0 for item in items)
    since, until = items[-10]["unixTime"], items[-5]["unixTime"]
    history = await get(client, f"/defi/history_price?address={BONK}&type=5m&time_from={since}&time_to={until}")
    assert [item["value"] for item in history["data"]["items"]] == [item["c"] for item in items[-10:-4]]
    assert (await get(client, f"/defi/price?address={Keypair().pubkey()}", status=404))["success"] is False
    assert (await get(client, f"/defi/ohlcv?address={BONK}&type=7m", status=422))["success"] is False


async def test_exact_out_quotes_name_the_most_that_goes_in(client: Client, market: Market) -> None:
    """Amounts change their roles: outAmount is what was asked for, otherAmountThreshold the input plus slippage, rounded up."""
    quote = await get(client, quote_path(amount=5 * 10**11, swapMode="ExactOut", slippageBps=100))
    assert (quote["swapMode"], quote["outAmount"]) == ("ExactOut", str(5 * 10**11))
    assert int(quote["otherAmountThreshold"]) == -(-int(quote["inAmount"]) * 10_100 // 10_000)
    plan = [step["swapInfo"] for step in quote["routePlan"]]
    assert plan[0]["inAmount"] == quote["inAmount"]
    assert int(plan[-1]["outAmount"]) >= 5 * 10**11
    there = await get(client, quote_path(amount=quote["inAmount"]))
    assert int(there["outAmount"]) >= 5 * 10**11
    less = await get(client, quote_path(amount=int(quote["inAmount"]) - 1))
    assert int(less["outAmount"]) < 5 * 10**11
