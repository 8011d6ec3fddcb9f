"""The swap API: what is asked, what is believed of the answer, and what an error means."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from execution_cases import BONK, INTENT_ID, OWNER, as_json, intent, quote_body, swap_instruction
from pydantic import SecretStr
from scripted_rpc import RECORDED

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.signals import Purpose, Side
from tradingbot_engine.domain.units import SOL_MINT
from tradingbot_engine.execution.limits import check_fair, check_quote
from tradingbot_engine.execution.port import Quote, QuoteRefused, QuoteUnavailable
from tradingbot_engine.execution.swap import SwapApi, read_quote
from tradingbot_engine.settings import SwapSettings

QUOTES = RECORDED / "fixtures" / "jupiter_quotes.jsonl"
Respond = Callable[[web.Request, Any], web.Response]


@asynccontextmanager
async def api(
    respond: Respond, *, version: Any = "v1", clock: ManualClock | None = None
) -> AsyncIterator[tuple[SwapApi, list[Any]]]:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        seen.append((request.method, request.path, dict(request.query), body, request.headers.get("x-api-key")))
        return respond(request, body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    client = SwapApi(
        SwapSettings(base_url=base, version=version, api_key=SecretStr("sesame")), clock=clock or ManualClock()
    )
    try:
        yield client, seen
    finally:
        await client.close()
        await runner.cleanup()


def answer(body: Any, status: int = 200, **headers: str) -> Respond:
    return lambda request, _: web.Response(
        text=json.dumps(body), status=status, headers=headers, content_type="application/json"
    )


async def ask(client: SwapApi, **changes: Any) -> Quote:
    asked: dict[str, Any] = {
        "intent_id": INTENT_ID,
        "input_mint": SOL_MINT,
        "output_mint": BONK,
        "amount": 1_000_000_000,
        "slippage_bps": 100,
        "taker": str(OWNER),
    }
    return await client.quote(**{**asked, **changes})


async def test_v1_asks_for_a_quote_and_hands_it_back_unchanged_for_instructions() -> None:
    """Whatever the quote holds goes back as it came; the fee is asked for with its limit."""
    raw = quote_body(surprise={"x": 1})
    instructions = {"swapInstruction": as_json(swap_instruction()), "computeBudgetInstructions": []}
    async with api(lambda r, b: answer(raw if r.method == "GET" else instructions)(r, b)) as (client, seen):
        quote = await ask(client, max_accounts=20)
        await client.instructions(quote, user=str(OWNER), level="high", max_priority_fee_lamports=777)
    assert (
        quote.amount_out,
        quote.min_amount_out,
        quote.price_impact_bps,
        quote.context_slot,
    ) == (5_000_000, 4_950_000, 12, 1000)
    (first, second) = seen
    assert (first[0], first[1], first[4]) == ("GET", "/swap/v1/quote", "sesame")
    assert first[2] == {
        "inputMint": SOL_MINT,
        "outputMint": BONK,
        "amount": "1000000000",
        "slippageBps": "100",
        "swapMode": "ExactIn",
        "maxAccounts": "20",
        "instructionVersion": "V2",
    }
    assert second[:2] == ("POST", "/swap/v1/swap-instructions")
    assert raw == second[3]["quoteResponse"]
    assert second[3]["prioritizationFeeLamports"]["priorityLevelWithMaxLamports"]["maxLamports"] == 777
    assert second[3]["wrapAndUnwrapSol"] is True


async def test_v2_gives_quote_and_instructions_in_one_call() -> None:
    """`/build` needs the taker, and is asked once."""
    raw = {**quote_body(), "swapInstruction": as_json(swap_instruction()), "addressesByLookupTableAddress": {}}
    async with api(answer(raw), version="v2") as (client, seen):
        plan = await client.instructions(await ask(client), user=str(OWNER), level="high", max_priority_fee_lamports=1)
    assert [s[:2] for s in seen] == [("GET", "/swap/v2/build")]
    assert str(OWNER) == seen[0][2]["taker"]
    assert plan.lookup_table_addresses == ()


async def test_an_impact_that_is_not_stated_is_measured() -> None:
    """A hundredth of the amount shows the price at rest: 100 for 1 there, 90 for 1 here, is an impact of a tenth."""

    def respond(request: web.Request, body: Any) -> web.Response:
        amount = int(request.query["amount"])
        out = amount * (90 if amount == 1_000_000_000 else 100)
        raw = quote_body(inAmount=str(amount), outAmount=str(out), otherAmountThreshold=str(out))
        del raw["priceImpactPct"]
        return answer(raw)(request, body)

    async with api(respond, version="v2") as (client, _):
        assert (await ask(client)).price_impact_bps == 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"inputMint": BONK},
        {"outputMint": SOL_MINT},
        {"inAmount": "999999999"},
        {"inAmount": 1000000000},
        {"outAmount": "0"},
        {"outAmount": "-5"},
        {"outAmount": str(2**63), "otherAmountThreshold": str(2**63)},
        {"outAmount": "9" * 20, "otherAmountThreshold": "9" * 20},
        {"contextSlot": 2**63},
        {"outAmount": "5e6"},
        {"outAmount": None},
        {"otherAmountThreshold": "4949999"},
        {"otherAmountThreshold": "5000001"},
        {"swapMode": "ExactOut"},
        {"slippageBps": 101},
        {"priceImpactPct": "lots"},
        {"priceImpactPct": "NaN"},
        {"priceImpactPct": 12},
        {"contextSlot": "1000"},
        {"contextSlot": -1},
    ],
)
def test_an_answer_to_another_question_is_not_a_quote(changes: dict[str, Any]) -> None:
    """Each field is compared with what was asked before anything is built from it."""
    with pytest.raises(QuoteUnavailable):
        read_quote(
            quote_body(**changes),
            intent_id=INTENT_ID,
            input_mint=SOL_MINT,
            output_mint=BONK,
            amount=1_000_000_000,
            slippage_bps=100,
        )


def test_a_platform_fee_that_nobody_agreed_to_is_refused() -> None:
    """The price of a swap is the chain's, ours to set."""
    with pytest.raises(QuoteRefused, match="PlatformFee"):
        read_quote(
            quote_body(platformFee={"amount": "5", "feeBps": 1}),
            intent_id=INTENT_ID,
            input_mint=SOL_MINT,
            output_mint=BONK,
            amount=1_000_000_000,
            slippage_bps=100,
        )


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "Could not find any route", "errorCode": "COULD_NOT_FIND_ANY_ROUTE"}, QuoteUnavailable),
        (400, {"error": "Failed to get quotes"}, QuoteUnavailable),
        (400, {"error": "The token x is not tradable", "errorCode": "TOKEN_NOT_TRADABLE"}, QuoteRefused),
        (200, {"error": "AMM was not found"}, QuoteUnavailable),
        (401, {"error": "Unauthorized"}, QuoteRefused),
        (503, {"error": "Upstream failure"}, QuoteUnavailable),
        (502, "<html>", QuoteUnavailable),
        (200, ["not", "an", "object"], QuoteUnavailable),
    ],
)
async def test_errors_say_whether_asking_again_can_help(status: int, body: Any, error: type[Exception]) -> None:
    """No route may be found a moment later; a token that is not traded, or a refused key, will not change by itself."""
    async with api(answer(body, status)) as (client, _):
        with pytest.raises(error) as caught:
            await ask(client)
    assert "sesame" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


async def test_after_a_429_nobody_is_asked_until_the_reset() -> None:
    """x-ratelimit-reset is a moment in unix seconds; the caller learns how long to wait."""
    clock = ManualClock(now_ms=1_000_000_000_000)
    async with api(answer({"error": "slow"}, 429, **{"x-ratelimit-reset": "1000000010"}), clock=clock) as (
        client,
        seen,
    ):
        for _ in range(3):
            with pytest.raises(QuoteUnavailable) as caught:
                await ask(client)
            assert pytest.approx(caught.value.retry_after_s) == 10
        assert len(seen) == 1
        await clock.advance(10.1)
        with pytest.raises(QuoteUnavailable):
            await ask(client)
        assert len(seen) == 2


async def test_an_unreachable_api_is_unavailable_and_its_address_is_not_told() -> None:
    """A lost connection is a reason to ask again."""
    async with api(answer({})) as (client, _):
        pass
    with pytest.raises(QuoteUnavailable) as caught:
        await ask(client)
    assert "127.0.0.1" not in str(caught.value)
    await client.close()


def quote(**changes: Any) -> Quote:
    values: dict[str, Any] = {
        "intent_id": INTENT_ID,
        "amount_in": 1_000_000_000,
        "amount_out": 5_000_000,
        "min_amount_out": 4_950_000,
        "price_impact_bps": 50,
        "context_slot": 1,
        "raw": {},
    }
    return Quote(**{**values, **changes})


def test_a_quote_within_all_limits_passes_and_each_limit_binds() -> None:
    """The last check before signing; an exit is not held back by the pool's depth, but by its slippage it is."""
    check_quote(intent(), quote(), max_price_impact_bps=50)
    with pytest.raises(QuoteRefused, match="PriceImpactTooHigh"):
        check_quote(intent(), quote(price_impact_bps=51), max_price_impact_bps=50)
    with pytest.raises(QuoteRefused, match="SlippageTooHigh"):
        check_quote(intent(), quote(min_amount_out=4_949_999), max_price_impact_bps=50)
    with pytest.raises(QuoteUnavailable):
        check_quote(intent(), quote(amount_in=5), max_price_impact_bps=50)
    exit_intent = intent(purpose=Purpose.EXIT)
    check_quote(exit_intent, quote(price_impact_bps=5000), max_price_impact_bps=50)
    with pytest.raises(QuoteRefused, match="SlippageTooHigh"):
        check_quote(exit_intent, quote(min_amount_out=4_949_999), max_price_impact_bps=50)


@pytest.mark.recorded
@pytest.mark.skipif(not QUOTES.exists(), reason="recorded data is not beside the repository")
def test_recorded_quotes_of_jupiter_are_understood() -> None:
    """Real bodies, as they came over the wire."""
    read = 0
    for line in QUOTES.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        body = json.loads(row["body"]) if isinstance(row["body"], str) else row["body"]
        got = read_quote(
            body,
            intent_id=INTENT_ID,
            input_mint=body["inputMint"],
            output_mint=body["outputMint"],
            amount=int(body["inAmount"]),
            slippage_bps=body["slippageBps"],
        )
        assert int(body["outAmount"]) == got.amount_out
        read += 1
    assert read == 4


def fair(amount_out: int, *, price_now: float | None = None, decimals: int | None = 5, **intended: Any) -> None:
    """Measure an offer for an intent decided at 2e-6 SOL a token of 5 decimals, where 1 SOL buys 50,000,000,000 units."""
    meant = intent(**{"price": 2e-6, "max_slippage_bps": 100, **intended})
    offer = Quote(meant.id, meant.amount_in, amount_out, amount_out, 0, 0, {})
    check_fair(meant, offer, price_now=price_now, base_decimals=decimals, quote_decimals=9, max_price_impact_bps=100)


SALE = {"side": Side.SELL, "purpose": Purpose.EXIT, "amount_in": 50_000_000_000}


def test_an_entry_far_below_the_markets_price_is_refused_whatever_the_quote_says_of_itself() -> None:
    """Slippage and impact limit are all that an entry may lose; the refusal says what was expected and offered."""
    fair(50_000_000_000)
    fair(80_000_000_000)
    fair(49_000_000_000)
    with pytest.raises(QuoteRefused, match=r"PriceUnfair: 48999000000 offered, 48999999951 expected"):
        fair(48_999_000_000)
    with pytest.raises(QuoteRefused, match="PriceUnfair"):
        fair(500_000_000)
    with pytest.raises(QuoteRefused, match="PriceUnfair"):
        fair(500_000_000, price_now=2e-4)  # an entry is measured by its own decision


def test_an_exit_is_measured_by_the_price_now_so_that_a_stop_loss_gets_out_of_a_falling_market() -> None:
    """Sold at 2e-6 it would bring 1 SOL; the market has halved since."""
    fair(790_000_000, **SALE)
    fair(400_000_000, price_now=1e-6, **SALE)
    with pytest.raises(QuoteRefused, match="PriceUnfair"):
        fair(400_000_000, **SALE)
    with pytest.raises(QuoteRefused, match="PriceUnfair"):
        fair(10_000_000, price_now=1e-6, **SALE)
    fair(790_000_000, price_now=1.0, **SALE)  # a feed that errs upwards holds nobody back


def test_each_failed_exit_may_lose_more_but_never_nine_tenths() -> None:
    """The intent's own slippage escalates, and the bound with it."""
    fair(650_000_000, **{**SALE, "max_slippage_bps": 1500})
    with pytest.raises(QuoteRefused, match="PriceUnfair"):
        fair(99_000_000, **{**SALE, "max_slippage_bps": 9900})


def test_what_cannot_be_measured_is_not_bought_but_can_be_sold() -> None:
    """Unknown decimals or no price: nothing to compare with."""
    for unknown in ({"decimals": None}, {"price": 0.0}, {"price": float("nan")}):
        with pytest.raises(QuoteRefused, match="PriceUnknown"):
            fair(50_000_000_000, **unknown)
        fair(1, **{**SALE, **unknown})
