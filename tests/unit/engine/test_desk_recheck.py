"""A further attempt of an entry meets the risk of now, not that of its signal."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.desk import Desk
from tradingbot_engine.domain.intents import IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.portfolio import RiskState, Tier
from tradingbot_engine.domain.signals import Priority, Purpose, Side
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.market.port import FeedHealth, TokenHealth
from tradingbot_engine.settings import EngineSettings

MINT = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
ENTRY = OrderIntent(
    "a" * 32,
    "m",
    MINT,
    Side.BUY,
    Purpose.ENTRY,
    Priority.NORMAL,
    "a" * 32,
    10**9,
    10**9,
    5000,
    100,
    1000,
    0,
    0,
    1.0,
    "why",
)
RISK = RiskState(capital=10**10, equity_start=10**10, equity=10**10, peak=10**10, day="2026-01-01", day_start=10**10)


def desk(
    *,
    tier: Tier = Tier.NORMAL,
    paused: bool = False,
    closing: int = 0,
    price: float | None = 1.0,
    stale: bool = False,
) -> Desk:
    settings = EngineSettings.model_validate(
        {
            "bot": {"name": "b"},
            "wallet": {"address": MINT},
            "rpc": {"endpoints": [{"name": "a", "url": "http://127.0.0.1:1"}]},
            "market": {"tokens": [{"mint": MINT}]},
            "strategies": [{"name": "m", "type": "momentum_5m"}],
            "ledger": {"sqlite_path": "x"},
        }
    )
    view = TokenHealth(MINT, price=price, stale=stale)
    feed = SimpleNamespace(health=lambda: FeedHealth(0, 0, False, "n", {MINT: view}))
    book = SimpleNamespace(
        risk=replace(RISK, tier=tier), bot=SimpleNamespace(paused=paused, latch=False, closing_since_ms=closing)
    )
    return Desk(
        settings=settings,
        tokens=[Token(MINT, "B", 5)],
        book=book,  # type: ignore[arg-type]
        live=SimpleNamespace(risk=settings.risk),  # type: ignore[arg-type]
        feed=feed,  # type: ignore[arg-type]
        tally=SimpleNamespace(),  # type: ignore[arg-type]
        clock=ManualClock(),
    )


def record(purpose: Purpose = Purpose.ENTRY) -> IntentRecord:
    return IntentRecord(replace(ENTRY, purpose=purpose), 0, 1, IntentState.EXPIRED, 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"tier": Tier.WARNING}, None),
        ({"tier": Tier.HALT}, "Halted"),
        ({"tier": Tier.EMERGENCY}, "Halted"),
        ({"paused": True}, "Paused"),
        ({"closing": 5}, "ClosingOut"),
        ({"stale": True}, "StaleMarketData"),
        ({"price": None}, "StaleMarketData"),
        ({"price": 1.0099}, None),
        ({"price": 1.0101}, "PriceMoved"),
        ({"price": 0.5}, None),
    ],
)
def test_an_entry_is_tried_again_only_if_it_would_be_approved_now(changes, reason):
    """Its signal may be a minute old: the tier, a pause, a silent feed or the price may speak against it."""
    assert desk(**changes).recheck(record()) == reason


def test_an_exit_may_always_be_tried_again():
    assert desk(tier=Tier.EMERGENCY, paused=True, closing=5, stale=True).recheck(record(Purpose.EXIT)) is None
