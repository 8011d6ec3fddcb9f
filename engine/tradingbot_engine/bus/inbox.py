"""
What the core has still to decide upon, in order; a core that lags gets merged ticks instead of old ones.

The latest price of a token wins over those that wait (`conflate`), and so does the latest clock tick of a minute. Nothing is
merged across what could make a difference: the end of a minute, a change of the feed's state, of a position or of risk.
What the ledger tells is never dropped, since nobody would tell it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from tradingbot_engine.bus.conflate import Run, is_sound
from tradingbot_engine.bus.ordered import Gap, Late
from tradingbot_engine.domain.events import BAR_MS, ClockTick, Event, FeedStatus, PriceTick
from tradingbot_engine.domain.units import Mint, Slot, UnixMs


class _Token:
    """What was told of one token last, and the run that waits and is still open."""

    __slots__ = ("at_ms", "era", "run", "slot")

    def __init__(self) -> None:
        self.at_ms: UnixMs = 0
        self.slot: Slot = 0
        self.run: Run | None = None
        self.era = 0


class _Tick:
    """A waiting clock tick, which a later one of the same minute replaces."""

    __slots__ = ("event",)

    def __init__(self, event: ClockTick) -> None:
        self.event = event


class CoreInbox:
    """
    The core's queue; a consumer of the bus (see `consumers.Consumer`).

    Args:
        max_events: Entries that wait at most; beyond it price ticks that cannot be merged are dropped, and told to
            `on_drop`.
        now: Monotonic seconds.
    """

    def __init__(
        self, *, max_events: int, now: Callable[[], float], on_drop: Callable[[PriceTick], None] = lambda _: None
    ) -> None:
        self.name, self.dropped, self.conflated = "core", 0, 0
        self.late = 0
        """Ticks that came after their place was passed; the core counts them into their bar only."""
        self._max_events, self._now, self._on_drop = max_events, now, on_drop
        self._entries: deque[tuple[float, Any]] = deque()
        self._tokens: dict[Mint, _Token] = {}
        self._era = 0
        """Runs and clock ticks of an older era are closed."""
        self._clock: _Tick | None = None
        self._clock_until_ms: UnixMs = 0
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def lag_s(self) -> float:
        return self._now() - self._entries[0][0] if self._entries else 0.0

    def put(self, key: Hashable, item: Event | Late | Gap) -> None:
        """Queue what the bus hands over; a hole says nothing that the feed's own state does not say."""
        if type(item) is PriceTick:
            self._put_tick(item)
        elif isinstance(item, Late):
            self.late += 1
            self.tell(item.event)
        elif not isinstance(item, Gap):
            self.tell(item)

    def tell(self, event: Event) -> None:
        """Queue an event that has no place in a source's order."""
        if type(event) is PriceTick:
            self._put_tick(event)
        elif type(event) is ClockTick:
            self._put_clock(event)
        else:
            mint: Mint | None = getattr(event, "mint", None) or getattr(getattr(event, "position", None), "mint", None)
            ends_minute = type(event) is FeedStatus and event.at_ms >= self._clock_until_ms
            if mint is None or ends_minute:
                self._era += 1
                self._clock = None
            elif (token := self._tokens.get(mint)) is not None:
                token.run = None
            self._append(event)

    def _put_tick(self, tick: PriceTick) -> None:
        token = self._tokens.get(tick.mint)
        if token is None:
            token = self._tokens[tick.mint] = _Token()
        sound = is_sound(tick)
        passed = sound and tick.at_ms < self._clock_until_ms - BAR_MS
        if passed:  # it may begin a bar of a minute that is over: the next clock tick has that one to close
            self._clock, self._clock_until_ms = None, 0
            token.at_ms, token.slot = max(token.at_ms, tick.at_ms), max(token.slot, tick.slot)
        newest = sound and not passed and tick.at_ms >= token.at_ms and tick.slot >= token.slot
        run = token.run
        if run is not None and newest and token.era == self._era and run.takes(tick):
            token.at_ms, token.slot = tick.at_ms, tick.slot
            run.add(tick)
            self.conflated += 1
            return
        if len(self._entries) >= self._max_events:
            self.dropped += 1
            self._on_drop(tick)
            return
        if newest:
            token.at_ms, token.slot = tick.at_ms, tick.slot
            token.run, token.era = Run(tick), self._era
            self._append(token.run)
        else:
            if sound:
                token.run = None  # the core weighs a late tick against those before it
            self._append(tick)

    def _put_clock(self, event: ClockTick) -> None:
        waiting = self._clock
        if event.at_ms >= self._clock_until_ms:
            self._clock_until_ms = event.at_ms - event.at_ms % BAR_MS + BAR_MS
            self._era += 1  # bars close here
        elif waiting is not None:
            if event.at_ms > waiting.event.at_ms:
                waiting.event = event
            self.conflated += 1
            return
        self._clock = _Tick(event)
        self._append(self._clock)

    def _append(self, entry: Any) -> None:
        self._entries.append((self._now(), entry))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> list[Event]:
        """Wait for the oldest entry; return its events (up to four ticks of a run) in order. For one task."""
        while not self._entries:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.pop()

    def pop(self) -> list[Event]:
        """Return the events of the oldest entry."""
        _, entry = self._entries.popleft()
        if type(entry) is Run:
            token = self._tokens[entry.first.mint]
            if token.run is entry:
                token.run = None
            return [*entry.ticks()]
        if type(entry) is _Tick:
            if self._clock is entry:
                self._clock = None
            return [entry.event]
        return [entry]
