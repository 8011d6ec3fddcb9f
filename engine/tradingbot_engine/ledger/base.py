"""The ledger's methods, each one program; the two databases differ only in how a program is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.intents import IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.portfolio import Position, RiskState
from tradingbot_engine.domain.units import BlockHeight, IntentId, Lamports, Mint, QuoteUnits, Slot, UnixMs
from tradingbot_engine.ledger import botrow, claiming, moving, owning, reading, reclaiming, retention, riskrow
from tradingbot_engine.ledger.port import (
    BotRecord,
    ClaimLimits,
    ClaimResult,
    FillRow,
    GuardDue,
    GuardRent,
    Holding,
    Move,
    OutboxRow,
    Ownership,
    Reclaim,
    ReclaimEnd,
    ShardRow,
    TierChange,
)
from tradingbot_engine.ledger.program import Program

T = TypeVar("T")


class ProgramLedger(ABC):
    """Everything of `Ledger` but opening, closing, and running. See the port for what each method promises and raises."""

    shared = False
    """Whether several processes may write it at the same time."""

    def __init__(self, *, clock: Clock, keep_days: int = retention.KEEP_DAYS) -> None:
        self._clock = clock
        self._keep_ms = keep_days * retention.DAY_MS

    @abstractmethod
    async def _write(self, program: Callable[[], Program[T]]) -> T:
        """Run a program in a transaction of its own and return after its commit is durable."""

    @abstractmethod
    async def _read(self, program: Callable[[], Program[T]]) -> T:
        """Run a reading program on one consistent state, which holds every commit that was answered before."""

    async def look(self, program: Callable[[], Program[T]]) -> T:
        """Run a reading program that is not part of the port (checks, reports) on one consistent state."""
        return await self._read(program)

    async def change(self, program: Callable[[], Program[T]]) -> T:
        """Run a writing program that is not part of the port (members), in a transaction of its own; durable when it returns."""
        return await self._write(program)

    # --- the bot's row
    async def adopt_bot(self, wanted: BotRecord, *, risk: RiskState, force: bool = False) -> BotRecord:
        return await self._write(lambda: botrow.adopt_bot(wanted, risk=risk, force=force))

    async def bot(self) -> BotRecord:
        return await self._read(botrow.bot)

    async def set_live(self, *, generation: int, paused: bool, risk_json: str) -> bool:
        return await self._write(lambda: botrow.set_live(generation=generation, paused=paused, risk_json=risk_json))

    async def live_risk(self) -> str:
        return await self._read(botrow.live_risk)

    async def set_latch(self, latched: bool) -> None:
        await self._write(lambda: botrow.set_latch(latched))

    async def close_out(self, *, by: str) -> None:
        at_ms = self._clock.now_ms()
        await self._write(lambda: botrow.close_out(by=by, at_ms=at_ms))

    async def reopen(self) -> None:
        await self._write(botrow.reopen)

    async def set_settled_slot(self, slot: Slot) -> None:
        await self._write(lambda: botrow.set_settled_slot(slot))

    async def observe_wallet(
        self,
        *,
        lamports: Lamports,
        quote: QuoteUnits,
        slot: Slot,
        on_flow: Callable[[RiskState, QuoteUnits], RiskState] | None = None,
    ) -> QuoteUnits | None:
        at_ms = self._clock.now_ms()
        return await self._write(
            lambda: botrow.observe_wallet(lamports=lamports, quote=quote, slot=slot, at_ms=at_ms, on_flow=on_flow)
        )

    # --- ownership
    async def shards(self) -> Sequence[ShardRow]:
        return await self._read(owning.all_shards)

    async def take(self, seen: ShardRow, *, holder: str, now_ms: UnixMs) -> Ownership | None:
        return await self._write(lambda: owning.take(seen, holder=holder, now_ms=now_ms))

    async def release(self, ownership: Ownership, *, now_ms: UnixMs) -> bool:
        return await self._write(lambda: owning.release(ownership, now_ms=now_ms))

    # --- intents
    async def claim(self, intent: OrderIntent, *, ownership: Ownership, limits: ClaimLimits) -> ClaimResult:
        claiming.check_intent(intent)
        return await self._write(lambda: claiming.claim(intent, ownership=ownership, limits=limits))

    async def move(self, move: Move, *, ownership: Ownership) -> IntentRecord | None:
        moving.check_move(move)
        return await self._write(lambda: moving.move(move, ownership=ownership))

    async def intent(self, intent_id: IntentId) -> IntentRecord | None:
        return await self._read(lambda: reading.record_by_id(intent_id))

    async def open_intents(self, shard: int | None = None) -> Sequence[IntentRecord]:
        return await self._read(lambda: reading.open_intents(shard))

    async def holding(self, position_id: IntentId) -> Holding | None:
        return await self._read(lambda: reading.holding(position_id))

    async def intent_counts(self) -> Mapping[IntentState, int]:
        return await self._read(reading.intent_counts)

    # --- the rent of guard accounts
    async def guards_due(
        self, *, ownership: Ownership, height: BlockHeight, since: Slot, limit: int
    ) -> tuple[Sequence[GuardDue], Slot]:
        return await self._read(lambda: reclaiming.guards_due(ownership, height=height, since=since, limit=limit))

    async def guards_gone(self, intents: Sequence[IntentId], *, ownership: Ownership) -> None:
        await self._write(lambda: reclaiming.guards_gone(intents, ownership=ownership))

    async def reclaim(self, wanted: Reclaim, *, ownership: Ownership) -> None:
        await self._write(lambda: reclaiming.reclaim(wanted, ownership=ownership))

    async def open_reclaims(self) -> Sequence[Reclaim]:
        return await self._read(reclaiming.open_reclaims)

    async def reclaim_ended(self, signature: str, end: ReclaimEnd | None, *, ownership: Ownership) -> bool:
        return await self._write(lambda: reclaiming.reclaim_ended(signature, end, ownership=ownership))

    async def guard_rent(self, *, since: Slot, since_ms: UnixMs) -> GuardRent:
        return await self._read(lambda: reclaiming.guard_rent(since, since_ms))

    # --- portfolio and risk
    async def positions(self, *, shard: int | None = None, closed: bool = False) -> Sequence[Position]:
        return await self._read(lambda: reading.positions(shard, closed=closed))

    async def closed_since(self, since_ms: UnixMs) -> Sequence[Position]:
        return await self._read(lambda: reading.closed_since(since_ms))

    async def risk(self) -> RiskState:
        return await self._read(riskrow.risk)

    async def update_risk(
        self, change: Callable[[RiskState], RiskState], *, ownership: Ownership | None, actor: str
    ) -> RiskState:
        at_ms = self._clock.now_ms()
        return await self._write(lambda: riskrow.update_risk(change, ownership=ownership, actor=actor, at_ms=at_ms))

    async def mark(self, *, ownership: Ownership, unrealized: QuoteUnits, at_ms: UnixMs) -> QuoteUnits:
        return await self._write(lambda: riskrow.mark(ownership, unrealized=unrealized, at_ms=at_ms))

    async def tier_changes(self, limit: int = 100) -> Sequence[TierChange]:
        return await self._read(lambda: reading.tier_changes(limit))

    # --- bars
    async def save_bars(self, bars: Sequence[tuple[Mint, Bar]]) -> None:
        if bars:
            await self._write(lambda: riskrow.save_bars(bars))
            await self.forget()  # now and then, and in a transaction of its own

    async def forget(self) -> int:
        before_ms = self._clock.now_ms() - self._keep_ms
        return await self._write(lambda: retention.forget(before_ms))

    async def bars(self, mint: Mint, *, since_ms: UnixMs) -> Sequence[Bar]:
        return await self._read(lambda: reading.bars(mint, since_ms=since_ms))

    # --- side effects and reading
    async def outbox(self, limit: int = 100) -> Sequence[OutboxRow]:
        return await self._read(lambda: reading.outbox(limit))

    async def outbox_done(self, ids: Sequence[int]) -> None:
        if ids:
            await self._write(lambda: riskrow.outbox_done(ids))

    async def fills(self, *, limit: int = 50) -> Sequence[FillRow]:
        return await self._read(lambda: reading.fills(limit))

    async def signatures_known(self, signatures: Sequence[str]) -> set[str]:
        return await self._read(lambda: reading.signatures_known(signatures))
