"""
Closing out: how far the sale of all that is held has come, what holds it up, and when it is done.

The wish is in the ledger (`Ledger.close_out`), so that every engine from then on goes on with it and none buys. The sales
themselves are exits like all others: `core.exits` asks for them, and they take the one trade path. Nothing is sent here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from tradingbot_engine.book import Book
from tradingbot_engine.domain.portfolio import Position
from tradingbot_engine.domain.units import IntentId, Mint
from tradingbot_engine.ledger.port import BotRecord, Ledger
from tradingbot_engine.lifecycle import CLOSING_OUT, Lifecycle

_log = structlog.get_logger(__name__)

LISTED = 20
"""Positions that a message and the status name; the numbers tell of all."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is left, as the ledger held it at the last look: positions that are not closed, trades that are not over."""

    positions: Sequence[Position]
    open_intents: int

    @property
    def nothing(self) -> bool:
        return not self.positions and not self.open_intents


class ClosingOut:
    """
    Watches over a bot that is being closed out; `look` again and again.

    Args of the constructor:
        symbols: Names of the tokens, for people.
        trouble_of: Why the last exit of a position came to nothing, "" if none did.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        book: Book,
        lifecycle: Lifecycle,
        symbols: Mapping[Mint, str],
        trouble_of: Callable[[IntentId], str],
    ) -> None:
        self._ledger, self._book, self._lifecycle = ledger, book, lifecycle
        self._symbols, self._trouble_of = symbols, trouble_of
        self._left: Left | None = None
        self.done = asyncio.Event()
        """Set once nothing is held and nothing is open, for as long as the wish stands: then nothing can be again."""

    async def look(self) -> None:
        """Read what is left, and tell."""
        bot = self._book.bot
        if not bot.closing_since_ms:
            self._left = None
            self.done.clear()
            return
        # No entry is claimed once the wish is committed, so that what is gone by this look does not come back.
        left = Left(await self._ledger.positions(), len(await self._ledger.open_intents()))
        before, self._left = self._left, left
        if before is None or len(before.positions) != len(left.positions):
            _log.info("closing out", positions_left=len(left.positions), open_intents=left.open_intents)
        self._lifecycle.tell(CLOSING_OUT, self._in_words(bot, left))
        if left.nothing:
            self.done.set()

    def document(self) -> dict[str, Any] | None:
        """Return how far it is, as status shows it; None for a bot that is not being closed out."""
        bot, left, fatal = self._book.bot, self._left, self._lifecycle.fatal
        if not bot.closing_since_ms:
            return None
        return {
            "since": bot.closing_since_ms,
            "by": bot.closing_by,
            "done": self.done.is_set(),
            "positionsLeft": len(left.positions) if left else None,
            "openIntents": left.open_intents if left else None,
            "stuck": f"{fatal.type}: {fatal.message}" if fatal else None,
            "positions": [
                {
                    "id": p.id,
                    "mint": p.mint,
                    "symbol": self._symbols.get(p.mint, p.mint[:4]),
                    "strategy": p.strategy,
                    "baseUnits": p.held,
                    "exitOpen": p.exit_open,
                    "exitFailures": p.exit_failures,
                    "trouble": self._trouble_of(p.id),
                }
                for p in (left.positions[:LISTED] if left else ())
            ],
        }

    def _in_words(self, bot: BotRecord, left: Left) -> str:
        if left.nothing:
            return f"closed out for {bot.closing_by}: nothing is held any more, and nothing is bought"
        troubles = [
            f"{self._symbols.get(p.mint, p.mint)} of {p.strategy}: {trouble}"
            for p in left.positions[:LISTED]
            if (trouble := self._trouble_of(p.id))
        ]
        told = (
            f"closing out for {bot.closing_by}: {len(left.positions)} positions left, {left.open_intents} trades open"
        )
        return "; ".join([told, *troubles])
