"""An executor whose quotes are timed: what the swap API takes is no part of the engine's own latency."""

from __future__ import annotations

import time
from typing import Any

from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.execution.port import Executor, Quote


class TimedQuotes:
    """Passes everything on to the real executor, and remembers how long each quote took."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self.seconds: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def quote(self, intent: OrderIntent) -> Quote:
        began = time.perf_counter()
        try:
            return await self._inner.quote(intent)
        finally:
            self.seconds[intent.id] = self.seconds.get(intent.id, 0.0) + time.perf_counter() - began
