"""The faults that one node has now, and what they make of its view and its answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.chain import Branch
from tradingbot_engine.localnet.deadfork import DeadForkView
from tradingbot_engine.localnet.faults.models import (
    DeadFork,
    DelaySend,
    DoubleSend,
    Down,
    DropSend,
    Hang,
    HtmlBody,
    HttpError,
    Lag,
    Latency,
    LoseAnswer,
    MethodFaultModel,
    NodeFault,
    NodeUnhealthy,
    RateLimited,
    Snapshot,
    StatusBlind,
    WrongGenesis,
)
from tradingbot_engine.localnet.rpc.errors import unhealthy
from tradingbot_engine.localnet.store import Store
from tradingbot_engine.localnet.view import Hole, LiveView, View

HEALTHY_DISTANCE = 128
"""Slots behind the tip from which on a validator calls itself unhealthy."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer in place of the node's own; status 0 resets the connection, -1 never answers."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    retry_after: str | None = None


RESET = Refusal(0)
HANG = Refusal(-1)


class NodeFaults:
    """One node's faults by their ids; with none it is a plain, healthy node on the live chain."""

    def __init__(self, *, bank: Bank, store: Store | None, seed: int) -> None:
        self._bank = bank
        self._store = store
        self._random = random.Random(seed)
        self._faults: dict[str, NodeFault] = {}
        self._dead: dict[str, DeadForkView] = {}
        self._later: list[tuple[int, VersionedTransaction]] = []
        self.view: View = LiveView(bank, store)
        self.status_blind = False
        self.genesis_hash = bank.genesis_hash
        bank.on_slot(self._send_later)

    # -- switching ----------------------------------------------------------------------------------------------------

    def add(self, fault_id: str, fault: NodeFault, branch: Branch | None = None) -> None:
        """Switch a fault on; `branch` is where a dead fork goes on, if a fork of the bank made it."""
        if isinstance(fault, DeadFork):
            self._dead[fault_id] = DeadForkView(self._bank, self._store, branch)
        if isinstance(fault, Snapshot) and fault.last_slots is not None:
            tip = self._bank.slot
            fault = fault.model_copy(
                update={"first_slot": tip - fault.last_slots + 1, "last_slot": tip, "last_slots": None}
            )
        self._faults[fault_id] = fault
        self._apply()

    def remove(self, fault_id: str) -> None:
        """Switch a fault off; unknown ids are ignored."""
        self._faults.pop(fault_id, None)
        dead = self._dead.pop(fault_id, None)
        if dead is not None:
            dead.close()
        self._apply()

    def _apply(self) -> None:
        faults = list(self._faults.values())
        self.status_blind = any(isinstance(f, StatusBlind) for f in faults)
        wrong = [f.genesis_hash for f in faults if isinstance(f, WrongGenesis)]
        self.genesis_hash = wrong[-1] if wrong else self._bank.genesis_hash
        if self._dead:
            self.view = list(self._dead.values())[-1]
            return
        snapshots = [f for f in faults if isinstance(f, Snapshot)]
        firsts = [f.first_available_block for f in snapshots if f.first_available_block is not None]
        self.view = LiveView(
            self._bank,
            self._store,
            lag=self._lag(),
            holes=[Hole(f.first_slot or 0, f.last_slot or 0) for f in snapshots],
            first_block=max(firsts, default=None),
        )

    def _lag(self) -> int:
        return max((f.slots for f in self._faults.values() if isinstance(f, Lag)), default=0)

    # -- what the methods ask -----------------------------------------------------------------------------------------

    def check_health(self) -> None:
        """Raise -32005 if the node knows that it is behind."""
        for fault in self._faults.values():
            if isinstance(fault, NodeUnhealthy):
                raise unhealthy(fault.slots_behind)
        if self._lag() > HEALTHY_DISTANCE:
            raise unhealthy(self._lag())

    def send(self, transaction: VersionedTransaction, *, verified: bool) -> None:
        """Pass a transaction on to the leaders, or not."""
        delay = 0
        for fault in self._faults.values():
            if not isinstance(fault, DropSend | DoubleSend | DelaySend) or not self._meets(fault.probability):
                continue
            if isinstance(fault, DropSend):
                return
            if isinstance(fault, DelaySend):
                delay = max(delay, fault.delay_slots)
            else:
                self._later.append((self._bank.number + 1 + fault.delay_slots, transaction))
        self._bank.submit(transaction, delay_slots=delay, verified=verified)

    def _send_later(self, _slot: int) -> None:
        due = [transaction for number, transaction in self._later if number <= self._bank.number]
        if due:
            self._later = [(number, tx) for number, tx in self._later if number > self._bank.number]
            for transaction in due:
                self._bank.submit(transaction)

    # -- what the server asks -----------------------------------------------------------------------------------------

    async def before(self, methods: Collection[str]) -> Refusal | None:
        """What meets a request before the node sees it; waits out latency."""
        if not self._faults:
            return None
        for fault in list(self._faults.values()):
            if not isinstance(fault, MethodFaultModel) or not self._hits(fault, methods):
                continue
            if isinstance(fault, Latency):
                extra = self._random.uniform(0, fault.jitter_ms) if fault.jitter_ms else 0.0
                await asyncio.sleep((fault.latency_ms + extra) / 1000)
            elif isinstance(fault, Hang):
                return HANG
            elif isinstance(fault, Down):
                return RESET
            elif isinstance(fault, RateLimited):
                return _too_many(fault.retry_after_s)
            elif isinstance(fault, HttpError):
                return Refusal(fault.status, b"upstream request failed\n")
            elif isinstance(fault, HtmlBody):
                page = b"<html><head><title>Bad gateway</title></head><body>nginx</body></html>"
                return Refusal(fault.status, page, "text/html")
        return None

    @property
    def websocket(self) -> Literal["open", "silent", "closed"]:
        """What open websockets meet: nothing, silence while the node hangs, or their end when it is down."""
        for fault in self._faults.values():
            if isinstance(fault, Hang | Down) and (not fault.methods or "websocket" in fault.methods):
                return "silent" if isinstance(fault, Hang) else "closed"
        return "open"

    def check_method(self, method: str) -> None:
        """Raise -32005 for the methods that an unhealthy node refuses."""
        for fault in self._faults.values():
            if isinstance(fault, NodeUnhealthy) and method in fault.methods and self._meets(fault.probability):
                raise unhealthy(fault.slots_behind)

    def after(self, methods: Collection[str]) -> Literal["reset", "hang"] | None:
        """How the answer gets lost, if it does."""
        for fault in self._faults.values():
            if isinstance(fault, LoseAnswer) and self._hits(fault, methods):
                return fault.how
        return None

    def _hits(self, fault: MethodFaultModel, methods: Collection[str]) -> bool:
        return (not fault.methods or any(m in fault.methods for m in methods)) and self._meets(fault.probability)

    def _meets(self, probability: float) -> bool:
        return probability >= 1 or self._random.random() < probability


def _too_many(retry_after_s: float | None) -> Refusal:
    body = b'{"jsonrpc":"2.0","error":{"code":429,"message":"Too many requests for a specific RPC call"},"id":1}'
    retry = f"{retry_after_s:g}" if retry_after_s is not None else None
    return Refusal(429, body, "application/json", retry)
