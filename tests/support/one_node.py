"""A comparison of ledger and chain over nodes that a test silences, and the lifecycle that it tells."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from trade_rig import TradeRig

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.comparison import Comparison
from tradingbot_engine.ledger.port import Ledger
from tradingbot_engine.lifecycle import Lifecycle, Phase
from tradingbot_engine.recovery import TooFewNodes
from tradingbot_engine.rpc.pool import RpcPool

ALONE_AFTER_S = 120.0


class Patient(SystemClock):
    """The machine's clock, which a test can set forward."""

    ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


class Scene:
    """A comparison on its way, with the lifecycle that it tells."""

    def __init__(self, rig: TradeRig, rpc: RpcPool, ledger: Ledger | None = None) -> None:
        self.clock = Patient()
        self.lifecycle = Lifecycle(clock=self.clock)
        self.lifecycle.enter(Phase.READY)
        self.ledger = ledger or rig.ledger
        self.comparison = Comparison(
            ledger=self.ledger, rpc=rpc, lifecycle=self.lifecycle, clock=self.clock, alone_after_s=ALONE_AFTER_S
        )

    async def compare(self, *, after_s: float = 0.0) -> None:
        self.clock.ahead_s += after_s
        await self.comparison.compare(await self.ledger.bot())

    async def wait_for_one(self) -> None:
        """Be refused once, and come again when one node may be heard."""
        with pytest.raises(TooFewNodes):
            await self.compare()
        await self.compare(after_s=ALONE_AFTER_S)


def pool(rig: TradeRig, *, names: Any = None) -> RpcPool:
    endpoints = rig.settings.rpc.endpoints if names is None else names
    return RpcPool(endpoints, request_timeout_s=1.0, max_in_flight=16, clock=SystemClock())


def silence(rig: TradeRig, nodes: list[int]) -> None:
    rig.fault(kind="http_error", nodes=nodes, status=503)


@asynccontextmanager
async def a_bad_witness(rig: TradeRig, kind: str) -> AsyncIterator[Scene]:
    """
    Yield a comparison in which only node 1 answers, and is no witness.

    Its history has a `hole` that it denies, or begins too late as after a `snapshot`, or ends too early, so that it is `stale`.
    """
    settled, now = (await rig.ledger.bot()).settled_slot, rig.cluster.bank.slot
    if kind == "hole":
        rig.fault(kind="snapshot", nodes=[1], first_slot=settled + 3, last_slot=settled + 5)
    if kind == "snapshot":
        rig.fault(kind="snapshot", nodes=[1], first_slot=0, last_slot=settled, first_available_block=now)
    silence(rig, [0, 2])
    async with pool(rig) as rpc:
        scene = Scene(rig, rpc)
        if kind == "stale":
            scene.clock.now_ms = lambda: SystemClock().now_ms() + 200_000  # type: ignore[method-assign]
        yield scene
