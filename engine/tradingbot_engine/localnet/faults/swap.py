"""The faults that the swap, price and history APIs have now."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from tradingbot_engine.localnet.faults.models import (
    SwapDown,
    SwapFault,
    SwapFaultModel,
    SwapHang,
    SwapHtml,
    SwapHttpError,
    SwapLatency,
    SwapLoseAnswer,
    SwapRateLimited,
    SwapStale,
)


@dataclass(frozen=True, slots=True)
class SwapRefusal:
    """What a request meets instead of an answer; `limit` is 429, and `status` goes with the other two."""

    how: Literal["limit", "error", "html", "hang", "reset"]
    status: int = 0


class SwapFaults:
    """Faults by their ids; with none the APIs are healthy."""

    def __init__(self, *, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._faults: dict[str, SwapFault] = {}
        self.served = False
        """Whether there are APIs that can have them."""

    def add(self, fault_id: str, fault: SwapFault) -> None:
        """Switch a fault on."""
        self._faults[fault_id] = fault

    def remove(self, fault_id: str) -> None:
        """Switch a fault off; unknown ids are ignored."""
        self._faults.pop(fault_id, None)

    async def before(self, path: str) -> SwapRefusal | None:
        """What meets a request before it is looked at; waits out latency."""
        for fault in list(self._faults.values()):
            if isinstance(fault, SwapStale | SwapLoseAnswer) or not self._hits(fault, path):
                continue
            if isinstance(fault, SwapLatency):
                extra = self._random.uniform(0, fault.jitter_ms) if fault.jitter_ms else 0.0
                await asyncio.sleep((fault.latency_ms + extra) / 1000)
            else:
                return _refusal(fault)
        return None

    def loses(self, path: str) -> bool:
        """Whether the answer to a request that was done gets lost."""
        return any(isinstance(fault, SwapLoseAnswer) and self._hits(fault, path) for fault in self._faults.values())

    def stale_slots(self, path: str) -> int:
        """How old the reserves are that a request is answered from."""
        ages = [f.slots for f in self._faults.values() if isinstance(f, SwapStale) and self._hits(f, path)]
        return max(ages, default=0)

    def _hits(self, fault: SwapFaultModel, path: str) -> bool:
        if fault.paths and not path.startswith(fault.paths):
            return False
        return fault.probability >= 1 or self._random.random() < fault.probability


def _refusal(fault: SwapRateLimited | SwapHttpError | SwapHtml | SwapHang | SwapDown) -> SwapRefusal:
    if isinstance(fault, SwapRateLimited):
        return SwapRefusal("limit", 429)
    if isinstance(fault, SwapHttpError):
        return SwapRefusal("error", fault.status)
    if isinstance(fault, SwapHtml):
        return SwapRefusal("html", fault.status)
    return SwapRefusal("hang" if isinstance(fault, SwapHang) else "reset")


SWAP_FAULTS = web.AppKey("swap_faults", SwapFaults)
"""Where the application on which the APIs are mounted keeps their faults."""
