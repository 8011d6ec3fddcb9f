"""
The ledger's book, mirrored: positions and risk, for the core to decide with and for people to see.

The ledger stays the only truth: whatever changes there is read back and told to the core as an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tradingbot_engine.domain.events import BookEvent, CloseOutChanged, PositionChanged, RiskChanged
from tradingbot_engine.domain.portfolio import Position, PositionState, RiskState
from tradingbot_engine.domain.units import IntentId, Mint, UnixMs
from tradingbot_engine.ledger.port import BotRecord, GuardRent, Ledger


class Book:
    """
    Positions that are not closed, the risk row and the bot's row, as last read.

    `emit` receives a `PositionChanged`, `RiskChanged` or `CloseOutChanged` for each difference; `event_time` stamps them.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        bot: BotRecord,
        risk: RiskState,
        emit: Callable[[BookEvent], None],
        event_time_ms: Callable[[], UnixMs],
    ) -> None:
        self._ledger = ledger
        self._emit = emit
        self._event_time_ms = event_time_ms
        self.bot = bot
        self.risk = risk
        self.positions: dict[IntentId, Position] = {}
        self.rent: GuardRent | None = None
        """Where the rent of guard accounts stands, as last looked; None before, and for bots without guards."""
        self._refreshing = asyncio.Lock()
        self._asked = self._answered = 0

    def position(self, position_id: IntentId | None) -> Position | None:
        return self.positions.get(position_id) if position_id else None

    def positions_of(self, mint: Mint) -> list[Position]:
        return [p for p in self.positions.values() if p.mint == mint]

    async def refresh(self) -> None:
        """
        Read positions again and tell what moved; one that is no longer there was closed.

        Those who wait for their turn share the next reading, since it begins after each of them asked.
        """
        self._asked += 1
        mine = self._asked
        async with self._refreshing:  # two readers side by side could put an older reading over a newer one
            if self._answered >= mine:
                return
            asked = self._asked
            await self._refresh()
            self._answered = asked

    async def _refresh(self) -> None:
        rows = {p.id: p for p in await self._ledger.positions()}
        before, self.positions = self.positions, rows
        for position in rows.values():
            if before.get(position.id) != position:
                self._emit(PositionChanged(position))
        for gone in before.keys() - rows.keys():
            old = before[gone]
            self._emit(
                PositionChanged(
                    Position(
                        id=old.id,
                        strategy=old.strategy,
                        mint=old.mint,
                        state=PositionState.CLOSED,
                        bought=old.bought,
                        sold=old.bought,
                        cost=old.cost,
                        proceeds=old.proceeds,
                        opened_at_ms=old.opened_at_ms,
                        entry_price=old.entry_price,
                    )
                )
            )

    def take_risk(self, risk: RiskState) -> None:
        """Replace the risk row by what the ledger holds now."""
        changed, self.risk = risk != self.risk, risk
        if changed:
            self._emit(RiskChanged(self._event_time_ms(), risk))

    async def refresh_bot(self) -> None:
        """Read the bot's row again (pause, latch, closing out, wallet balance)."""
        before, self.bot = self.bot, await self._ledger.bot()
        if self.bot.closing_since_ms != before.closing_since_ms:
            self._emit(CloseOutChanged(self._event_time_ms(), self.bot.closing_since_ms))
