"""
The trade path, top to bottom:

    market event → signal → risk → intent → attempts → fill

`decide` is pure and says what should happen; everything that touches the world happens here, once, in this order.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import structlog

from tradingbot_engine import crashpoint
from tradingbot_engine.book import Book
from tradingbot_engine.bus.core_events import CoreEvents
from tradingbot_engine.bus.seen import SeenSignals
from tradingbot_engine.bus.signals import MESSAGES, Gone, SignalQueue
from tradingbot_engine.clock import Clock
from tradingbot_engine.core.decide import decide
from tradingbot_engine.core.intents import OPEN
from tradingbot_engine.core.risk.approve import Refused
from tradingbot_engine.core.state import CoreState
from tradingbot_engine.domain.effects import EmitSignal, NoteRefusal, SaveBar
from tradingbot_engine.domain.events import Event, SignalSettled
from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.domain.signals import Priority, Purpose, Signal
from tradingbot_engine.errors import Fenced, LedgerUnavailable
from tradingbot_engine.ledger.port import ClaimLimits, ClaimOutcome, Ledger, Ownership
from tradingbot_engine.lifecycle import Lifecycle, Phase
from tradingbot_engine.logs import timed
from tradingbot_engine.tally import Tally
from tradingbot_engine.trades import Trades
from tradingbot_engine.upkeep import BarKeeper

_log = structlog.get_logger(__name__)

_EVENTS_AT_ONCE = 32


class Pipeline:
    """One engine's trade path; `emit` is how feeds and the book tell it something."""

    def __init__(
        self,
        *,
        state: CoreState,
        events: CoreEvents,
        signals: SignalQueue,
        ledger: Ledger,
        book: Book,
        bars: BarKeeper,
        trades: Trades,
        lifecycle: Lifecycle,
        tally: Tally,
        clock: Clock,
        approve: Callable[[Signal], OrderIntent | Refused],
        limits: Callable[[OrderIntent], ClaimLimits],
        owner_of: Callable[[str], Ownership | None],
        seen: SeenSignals,
    ) -> None:
        self._state, self._events, self._signals, self._ledger = state, events, signals, ledger
        self._book, self._bars, self._trades = book, bars, trades
        self._lifecycle, self._tally, self._clock = lifecycle, tally, clock
        self._approve, self._limits, self._owner_of = approve, limits, owner_of
        self._seen = seen
        self._claiming = 0
        self._claimed = asyncio.Event()
        self._claimed.set()

    def emit(self, event: Event) -> None:
        """Queue an event for the core, in its source's order; never blocks. A core that lags gets ticks merged (`bus`)."""
        self._events.emit(event)

    async def order_forever(self) -> None:
        """Let no event wait longer for a missing one than its window."""
        await self._events.order_forever()

    async def decide_forever(self) -> None:
        """Market event → signal: the only caller of the pure core."""
        for n in itertools.count(1):
            events = await self._events.get()
            for effect in itertools.chain.from_iterable(decide(self._state, event) for event in events):
                match effect:
                    case EmitSignal() if self._lifecycle.phase in (Phase.DRAINING, Phase.STOPPED):
                        pass  # no new signal, and no end told: the core waits instead of asking again
                    case EmitSignal(signal):
                        self._tally.signal(signal)
                        if (gone := self._signals.put(signal)) is not None:
                            self._refuse(gone[0], gone[1], MESSAGES[gone[1]])
                    case SaveBar(mint, bar):
                        self._bars.keep(mint, bar)
                    case NoteRefusal(strategy, mint, reason, message):
                        self._tally.refused(strategy, mint, reason, message)
            if n % _EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)  # a flood of events must not starve the trades in flight

    async def trade_forever(self) -> None:
        """Signal → risk → intent → attempts → fill; several of these run side by side."""
        while True:
            permit = await self._signals.get()
            self._claiming += 1
            self._claimed.clear()
            try:
                with permit as signal:
                    if permit.late:
                        self._refuse(signal, Gone.LATE, MESSAGES[Gone.LATE])
                    else:
                        await self._trade(signal)
            except LedgerUnavailable as error:
                self._lifecycle.tell("LedgerUnavailable", str(error))
                self._refuse(signal, "LedgerUnavailable", str(error))
            except Fenced as error:
                self._refuse(signal, "NoShards", str(error))
            finally:
                self._claiming -= 1
                if self._claiming == 0:
                    self._claimed.set()

    def shed(self) -> int:
        """A drain begins: refuse what waits and is not critical (exits are); return how many that were."""
        shed = 0
        for signal in self._signals.clear():
            if signal.purpose is Purpose.EXIT or signal.priority is Priority.CRITICAL:
                self._signals.put(signal)
            else:
                shed += 1
                self._refuse(signal, "Draining", "the engine drains: no position is opened any more")
        return shed

    async def shed_forever(self) -> None:
        """Refuse what waited too long, also while every worker is busy."""
        while True:
            for signal in await self._signals.late():
                self._refuse(signal, Gone.LATE, MESSAGES[Gone.LATE])

    async def wait_claims(self) -> None:
        """Wait until no signal is between the queue and its claim; a drain counts open trades only after that."""
        await self._claimed.wait()

    async def _trade(self, signal: Signal) -> None:
        if not (self._lifecycle.may_exit if signal.purpose is Purpose.EXIT else self._lifecycle.may_trade):
            return self._refuse(
                signal, "NotTrading", "; ".join(r.type for r in self._lifecycle.reasons) or self._lifecycle.phase
            )
        ownership = self._owner_of(signal.mint)
        if ownership is None:
            return self._refuse(signal, "NoShards", "the token's shard belongs to another member")

        intent = self._approve(signal)  # risk, pure: sizes it, or says why not
        if isinstance(intent, Refused):
            return self._refuse(signal, intent.reason, intent.message)
        if self._seen.has(intent.id):
            return self._refuse(signal, "Known", "this signal had its intent already")

        crashpoint.reached("claim:before")
        with timed(_log, "claim", intent=intent.id), self._trades.claiming(intent.id):
            claim = await self._ledger.claim(
                intent, ownership=ownership, limits=self._limits(intent)
            )  # bot-wide limits
        crashpoint.reached("claim:after")
        if claim.outcome is ClaimOutcome.KNOWN:
            if claim.record is not None and claim.record.state in OPEN and claim.record.epoch == ownership.epoch:
                return self._trades.follow(claim.record, ownership)  # our own claim, whose answer was lost
            return self._refuse(signal, "Known", "this signal had its intent already")
        if claim.outcome is ClaimOutcome.REFUSED or claim.record is None:
            return self._refuse(signal, claim.reason, claim.message)

        self._seen.remember(intent.id)
        self._trades.follow(claim.record, ownership)  # attempts → fill, by the same code as recovery
        await self._book.refresh()

    def _refuse(self, signal: Signal, reason: str, message: str) -> None:
        """Nothing was sent: tell the strategy, so that it may wish again."""
        first = self._tally.refused(signal.strategy, signal.mint, reason, message, position_id=signal.position_id)
        level = _log.info if signal.purpose is Purpose.EXIT and first else _log.debug
        level(
            "signal refused",
            strategy=signal.strategy,
            mint=signal.mint,
            purpose=signal.purpose,
            reason=reason,
            message=message,
        )
        self.emit(SignalSettled(signal.strategy, signal.mint, signal.purpose, taken=False))
