"""
The journal as the driver writes it: each step is one compared move in the ledger, and every doubt means *read again*.

What is answered here is committed. A ledger that is away is waited for, so nothing goes on that is not journalled; one that has
gone back ends trading.

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from tradingbot_engine import crashpoint
from tradingbot_engine.clock import Clock
from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.core.steps import went_back
from tradingbot_engine.domain.intents import Attempt, Fill, IntentRecord
from tradingbot_engine.domain.units import Slot
from tradingbot_engine.errors import LedgerBehindChain, LedgerCorrupt, LedgerUnavailable, PermanentError
from tradingbot_engine.ledger.port import Holding, Ledger, Move, Ownership, Shortage
from tradingbot_engine.logs import timed

_log = structlog.get_logger(__name__)
T = TypeVar("T")
E = IntentEvent

BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""How long to wait before a ledger or a quote that was not there is asked again; the last one repeats."""

_POINT_BEFORE = {E.CONFIRM: "confirmed:before", E.EXPIRE: "expired:before", E.FINALIZE: "done:before"}
_POINT_AFTER = {
    E.SEND: "submitted:after",
    E.CONFIRM: "confirmed:after",
    E.EXPIRE: "expired:after",
    E.FORK: "forked:after",
    E.FINALIZE: "done:after",
    E.FAIL: "failed:after",
    E.ABANDON: "abandoned:after",
}


class Journal:
    """
    Writes the steps of all intents; holds nothing about any.

    Args of the constructor:
        on_step: Told each record after its step was committed.
        on_ledger_away: Told why, once each time the ledger begins to be away for somebody who waits for it.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Clock,
        on_step: Callable[[IntentRecord], None] | None = None,
        on_ledger_away: Callable[[str], None] | None = None,
    ) -> None:
        self._ledger, self._clock, self._on_step, self._on_ledger_away = ledger, clock, on_step, on_ledger_away

    async def move(
        self,
        record: IntentRecord,
        ownership: Ownership,
        event: IntentEvent,
        *,
        new_attempt: Attempt | None = None,
        fill: Fill | None = None,
        failed: Fill | None = None,
        confirmed_slot: Slot | None = None,
        reason: str = "",
        short: Shortage | None = None,
    ) -> IntentRecord:
        """
        Write one move; return the record as it stands afterwards.

        If the compare fails the record is read again: somebody else, or our own commit whose answer was lost, was there
        before. What it says then is the truth to go on from, unless it lacks what was committed already.

        Raises:
            LedgerBehindChain: The ledger went back (a standby some commits behind was promoted).
        """
        move = Move(
            intent_id=record.intent.id,
            state=record.state,
            attempt=record.attempt,
            event=event,
            at_ms=self._clock.now_ms(),
            new_attempt=new_attempt,
            fill=fill,
            failed=failed,
            confirmed_slot=confirmed_slot,
            reason=reason,
            short=short,
        )
        if event in _POINT_BEFORE:
            crashpoint.reached(_POINT_BEFORE[event])
        try:
            with timed(_log, "journal", step=event.value):
                moved = await self._persist(lambda: self._ledger.move(move, ownership=ownership))
        except PermanentError:
            await self.read_again(record)  # if it vanished, that says more than the refusal of the move
            raise
        moved = await self.read_again(record) if moved is None else _not_behind(record, moved)
        if event in _POINT_AFTER:
            crashpoint.reached(_POINT_AFTER[event])
        if self._on_step is not None:
            self._on_step(moved)
        return moved

    async def read_again(self, record: IntentRecord) -> IntentRecord:
        """Return the record as the ledger holds it now. Raises `LedgerBehindChain` if it lacks what `record` holds."""
        return _not_behind(record, await self._persist(lambda: self._ledger.intent(record.intent.id)))

    async def _persist(self, act: Callable[[], Awaitable[T]]) -> T:
        """Repeat until the ledger answers: until then nothing else is done, so nothing is sent that is not journalled."""
        for n in range(1_000_000):
            try:
                return await act()
            except LedgerUnavailable as error:
                _log.warning("the ledger cannot be reached", error=str(error))
                if n == 0 and self._on_ledger_away is not None:
                    self._on_ledger_away(str(error))
                await self._clock.sleep(BACKOFF_S[min(n, len(BACKOFF_S) - 1)])
        raise LedgerUnavailable("the ledger never came back")

    async def holding(self, record: IntentRecord) -> Holding:
        holding = await self._persist(lambda: self._ledger.holding(record.intent.position_id))
        if holding is None:
            raise LedgerCorrupt(f"exit {record.intent.id} has no position {record.intent.position_id}")
        return holding


def _not_behind(known: IntentRecord, now: IntentRecord | None) -> IntentRecord:
    """Return `now`, unless it is from before `known`: what was signed since would be signed a second time."""
    lost = "the intent" if now is None else went_back(known, now)
    if now is None or lost:
        raise LedgerBehindChain(f"intent {known.intent.id}: the ledger does not hold {lost} any more: it went back")
    return now
