"""
Trades in flight: one task each, from a claimed or recovered intent to its end.

A fresh intent and one found open after a crash are followed by the same driver; the difference is only where they stand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog

from tradingbot_engine.book import Book
from tradingbot_engine.clock import Clock
from tradingbot_engine.core.intents import LIVE, TERMINAL
from tradingbot_engine.domain.events import SignalSettled
from tradingbot_engine.domain.intents import IntentRecord, IntentState
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.domain.units import IntentId
from tradingbot_engine.errors import FatalError, Fenced, LedgerUnavailable
from tradingbot_engine.execution.sizing import SHORT
from tradingbot_engine.execution.trade import TradeDriver
from tradingbot_engine.ledger.port import Ownership
from tradingbot_engine.ledger.shortage import OVERSOLD
from tradingbot_engine.lifecycle import Lifecycle, Phase
from tradingbot_engine.tally import Tally
from tradingbot_engine.tracing import TRADE

_log = structlog.get_logger(__name__)


class Trades:
    """The tasks that follow intents; bounded by the ledger's limit of open intents."""

    def __init__(
        self,
        *,
        driver_with: Callable[[Callable[[IntentRecord], None]], TradeDriver],
        book: Book,
        lifecycle: Lifecycle,
        tally: Tally,
        emit: Callable[[SignalSettled], None],
        clock: Clock,
    ) -> None:
        self._driver = driver_with(self.stepped)
        self._book, self._lifecycle, self._tally, self._emit = book, lifecycle, tally, emit
        self._clock = clock
        self._tasks: dict[IntentId, asyncio.Task[None]] = {}
        self._records: dict[IntentId, IntentRecord] = {}
        """Each followed trade as it was last seen."""
        self._decided_s: dict[IntentId, float] = {}
        """When each was decided, on the monotonic clock: the wall clock may be set while it is followed."""
        self._unresolved: set[IntentId] = set()
        self._strays: set[IntentId] = set()
        self._claiming: set[IntentId] = set()
        self._unanswered: set[IntentId] = set()
        """Claims that ended without an answer: the ledger may have carried them out, or may yet."""
        self._unanswered_before: set[IntentId] = set()
        self._faulty: set[IntentId] = set()
        """Trades whose task ended by a fault: the next start resolves them."""
        self._stepped = asyncio.Event()

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def perhaps_open(self) -> int:
        """How many intents are open in the ledger at most, as far as this can be known without asking it."""
        return len(self._tasks.keys() | self._claiming | self._unanswered | self._faulty)

    @contextmanager
    def claiming(self, intent_id: IntentId) -> Iterator[None]:
        """Around a claim: until it is answered, the ledger may hold an open intent that no task follows."""
        self._claiming.add(intent_id)
        try:
            yield
        except LedgerUnavailable:
            self._unanswered.add(intent_id)
            raise
        finally:
            self._claiming.discard(intent_id)

    def oldest_ms(self) -> int:
        """Return how long ago the oldest trade in flight was decided; 0 without any."""
        return round((self._clock.monotonic_s() - min(self._decided_s.values())) * 1000) if self._decided_s else 0

    @property
    def exits_unsent(self) -> int:
        """How many exits are claimed and have no attempt alive."""
        return sum(
            r.intent.purpose is Purpose.EXIT and r.state not in LIVE and r.state not in TERMINAL
            for r in self._records.values()
        )

    @property
    def unresolved(self) -> int:
        """How many recovered intents still have to show whether their attempt landed."""
        return len(self._unresolved)

    def follow(self, record: IntentRecord, ownership: Ownership, *, recovered: bool = False) -> None:
        """Start (once) the task that drives `record` to its end."""
        if record.intent.id in self._tasks:
            return
        if recovered and record.state is not IntentState.CONFIRMED:
            self._unresolved.add(record.intent.id)
        task = asyncio.create_task(self._run(record, ownership), name=f"trade-{record.intent.id[:8]}")
        self._tasks[record.intent.id] = task
        self._records[record.intent.id] = record
        age_ms = max(
            0, self._clock.now_ms() - record.intent.created_at_ms
        )  # of what an earlier process began: by the wall
        self._decided_s[record.intent.id] = self._clock.monotonic_s() - age_ms / 1000
        task.add_done_callback(lambda _: self._forget(record.intent.id))

    def _forget(self, intent_id: IntentId) -> None:
        self._tasks.pop(intent_id, None)
        self._records.pop(intent_id, None)
        self._decided_s.pop(intent_id, None)

    def adopt_strays(self, open_now: Sequence[IntentRecord], owned: Mapping[int, Ownership]) -> None:
        """
        Follow open intents that had no task at two looks in a row.

        Such an intent's claim was committed while its answer was lost. One look is not enough: between the reading and now
        a task may have ended, or a worker may be about to start one.
        """
        strays = {
            r.intent.id: r for r in open_now if r.intent.id not in self._tasks and r.intent.id not in self._faulty
        }
        for intent_id in strays.keys() & self._strays:
            record = strays[intent_id]
            _log.warning("following an intent whose claim went unanswered", intent=intent_id, state=record.state.value)
            self.follow(record, owned[record.shard])
        self._strays = set(strays)
        self._unanswered -= self._unanswered_before  # seen twice since: followed by now, or never carried out
        self._unanswered_before = set(self._unanswered)

    def stepped(self, record: IntentRecord) -> None:
        """Called by the driver after each step that was committed."""
        self._tally.moved(record)
        if record.intent.id in self._records:
            self._records[record.intent.id] = record
        if record.state is IntentState.CONFIRMED or record.state in TERMINAL:
            self._unresolved.discard(record.intent.id)
        self._stepped.set()

    async def mirror_forever(self) -> None:
        """After steps, read the book again, so that exits can be decided from confirmed entries on."""
        while True:
            await self._stepped.wait()
            self._stepped.clear()
            await self._refresh_book()

    async def wait_idle(self) -> None:
        """Wait until no task is left."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def cancel(self) -> None:
        """Stop following; what is open stays journalled for the next owner."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _may_attempt(self, purpose: Purpose) -> bool:
        """A drain makes no new attempt to enter, but finishes exits while it has time; after a fatal finding nothing is made."""
        if self._lifecycle.fatal is not None:
            return False
        if self._lifecycle.phase is Phase.DRAINING:
            return self._lifecycle.finishing and purpose is Purpose.EXIT
        return self._lifecycle.phase in (Phase.STARTING, Phase.READY)

    async def _refresh_book(self) -> None:
        try:
            await self._book.refresh()
        except Exception as error:
            _log.warning("book not refreshed", error=str(error))
            await asyncio.sleep(0.5)
            self._stepped.set()

    async def _run(self, record: IntentRecord, ownership: Ownership) -> None:
        intent = record.intent
        TRADE.set(intent.id)  # a task has its own context: from here on every line and error says which trade
        try:
            last = await self._driver.drive(record, ownership, may_attempt=lambda: self._may_attempt(intent.purpose))
        except Fenced:
            _log.warning("fenced: another holder follows this trade now", intent=intent.id)
            self._unresolved.discard(intent.id)
            return
        except FatalError as error:
            self._faulty.add(intent.id)
            self._lifecycle.tell(error.reason, str(error), fatal=True)
            return
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # The journal is intact: the next start resolves it. Trading on with an unknown fault would not be.
            self._faulty.add(intent.id)
            _log.exception("trade task failed", intent=intent.id)
            self._lifecycle.tell("InternalError", f"trade {intent.id}: {type(error).__name__}: {error}", fatal=True)
            return
        if last.state not in TERMINAL:
            return
        self._unresolved.discard(intent.id)
        self._tell(last)
        await self._refresh_book()
        self._emit(SignalSettled(intent.strategy, intent.mint, intent.purpose, taken=last.state is IntentState.DONE))

    def _tell(self, last: IntentRecord) -> None:
        """Say where tokens went that a position sold without having bought them, or bought without having them."""
        for reason in (SHORT, OVERSOLD):
            if reason in last.reason:
                intent = last.intent
                _log.warning(
                    "tokens", intent=intent.id, position=intent.position_id, mint=intent.mint, reason=last.reason
                )
                self._tally.refused(intent.strategy, intent.mint, reason, last.reason)
