"""The whole of localnet in one process: a bank, its nodes, and the gateway beside them."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.faults import SWAP_FAULTS, Faults, NodeFaults, SwapFaults
from tradingbot_engine.localnet.gateway import Gateway
from tradingbot_engine.localnet.ports import HOST, free_run, listen
from tradingbot_engine.localnet.rpc.methods import METHODS
from tradingbot_engine.localnet.rpc.node import Node
from tradingbot_engine.localnet.server import NodeServer
from tradingbot_engine.localnet.store import Store

KEEP_SLOTS = 2_000
LEAST_KEEP_SLOTS = 1_000
MAX_BEHIND = 20
"""Slots that the ticker catches up after a stall; more are let go, as if the cluster had stalled."""


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """Where one node listens, and its faults."""

    http_url: str
    websocket_url: str
    faults: NodeFaults
    node: Node


class Cluster:
    """
    N nodes over one bank, and the gateway; an async context manager that listens while it is entered.

    Args:
        nodes: Number of RPC nodes.
        slot_ms: Wall milliseconds per slot, at least 5; 0 for virtual time (`bank.tick()` by hand).
        port: First port; each node takes two (HTTP with websocket, and the websocket again on the next port, where
            JavaScript clients look), then the gateway one. 0 takes free ports.
        host: Address that is listened on; 0.0.0.0 for all, as in a pod.
        state_dir: Where the chain is kept across runs; None keeps it in a temporary directory.
        speed: How many times as fast as the wall the market plays.
        seed: Seed of the probabilities of faults and of skipped slots.
        origin_ms: Market time at the chain's birth, unix milliseconds; now by default.
        audit_node: A node on which faults are refused.
        skip_rate: Share of slots without a block.
        votes: Whether every block holds a transaction of the validator; see `Bank`.
        keep_slots: For how many slots transactions of the validator and of the simulated traders are kept on disk, at
            least `LEAST_KEEP_SLOTS`; None keeps them forever. What others sign is kept forever anyway.
    """

    def __init__(
        self,
        *,
        nodes: int = 3,
        slot_ms: float = 400,
        port: int = 0,
        host: str = HOST,
        state_dir: Path | None = None,
        speed: float = 1.0,
        seed: int = 0,
        origin_ms: int | None = None,
        audit_node: int | None = None,
        skip_rate: float = 0.0,
        votes: bool = True,
        confirm_depth: int = 1,
        finalize_depth: int = 31,
        keep_slots: int | None = KEEP_SLOTS,
    ) -> None:
        if slot_ms and slot_ms < 5:
            raise ValueError("a slot takes at least 5 ms (0 for virtual time)")
        if keep_slots is not None and keep_slots < LEAST_KEEP_SLOTS:
            raise ValueError(f"history is kept for at least {LEAST_KEEP_SLOTS} slots, which nodes answer from memory")
        self.slot_ms = slot_ms
        self.speed = speed
        self.seed = seed
        self._port, self._host = port, host
        self._temporary = tempfile.TemporaryDirectory(prefix="localnet-") if state_dir is None else None
        directory = state_dir if state_dir is not None else Path(self._temporary.name if self._temporary else "")
        self._store = Store(directory / "localnet.sqlite", keep_slots=keep_slots)
        self.bank = Bank(
            ms_per_slot=(slot_ms or 400) * speed,
            origin_ms=origin_ms,
            confirm_depth=confirm_depth,
            finalize_depth=finalize_depth,
            skip_rate=skip_rate,
            seed=seed,
            votes=votes,
            store=self._store,
        )
        faults = [NodeFaults(bank=self.bank, store=self._store, seed=seed * 1000 + i) for i in range(nodes)]
        self._nodes = [Node(index=i, bank=self.bank, store=self._store, faults=f) for i, f in enumerate(faults)]
        self.faults = Faults(
            bank=self.bank,
            nodes=faults,
            methods=[*METHODS, "websocket"],
            audit_node=audit_node,
            swap=SwapFaults(seed=seed),
        )
        self.nodes: list[ClusterNode] = []
        self.gateway = web.Application(client_max_size=1 << 20)
        self.gateway_url = ""
        self.gateway[SWAP_FAULTS] = self.faults.swap
        Gateway(self).mount(self.gateway)
        self._runners: list[web.AppRunner] = []
        self._ticker: asyncio.Task[None] | None = None

    @property
    def store(self) -> Store:
        """The chain's store, also for small values beside the chain."""
        return self._store

    async def __aenter__(self) -> Self:
        if self.bank.slot == self.bank.first_slot:
            # what was written at birth becomes final, and a genesis block that is its own tip is no chain to work on
            self.bank.tick(self.bank.finalize_depth + 2)
        while self.bank.finalized_slot < self.bank.written_slot:  # tokens that were listed after the birth
            self.bank.tick()
        try:
            await self._listen()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        if self.slot_ms:
            self._ticker = asyncio.create_task(self._tick(), name="localnet-ticker")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self._store.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def described(self) -> dict[str, Any]:
        """The line that tells clients where everything is."""
        return {
            "nodes": [{"http": n.http_url, "websocket": n.websocket_url} for n in self.nodes],
            "swap": self.gateway_url,
            "genesis_hash": self.bank.genesis_hash,
        }

    async def failed(self) -> None:
        """Wait until block production stops with an error, and raise it."""
        if self._ticker is not None:
            await asyncio.shield(self._ticker)

    async def _listen(self) -> None:
        for node, (http, websocket) in zip(self._nodes, self._ports(), strict=False):
            runner = await self._run(NodeServer(node).application())
            await listen(runner, http, host=self._host)
            # JavaScript clients look for the websocket one port higher; who else holds that port keeps it
            with contextlib.suppress(OSError):
                await listen(runner, websocket, host=self._host)
            address = f"{self._address}:{http}"
            self.nodes.append(ClusterNode(f"http://{address}", f"ws://{address}", node.faults, node))
        gateway_port = self._ports()[-1][0]
        await listen(await self._run(self.gateway), gateway_port, host=self._host)
        self.gateway_url = f"http://{self._address}:{gateway_port}"

    @property
    def _address(self) -> str:
        """How this machine itself reaches what listens."""
        return HOST if self._host == "0.0.0.0" else self._host  # noqa: S104  # compared, not bound

    def _ports(self) -> list[tuple[int, int]]:
        count = len(self._nodes) + 1
        known = None if self._port else self._store.recall("ports")
        if isinstance(known, list) and len(known) == count:
            return [(int(a), int(b)) for a, b in known]
        first = self._port or free_run(2 * count)
        pairs = [(first + 2 * i, first + 2 * i + 1) for i in range(count)]
        if not self._port:
            self._store.remember("ports", pairs)
        return pairs

    async def _run(self, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        self._runners.append(runner)
        return runner

    async def _tick(self) -> None:
        interval = self.slot_ms / 1000
        due = time.monotonic() + interval
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due = max(due + interval, time.monotonic() - MAX_BEHIND * interval)
            if not self.bank.halted:
                self.bank.tick()
