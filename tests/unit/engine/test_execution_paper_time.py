"""Paper trades are dated as real ones are: by the block that they would have landed in."""

from pathlib import Path
from typing import Any, cast

import pytest
from execution_cases import BONK, OWNER, intent
from pydantic import SecretStr

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.intents import IntentRecord, IntentState
from tradingbot_engine.execution.paper import PaperExecutor
from tradingbot_engine.execution.port import Quote
from tradingbot_engine.execution.swap import SwapApi
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import (
    BotSettings,
    EndpointSettings,
    EngineSettings,
    EventTimeSettings,
    LedgerSettings,
    MarketSettings,
    RpcSettings,
    StrategySettings,
    TokenSettings,
    WalletSettings,
)

NOW_MS = 1_800_000_000_000
MARKET = EventTimeSettings(origin_slot=1_000, origin_ms=1_700_000_000_000, ms_per_slot=24_000)


@pytest.mark.parametrize(
    ("market", "expected_ms"),
    [(MARKET, 1_700_000_000_000 + 4 * 24_000), (None, NOW_MS + 450)],
    ids=["localnet-by-slot", "elsewhere-by-the-wall"],
)
async def test_a_paper_fill_stands_in_market_time(market: EventTimeSettings | None, expected_ms: int):
    """Quoted at slot 1,002, landed 450 ms (two slots) later: where the market plays faster than the wall, so does the fill."""
    settings = EngineSettings(
        bot=BotSettings(name="paper"),
        wallet=WalletSettings(address=str(OWNER)),
        rpc=RpcSettings(endpoints=(EndpointSettings(name="n", url=SecretStr("http://127.0.0.1:9")),)),
        market=MarketSettings(tokens=(TokenSettings(mint=BONK),), event_time=market),
        strategies=(StrategySettings(name="m", type="momentum_5m"),),
        ledger=LedgerSettings(sqlite_path=Path("unused.sqlite")),
    )
    settings = settings.model_copy(
        update={"execution": settings.execution.model_copy(update={"paper_latency_ms": 450})}
    )
    clock = ManualClock(now_ms=NOW_MS)
    swap = SwapApi(settings.execution.swap, clock=clock)
    nobody = cast(RpcPool, None)  # a quote that names its slot asks no node
    executor = PaperExecutor(swap=swap, rpc=nobody, settings=settings, clock=clock)
    raw: dict[str, Any] = {}
    quote = Quote("q", amount_in=10, amount_out=20, min_amount_out=19, price_impact_bps=0, context_slot=1_002, raw=raw)
    claimed = IntentRecord(intent(), 0, 1, IntentState.INTENT, 0, (), updated_at_ms=0)
    attempt = await executor.prepare(claimed, quote, epoch=1, now_ms=NOW_MS)
    signed = IntentRecord(intent(), 0, 1, IntentState.SIGNED, 1, (attempt,), updated_at_ms=0)
    assert await executor.fill(signed, finalized=False) is None, "it lands by the wall, after its latency"
    await clock.advance(0.5)
    fill = await executor.fill(signed, finalized=True)
    assert fill is not None
    assert (fill.block_time_ms, fill.slot) == (expected_ms, 1_004)
    await swap.close()
