"""
Trades that were open when the last engine stopped: each is followed from where it stands, by the code of every trade.

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.intents import IntentRecord
from tradingbot_engine.errors import LedgerUnavailable
from tradingbot_engine.guard import LedgerGuard
from tradingbot_engine.ledger.port import Ledger, Ownership
from tradingbot_engine.lifecycle import RESOLVING, Lifecycle
from tradingbot_engine.trades import Trades

_log = structlog.get_logger(__name__)

_LEDGER_RETRY_S = 1.0
_LOOK_S = 0.1
LONG_RESOLVING_S = 120
"""After so long an open trade has outlived its blockhash; what is missing is a proof."""


class Leftovers:
    """What is open in the ledger of an engine that starts; `resolve` before trading, or `settle` instead of it."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        trades: Trades,
        owned: Mapping[int, Ownership],
        guard: LedgerGuard,
        lifecycle: Lifecycle,
        clock: Clock,
    ) -> None:
        self._ledger, self._trades, self._owned, self._guard = ledger, trades, owned, guard
        self._lifecycle, self._clock = lifecycle, clock

    async def resolve(self) -> None:
        """Follow what was open until it is known whether it landed; the reason RESOLVING stands meanwhile."""
        began_s = self._clock.monotonic_s()
        for record in await self.read():
            self._trades.follow(record, self._owned[record.shard], recovered=True)
        if self._trades.unresolved:
            self._lifecycle.tell(RESOLVING, f"{self._trades.unresolved} trades were open when the last engine stopped")
        while left := self._trades.unresolved:
            since_s = round(self._clock.monotonic_s() - began_s)
            if since_s > LONG_RESOLVING_S:
                self._lifecycle.tell(
                    RESOLVING,
                    f"{left} trades are still open after more than {LONG_RESOLVING_S} s: no proof yet that they landed or "
                    "never can. A proof for an old or large attempt needs as many independent providers as "
                    "execution.expiryProof.providers says; positions can be left meanwhile",
                )
            await self._clock.sleep(_LOOK_S)
        self._lifecycle.clear(RESOLVING)

    async def settle(self) -> None:
        """Follow what is open until nothing is, or a fatal finding ends it; no new attempt is made."""
        while self._lifecycle.fatal is None and (left := await self.read()):
            for record in left:
                self._trades.follow(record, self._owned[record.shard])
            _log.info("settling", open_intents=len(left))
            await self._trades.wait_idle()

    async def read(self) -> Sequence[IntentRecord]:
        """Read what is open; a ledger that is away just now must not end the process, whose next start may be minutes off."""
        while True:
            try:
                return await self._ledger.open_intents()
            except LedgerUnavailable as error:
                self._guard.away(str(error))
                await self._clock.sleep(_LEDGER_RETRY_S)
