"""
After the ledger was away it may be an older copy: nothing is signed until it was compared with the chain.

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tradingbot_engine.ledger.port import BotRecord, Ledger
from tradingbot_engine.lifecycle import Lifecycle

AWAY = "LedgerUnavailable"


class LedgerGuard:
    """
    Notices that the ledger was away (an error told to the lifecycle, or a connection made anew) and has it compared.

    `compare` raises LedgerBehindChain if the chain knows a trade that the ledger does not, and a temporary error while too
    few nodes answer.
    """

    def __init__(
        self, *, ledger: Ledger, lifecycle: Lifecycle, compare: Callable[[BotRecord], Awaitable[object]]
    ) -> None:
        self._ledger, self._lifecycle, self._compare = ledger, lifecycle, compare
        self._compared_at = ledger.reconnections()

    def hold(self) -> bool:
        """Whether new signatures must wait; asked again between a journalled signature and its first send."""
        return self._lifecycle.has(AWAY) or self._ledger.reconnections() != self._compared_at

    def away(self, why: str) -> None:
        """Tell that somebody waits for the ledger."""
        self._lifecycle.tell(AWAY, why)

    async def check(self) -> None:
        """Read the ledger; after it was away compare it with the chain, then let trading go on."""
        bot = await self._ledger.bot()
        if not self.hold():
            return
        self._lifecycle.tell(AWAY, "the ledger is back and is being compared with the chain")
        seen = self._ledger.reconnections()
        if not bot.paper:
            await self._compare(bot)
        self._compared_at = seen
        self._lifecycle.clear(AWAY)
