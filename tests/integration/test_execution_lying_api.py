"""A swap API that lies: about the price, about what it builds. The wallet signs nothing of it."""

import base64
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from solders.pubkey import Pubkey
from trade_rig import BONK, TradeRig, World, a_bot, a_world, an_intent

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.intents import IntentState
from tradingbot_engine.execution.live import LiveExecutor
from tradingbot_engine.execution.programs import associated_token_account
from tradingbot_engine.execution.signer import KeyFileSigner
from tradingbot_engine.execution.swap import SwapApi
from tradingbot_engine.execution.trade import TradeDriver

pytestmark = pytest.mark.asyncio(loop_scope="module")
Lie = Callable[[dict[str, Any]], None]
DECIMALS = 5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        yield world


class LyingApi(SwapApi):
    """The real API's answers, changed on their way."""

    lie: Lie | None = None

    async def _request(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        body = await super()._request(*args, **kwargs)
        if self.lie is not None:
            self.lie(body)
        return body


def deceive(rig: TradeRig, lie: Lie | None) -> LyingApi:
    """Let the rig trade through an API that lies."""
    clock = SystemClock()
    swap = LyingApi(rig.settings.execution.swap, clock=clock)
    swap.lie = lie
    executor = LiveExecutor(
        swap=swap,
        rpc=rig.pool,
        signer=KeyFileSigner(rig.wallet),
        settings=rig.settings,
        clock=clock,
        decimals={BONK: DECIMALS},
    )
    rig.driver = TradeDriver(
        ledger=rig.ledger,
        executor=executor,
        clock=clock,
        settings=rig.settings.execution,
        genesis_hash=rig.cluster.bank.genesis_hash,
        on_step=rig.steps.append,
        on_send=rig.sent.append,
    )
    return swap


async def price_of(rig: TradeRig) -> float:
    """Return the market's own price, in SOL a token."""
    quote = await rig.executor.quote(an_intent("price"))
    return (quote.amount_in / 1e9) / (quote.amount_out / 10.0**DECIMALS)


def hundredfold_too_low(body: dict[str, Any]) -> None:
    if "outAmount" in body:
        body["outAmount"] = str(int(body["outAmount"]) // 100)
        body["otherAmountThreshold"] = str(int(body["outAmount"]) * 95 // 100)
        body["priceImpactPct"] = "0"


def _swap_data(change: Callable[[int, int], tuple[int, int]]) -> Lie:
    def lie(body: dict[str, Any]) -> None:
        if "swapInstruction" in body:
            _, amount, least = struct.unpack("<BQQ", base64.b64decode(body["swapInstruction"]["data"]))
            changed = struct.pack("<BQQ", 1, *change(amount, least))
            body["swapInstruction"]["data"] = base64.b64encode(changed).decode()

    return lie


def thief_is_paid(body: dict[str, Any]) -> None:
    if "swapInstruction" in body:
        accounts = body["swapInstruction"]["accounts"]
        ours = accounts[-1]
        thief = associated_token_account(Pubkey.new_unique(), Pubkey.from_string(BONK))
        accounts[-1] = {**ours, "pubkey": str(thief)}
        body["setupInstructions"].append(dict(body["setupInstructions"][-1]))  # ours is still made, and still writable


@pytest.mark.parametrize(
    ("reason", "lie"),
    [
        ("PriceUnfair", hundredfold_too_low),
        ("WrongMinimum", _swap_data(lambda amount, least: (amount, 0))),
        ("WrongAmount", _swap_data(lambda amount, least: (2**64 - 1, least))),
        ("ForeignDestination", thief_is_paid),
    ],
)
async def test_a_lie_of_the_swap_api_is_never_signed(world: World, tmp_path: Path, reason: str, lie: Lie) -> None:
    """The intent is given up with a reason that names the lie; the same trade goes through once the API is honest."""
    async with a_bot(world, tmp_path) as rig:
        price = await price_of(rig)
        swap = deceive(rig, lie)
        given_up = await rig.trade(an_intent("lied", price=price))
        assert given_up.state is IntentState.ABANDONED
        assert given_up.reason.startswith(reason)
        assert (given_up.attempts, rig.sent) == ((), [])
        swap.lie = None
        done = await rig.trade(an_intent("honest", price=price))
        assert done.state is IntentState.DONE
        await swap.close()


async def test_told_contents_of_lookup_tables_are_not_used(world: World, tmp_path: Path) -> None:
    """The API swaps two accounts in what it says of its tables; what is signed names what the chain's tables hold."""

    def crossed(body: dict[str, Any]) -> None:
        tables = body.get("addressesByLookupTableAddress")
        for key in tables or {}:
            tables[key] = list(reversed(tables[key]))

    async with a_bot(world, tmp_path) as rig:
        settings = rig.settings.execution
        v2 = settings.model_copy(update={"swap": settings.swap.model_copy(update={"version": "v2"})})
        rig.settings = rig.settings.model_copy(update={"execution": v2})
        price = await price_of(rig)
        swap = deceive(rig, crossed)
        done = await rig.trade(an_intent("tables", price=price))
        assert done.state is IntentState.DONE
        await swap.close()
