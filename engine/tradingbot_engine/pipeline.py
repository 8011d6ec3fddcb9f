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
from tradingbot_engine.bus.signals import SignalQueue
from tradingbot_engine.clock import Clock
from tradingbot_engine.core.decide import decide
from tradingbot_engine.core.intents import OPEN
from tradingbot_engine.core.risk.approve import Refused
from tradingbot_engine.core.state import CoreState
from tradingbot_engine.domain.effects import EmitSignal, NoteRefusal, SaveBar
from tradingbot_engine.domain.events import Event, PriceTick, SignalSettled
from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.domain.signals import Purpose, Signal
from tradingbot_engine.errors import Fenced, LedgerUnavailable
from tradingbot_engine.ledger.port import ClaimLimits, ClaimOutcome, Ledger, Ownership
from tradingbot_engine.lifecycle import Lifecycle, Phase
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
        max_events: int = 100_000,
    ) -> None:
        self._state, self._signals, self._ledger = state, signals, ledger
        self._book, self._bars, self._trades = book, bars, trades
        self._lifecycle, self._tally, self._clock = lifecycle, tally, clock
        self._approve, self._limits, self._owner_of = approve, limits, owner_of
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._max_events = max_events
        self._claiming = 0
        self._claimed = asyncio.Event()
        self._claimed.set()

    def emit(self, event: Event) -> None:
        """
        Queue an event for the core.

        A core that lags loses price ticks, counted and said: the next one corrects it. What the ledger tells is never
        dropped, since nobody would tell it again.
        """
        if isinstance(event, PriceTick) and self._events.qsize() >= self._max_events:
            self._tally.event_dropped(event)
        else:
            self._events.put_nowait(event)

    async def decide_forever(self) -> None:
        """Market event → signal: the only caller of the pure core."""
        for n in itertools.count(1):
            event = await self._events.get()
            for effect in decide(self._state, event):
                match effect:
                    case EmitSignal() if self._lifecycle.phase in (Phase.DRAINING, Phase.STOPPED):
                        pass  # no new signal, and no end told: the core waits instead of asking again
                    case EmitSignal(signal):
                        self._tally.signal(signal)
                        displaced = self._signals.put(signal)
                        if displaced is not None:
                            self._refuse(displaced, "QueueFull", "more urgent signals filled the queue")
                    case SaveBar(mint, bar):
                        self._bars.keep(mint, bar)
                    case NoteRefusal(strategy, mint, reason, message):
                        self._tally.refused(strategy, mint, reason, message)
            if n % _EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)  # a flood of events must not starve the trades in flight

    async def trade_forever(self) -> None:
        """Signal → risk → intent → attempts → fill; several of these run side by side."""
        while True:
            signal, late = await self._signals.get()
            if late:
                self._refuse(signal, "Late", "the signal waited longer than queue.deadline_ms")
                continue
            self._claiming += 1
            self._claimed.clear()
            try:
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

        crashpoint.reached("claim:before")
        claim = await self._ledger.claim(intent, ownership=ownership, limits=self._limits(intent))  # bot-wide limits
        crashpoint.reached("claim:after")
        if claim.outcome is ClaimOutcome.KNOWN:
            if claim.record is not None and claim.record.state in OPEN and claim.record.epoch == ownership.epoch:
                return self._trades.follow(claim.record, ownership)  # our own claim, whose answer was lost
            return self._refuse(signal, "Known", "this signal had its intent already")
        if claim.outcome is ClaimOutcome.REFUSED or claim.record is None:
            return self._refuse(signal, claim.reason, claim.message)

        self._trades.follow(claim.record, ownership)  # attempts → fill, by the same code as recovery
        await self._book.refresh()

    def _refuse(self, signal: Signal, reason: str, message: str) -> None:
        """Nothing was sent: tell the strategy, so that it may wish again."""
        self._tally.refused(signal.strategy, signal.mint, reason, message)
        level = _log.info if signal.purpose is Purpose.EXIT else _log.debug
        level(
            "signal refused",
            strategy=signal.strategy,
            mint=signal.mint,
            purpose=signal.purpose,
            reason=reason,
            message=message,
        )
        self.emit(SignalSettled(signal.strategy, signal.mint, signal.purpose, taken=False))
