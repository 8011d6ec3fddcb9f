"""The steps between taking the shards and the first signal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.engine import Engine
from tradingbot_engine.errors import LedgerUnavailable
from tradingbot_engine.settings import EngineSettings

KEY = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"


async def test_a_ledger_that_is_away_while_open_trades_are_read_is_waited_for(tmp_path: Path) -> None:
    """The process would end else, and where restarts are held back, stop losses with it for minutes."""
    settings = EngineSettings.model_validate(
        {
            "bot": {"name": "first", "mode": "Paper"},
            "wallet": {"address": KEY},
            "rpc": {"endpoints": [{"name": "a", "url": "http://127.0.0.1:1"}]},
            "market": {"tokens": [{"mint": KEY}]},
            "strategies": [{"name": "m", "type": "momentum_5m"}],
            "ledger": {"sqlite_path": tmp_path / "ledger.db"},
        }
    )
    clock = ManualClock()
    answers: list[Any] = [LedgerUnavailable("failing over"), LedgerUnavailable("failing over"), ["a record"]]
    told: list[str] = []

    async def open_intents() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    wired: Any = SimpleNamespace(
        outside=SimpleNamespace(ledger=SimpleNamespace(open_intents=open_intents)),
        guard=SimpleNamespace(away=told.append),
    )
    reading = asyncio.create_task(Engine(settings=settings, clock=clock)._left_open(wired))
    async with asyncio.timeout(5):
        while not reading.done():
            await clock.advance(1.0)
            await asyncio.sleep(0)
    assert await reading == ["a record"]
    assert told == ["failing over"] * 2, "nothing is signed until ledger and chain were compared"
