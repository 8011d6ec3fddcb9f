"""
The Jupiter-shaped swap API: quotes, and the instructions of a swap.

Nothing that comes back is believed before it was compared with what was asked. `v1` is quote + swap-instructions, `v2`
is build, which gives both at once.

Source: dev.jup.ag/docs/swap.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import aiohttp
import orjson

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.units import BPS_ONE, Address, Bps, IntentId, Lamports, Mint
from tradingbot_engine.execution.plan import SwapPlan, read_plan
from tradingbot_engine.execution.port import Quote, QuoteRefused, QuoteUnavailable
from tradingbot_engine.rpc.errors import MAX_COOL_OFF_S, retry_after_s
from tradingbot_engine.rpc.wire import is_count, new_session, read_bounded
from tradingbot_engine.settings import SwapSettings

MAX_ANSWER_BYTES = 4 * 1024 * 1024
REFUSALS = frozenset({"TOKEN_NOT_TRADABLE", "NOT_SUPPORTED", "CIRCULAR_ARBITRAGE_IS_DISABLED", "INVALID_REQUEST"})
"""Error codes that asking again cannot change."""
SPOT_DIVISOR = 100
"""Where the API does not state the price impact, a quote for this part of the amount stands for the price at rest."""


class SwapApi:
    """
    One provider of quotes.

    Raises, everywhere: QuoteUnavailable (with `retry_after_s` after a 429), QuoteRefused.
    """

    def __init__(self, settings: SwapSettings, *, clock: Clock, session: aiohttp.ClientSession | None = None) -> None:
        self._base = f"{settings.base_url.rstrip('/')}/swap/{settings.version}"
        self._version = settings.version
        self._headers = {"Content-Type": "application/json"}
        if settings.api_key is not None:
            self._headers["x-api-key"] = settings.api_key.get_secret_value()
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout_s)
        self._clock = clock
        self._session = session
        self._owns_session = session is None
        self._rest_until_s = 0.0

    async def close(self) -> None:
        """Let go of the connections."""
        if self._owns_session and self._session is not None:
            await self._session.close()
            self._session = None

    async def quote(
        self,
        *,
        intent_id: IntentId,
        input_mint: Mint,
        output_mint: Mint,
        amount: int,
        slippage_bps: Bps,
        taker: Address,
        max_accounts: int | None = None,
    ) -> Quote:
        """Return a quote for exactly `amount` base units of `input_mint`."""
        asked = {
            "inputMint": input_mint,
            "outputMint": output_mint,
            "amount": str(amount),
            "slippageBps": str(slippage_bps),
            "swapMode": "ExactIn",
        }
        if max_accounts is not None:
            asked["maxAccounts"] = str(max_accounts)
        if self._version == "v1":
            # Version 2 of the swap instruction has its figures in front, where they can be checked whatever the route is.
            body = await self._request("GET", "/quote", params={**asked, "instructionVersion": "V2"})
        else:
            del asked["swapMode"]
            body = await self._request("GET", "/build", params={**asked, "taker": taker, "wrapAndUnwrapSol": "true"})
        quote = read_quote(
            body,
            intent_id=intent_id,
            input_mint=input_mint,
            output_mint=output_mint,
            amount=amount,
            slippage_bps=slippage_bps,
        )
        if quote.price_impact_bps < 0:
            return replace(quote, price_impact_bps=await self._measure_impact(quote, asked, taker))
        return quote

    async def instructions(
        self, quote: Quote, *, user: Address, level: str, max_priority_fee_lamports: Lamports
    ) -> SwapPlan:
        """Return what has to be executed for the quote; not yet checked against what a trade may do (`check_plan`)."""
        if self._version == "v2":
            return read_plan(quote.raw)
        asked = {
            "quoteResponse": quote.raw,
            "userPublicKey": user,
            "wrapAndUnwrapSol": True,
            "dynamicComputeUnitLimit": True,
            "prioritizationFeeLamports": {
                "priorityLevelWithMaxLamports": {"priorityLevel": level, "maxLamports": max_priority_fee_lamports}
            },
        }
        return read_plan(await self._request("POST", "/swap-instructions", body=asked))

    async def _measure_impact(self, quote: Quote, asked: dict[str, str], taker: Address) -> Bps:
        small = max(1, quote.amount_in // SPOT_DIVISOR)
        body = await self._request("GET", "/build", params={**asked, "amount": str(small), "taker": taker})
        out = _digits(body, "outAmount")
        if out <= 0:
            raise QuoteUnavailable("no price at rest to measure the impact by")
        return max(0, BPS_ONE - quote.amount_out * small * BPS_ONE // (quote.amount_in * out))

    async def _request(
        self, method: str, path: str, *, params: dict[str, str] | None = None, body: Any = None
    ) -> dict[str, Any]:
        rest_s = self._rest_until_s - self._clock.monotonic_s()
        if rest_s > 0:
            raise QuoteUnavailable("the swap API asked to wait", retry_after_s=rest_s)
        if self._session is None:
            self._session = new_session()
        data = None if body is None else orjson.dumps(body)
        try:
            async with self._session.request(
                method,
                self._base + path,
                params=params,
                data=data,
                headers=self._headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as answer:
                raw = await read_bounded(answer, MAX_ANSWER_BYTES)
                status, headers = answer.status, answer.headers
        except TimeoutError as error:
            raise QuoteUnavailable("the swap API did not answer in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise QuoteUnavailable(f"the swap API cannot be reached ({type(error).__name__})") from None
        if status == 429:
            wait_s = retry_after_s(headers, self._clock.now_ms() / 1000)
            wait_s = min(MAX_COOL_OFF_S, 1.0 if wait_s is None else wait_s)
            self._rest_until_s = self._clock.monotonic_s() + wait_s
            raise QuoteUnavailable("the swap API's limit is reached", retry_after_s=wait_s)
        try:
            answered = orjson.loads(raw or b"")
        except orjson.JSONDecodeError:
            answered = None
        if not isinstance(answered, dict):
            raise QuoteUnavailable(f"HTTP {status} without a JSON object")
        _raise_for_error(status, answered)
        return answered


def _raise_for_error(status: int, body: dict[str, Any]) -> None:
    error, code = body.get("error"), body.get("errorCode")
    if status == 200 and not error and not code:
        return
    text = f"{str(error)[:200]} ({code or f'HTTP {status}'})"
    if status in (401, 403):
        raise QuoteRefused(f"ApiKeyRefused: {text}")
    if code in REFUSALS or "not tradable" in str(error):
        raise QuoteRefused(f"NotTradable: {text}")
    raise QuoteUnavailable(text)


def read_quote(
    body: dict[str, Any],
    *,
    intent_id: IntentId,
    input_mint: Mint,
    output_mint: Mint,
    amount: int,
    slippage_bps: Bps,
) -> Quote:
    """
    Read a quote and compare it with what was asked.

    Returns:
        The quote; `price_impact_bps` is -1 if the answer does not state it.

    Raises:
        QuoteUnavailable: Malformed, or an answer to another question.
        QuoteRefused: A fee that we did not agree to.
    """
    if (body.get("inputMint"), body.get("outputMint")) != (input_mint, output_mint):
        raise QuoteUnavailable("the quote is for other mints than asked")
    if _digits(body, "inAmount") != amount:
        raise QuoteUnavailable("the quote is for another amount than asked")
    if body.get("swapMode", "ExactIn") != "ExactIn" or body.get("slippageBps", slippage_bps) != slippage_bps:
        raise QuoteUnavailable("the quote is for another mode or slippage than asked")
    out, least = _digits(body, "outAmount"), _digits(body, "otherAmountThreshold")
    if out <= 0:
        raise QuoteUnavailable("the quote gives nothing")
    if not out * (BPS_ONE - slippage_bps) // BPS_ONE <= least <= out:
        raise QuoteUnavailable("the quote's least amount does not follow from its slippage")
    fee = body.get("platformFee")
    if isinstance(fee, dict) and str(fee.get("amount", "0")) != "0":
        raise QuoteRefused("PlatformFee: the quote takes a fee that was not agreed to")
    slot = body.get("contextSlot", 0)
    if not is_count(slot):
        raise QuoteUnavailable("contextSlot is no slot")
    return Quote(
        intent_id=intent_id,
        amount_in=amount,
        amount_out=out,
        min_amount_out=least,
        price_impact_bps=_impact_bps(body.get("priceImpactPct")),
        context_slot=slot,
        raw=body,
    )


def _digits(body: dict[str, Any], name: str) -> int:
    text = body.get(name)
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 20:
        raise QuoteUnavailable(f"{name} is no amount")
    amount = int(text)
    if not is_count(amount):
        raise QuoteUnavailable(f"{name} is larger than any amount that can be booked")
    return amount


def _impact_bps(value: Any) -> Bps:
    """Despite its name `priceImpactPct` is a fraction; a gain counts as none."""
    if value is None:
        return -1
    try:
        fraction = float(value)
    except (TypeError, ValueError):
        raise QuoteUnavailable("priceImpactPct is no number") from None
    if not math.isfinite(fraction) or fraction > 1:
        raise QuoteUnavailable("priceImpactPct is no fraction")
    return max(0, math.ceil(fraction * BPS_ONE - 1e-9))
