"""Pools over scripted nodes, for the tests of the pool's protections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from scripted_rpc import Raw, ScriptedNode, serving

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.units import VALID_BLOCKS
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import RpcSettings

BALANCE = {"context": {"slot": 9}, "value": 1}
SLOT, BEHIND = 420_000_000, 21_000_000
"""Where a `Teller` begins, and by how many blocks the height of the chain is less."""


@asynccontextmanager
async def pool_over(
    *nodes: ScriptedNode,
    clock: Any = None,
    endpoint: dict[str, Any] | None = None,
    on_event: Any = None,
    **changes: Any,
) -> AsyncIterator[RpcPool]:
    """Run a pool over the nodes; `changes` are its settings, `endpoint` those of each endpoint."""
    async with serving(*nodes) as endpoints:
        settings = RpcSettings.model_validate(
            {"endpoints": [e.model_copy(update=endpoint or {}) for e in endpoints], **changes}
        )
        async with RpcPool(settings, clock=clock or SystemClock(), slot_s=0.001, on_event=on_event) as pool:
            yield pool


def says(value: Any = BALANCE, *, after_s: float = 0.0) -> ScriptedNode:
    """Return a node with one answer, given late."""

    async def handler(method: str, params: list[Any]) -> Any:
        await asyncio.sleep(after_s)
        return value

    return ScriptedNode(handler)


def hangs() -> ScriptedNode:
    """Return a node that never answers."""
    return says(after_s=3600)


def nothing_left() -> bool:
    """Return whether no hedge is under way."""
    return not any(t.get_name().startswith("rpc: hedge") for t in asyncio.all_tasks())


def breaks(method: str, params: list[Any]) -> Any:
    """Answer 500."""
    raise Raw(500, b"")


class SlotNode(ScriptedNode):
    """A node that stands at a slot."""

    def __init__(self, slot: int = 1000, said: Any = "ok") -> None:
        super().__init__(self._answer)
        self.slot, self.said = slot, said

    def _answer(self, method: str, params: list[Any]) -> Any:
        if isinstance(self.said, Exception):
            raise self.said
        if method == "getEpochInfo":
            return {"absoluteSlot": self.slot - 32, "blockHeight": max(0, self.slot - 60)}
        return self.said if method == "getHealth" else self.slot


class Teller(ScriptedNode):
    """A node at a slot; it tells an L that is `off` blocks off, of a slot that is `ahead`, at heights that are `skewed`."""

    def __init__(self, *, off: int = 0, ahead: int = 0, skewed: int = 0) -> None:
        super().__init__(self._answer)
        self.slot, self.off, self.ahead, self.skewed = SLOT, off, ahead, skewed

    def _answer(self, method: str, params: list[Any]) -> Any:
        height = self.slot - BEHIND + self.skewed
        if method == "getEpochInfo":
            return {"absoluteSlot": self.slot - 32, "blockHeight": height - 32}
        if method == "getLatestBlockhash":
            value = {"blockhash": "b", "lastValidBlockHeight": height + VALID_BLOCKS + self.off + self.ahead}
            return {"context": {"slot": self.slot + self.ahead}, "value": value}
        return "ok" if method == "getHealth" else self.slot


def first_check_hangs(node: SlotNode) -> asyncio.Event:
    """Let a node answer the first question for its genesis when the event is set, and all others at once."""
    plain, holds = node.handler, asyncio.Event()

    async def answer(method: str, params: list[Any]) -> Any:
        if method == "getGenesisHash":
            if node.methods().count(method) == 1:
                await holds.wait()
            return "ours"
        return plain(method, params)

    node.handler = answer
    return holds
