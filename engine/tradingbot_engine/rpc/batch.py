"""Small reads to one endpoint that begin at one moment, in one HTTP request (a JSON-RPC batch)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tradingbot_engine.rpc.errors import Verdict
from tradingbot_engine.rpc.wire import Post, Result, fault, parse, read

Outcome = Result | Verdict

REFUSING = frozenset({200, 400, 401, 403, 405, 413, 422, 501})
"""Statuses with which batches as such are refused: plans that hold none answer 403. If it is the key, one call alone shows it."""


@dataclass(slots=True)
class _Batch:
    """What is gathered for one HTTP request: id → (body, whoever waits for its answer)."""

    members: dict[int, tuple[bytes, asyncio.Future[Outcome | None]]] = field(default_factory=dict)
    timer: asyncio.Handle | None = None


class Batcher:
    """
    Gathers what is asked of one endpoint within one turn of the event loop.

    Providers count each member as a request, so the pool's limits hold for each by itself. Where the provider refuses
    batches, it is never sent another, and what was in the batch is sent one by one.
    """

    def __init__(
        self, name: str, *, size: int, post: Callable[[bytes], Awaitable[Post | Verdict]], now_ms: Callable[[], int]
    ) -> None:
        self._name, self._size, self._post, self._now_ms = name, size, post, now_ms
        self._gathering = _Batch()
        self._under_way: set[asyncio.Task[None]] = set()
        self.refused = False
        """Whether the provider has shown that it takes no batches."""
        self.sent = 0
        """Batches of two and more."""

    async def ask(self, request_id: int, body: bytes) -> Outcome | None:
        """Return the answer to one request; None if it has to be sent by itself."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outcome | None] = loop.create_future()
        batch = self._gathering
        batch.members[request_id] = (body, answer)
        if len(batch.members) >= self._size:
            self._close_batch()
        elif batch.timer is None:
            batch.timer = loop.call_soon(self._close_batch)
        try:
            return await answer
        finally:
            batch.members.pop(request_id, None)  # whoever gave up before it was sent is not asked for

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close_batch(self) -> None:
        batch, self._gathering = self._gathering, _Batch()
        if batch.timer is not None:
            batch.timer.cancel()
        if len(batch.members) == 1:
            for _, answer in batch.members.values():
                _tell(answer, None)  # alone it needs no batch
            return
        if batch.members:
            task = asyncio.create_task(self._send(batch), name=f"rpc: batch to {self._name}")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _send(self, batch: _Batch) -> None:
        members = dict(batch.members)
        try:
            self.sent += 1
            came = await self._post(b"[" + b",".join(body for body, _ in members.values()) + b"]")
            if isinstance(came, Verdict):
                for _, answer in members.values():
                    _tell(answer, came)
                return
            self._hand_out(members, came)
        finally:
            for _, answer in members.values():
                _tell(answer, fault(self._name, "the pool is closed"))

    def _hand_out(self, members: dict[int, tuple[bytes, asyncio.Future[Outcome | None]]], came: Post) -> None:
        answered = parse(came.raw)
        if not isinstance(answered, list):
            if came.status in REFUSING and _is_refusal(answered):
                self.refused = True
                for _, answer in members.values():
                    _tell(answer, None)
                return
            for request_id, (_, answer) in members.items():
                _tell(answer, read(answered, came, provider=self._name, request_id=request_id, now_ms=self._now_ms))
            return
        by_id = {item["id"]: item for item in answered if isinstance(item, dict) and isinstance(item.get("id"), int)}
        for request_id, (_, answer) in members.items():
            item = by_id.get(request_id)
            if item is None:
                _tell(answer, fault(self._name, "the batch holds no answer to this question"))
            else:
                _tell(answer, read(item, came, provider=self._name, request_id=request_id, now_ms=self._now_ms))


def _is_refusal(answered: Any) -> bool:
    """Return whether a batch was answered with one error about requests as such: invalid, unknown, not allowed."""
    if answered is None:
        return True  # 4xx with a page, or 200 with nothing: this way is no way
    complaint = answered.get("error", answered) if isinstance(answered, dict) else None
    code = complaint.get("code") if isinstance(complaint, dict) else None
    return code in (-32600, -32601, -32602, -32700, -32403, 403, None)


def _tell(answer: asyncio.Future[Outcome | None], outcome: Outcome | None) -> None:
    if not answer.done():
        answer.set_result(outcome)
