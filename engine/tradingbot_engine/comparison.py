"""
Ledger against chain at every start and reconnection: by two nodes, or after a while by one, for exits alone.

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

from collections.abc import Callable

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.intents import IntentRecord
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.ledger.port import BotRecord, Ledger
from tradingbot_engine.lifecycle import ONE_NODE, Lifecycle
from tradingbot_engine.recovery import TooFewNodes, compare_with_chain, compare_with_one
from tradingbot_engine.rpc.pool import RpcPool


class Comparison:
    """
    Compares, and remembers for how long only one of several nodes has answered.

    One node may be the one that does not know what an old copy of the ledger has forgotten. So it is heard only after
    `alone_after_s` of the others' silence (a stop loss must not hang on a second provider for hours) and only if its own history is whole, and then nothing is bought: an exit can
    sell no more than the wallet holds, an entry could be made twice. The reason `OneNodeOnly` stands until two nodes agree.
    What ends a trade is proven as ever (`core.proof`): nothing of that is asked of fewer providers here.
    """

    def __init__(
        self, *, ledger: Ledger, rpc: RpcPool, lifecycle: Lifecycle, clock: Clock, alone_after_s: float
    ) -> None:
        self._ledger, self._rpc, self._lifecycle, self._clock = ledger, rpc, lifecycle, clock
        self._alone_after_s = alone_after_s
        self._silent_since_s: float | None = None
        """Since when comparisons have failed for want of a second node; monotonic."""

    async def compare(self, bot: BotRecord) -> None:
        """
        Return once the ledger may be traded on: for everything, or (told as `OneNodeOnly`) for exits.

        Raises:
            LedgerBehindChain: It is an older copy.
            TemporaryError: Too few nodes answer: try again.
        """
        try:
            await self._by_two(bot)
        except TooFewNodes as error:
            if error.alone is None:
                raise
            now_s = self._clock.monotonic_s()
            if self._silent_since_s is None:
                self._silent_since_s = now_s
            if now_s - self._silent_since_s < self._alone_after_s:
                raise
            await compare_with_one(self._ledger, self._rpc, bot, error.alone, now_ms=self._clock.now_ms())
            self._lifecycle.tell(
                ONE_NODE,
                f"{error.alone} alone vouches for the ledger, so positions are left and none is opened "
                f"until a second node agrees: {error}",
            )

    async def again(self) -> None:
        """Look whether a second node agrees by now; nothing to do unless `OneNodeOnly` stands. Raises as `compare` does."""
        if self._lifecycle.has(ONE_NODE):
            await self._by_two(await self._ledger.bot())

    async def _by_two(self, bot: BotRecord) -> None:
        await compare_with_chain(self._ledger, self._rpc, bot)
        self._silent_since_s = None
        self._lifecycle.clear(ONE_NODE)


def entries_wait_for_two(
    lifecycle: Lifecycle, recheck: Callable[[IntentRecord], str | None]
) -> Callable[[IntentRecord], str | None]:
    """Return `recheck`, which says why an attempt must not be made, with the rule that one node is enough for exits alone."""

    def reason(record: IntentRecord) -> str | None:
        if record.intent.purpose is Purpose.ENTRY and lifecycle.has(ONE_NODE):
            return ONE_NODE  # what an old copy of the ledger has forgotten of it, that node may not know either
        return recheck(record)

    return reason
