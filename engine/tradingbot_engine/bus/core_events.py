"""
The core's end of the bus: what feeds and the book tell it, in order.

Price ticks go through the bus, keyed by token and ordered by slot; all else has no source order and is queued as it comes.
"""

from __future__ import annotations

from collections.abc import Callable

from tradingbot_engine.bus.bus import EventBus, Repair
from tradingbot_engine.bus.inbox import CoreInbox
from tradingbot_engine.bus.ordered import ORDER_BITS, sequence
from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.events import Event, PriceTick
from tradingbot_engine.domain.units import Mint
from tradingbot_engine.settings.bus import BusSettings

_BEHIND = 1 << (ORDER_BITS - 1)


class TickOrder:
    """
    Numbers ticks by slot, and by the order in which their source told them within it.

    A tick that equals the one before it was told twice and gets the same number. (A price that went away and came back
    within a slot is no repetition.) For a tick of an older slot nobody knows its place in it: it gets a number of its own.
    """

    def __init__(self) -> None:
        self._newest: dict[Mint, tuple[PriceTick, int]] = {}
        self._behind = 0

    def number(self, tick: PriceTick) -> int:
        """Return the tick's sequence."""
        known = self._newest.get(tick.mint)
        if known is None or tick.slot > known[0].slot:
            number = sequence(tick.slot)
        elif tick == known[0]:
            return known[1]
        elif tick.slot == known[0].slot:
            number = known[1] + 1
        else:
            self._behind = (self._behind + 1) % _BEHIND
            return sequence(tick.slot, _BEHIND + self._behind)
        self._newest[tick.mint] = (tick, number)
        return number


class CoreEvents:
    """
    What the core has still to hear.

    Args:
        tokens: How many tokens are traded.
        on_drop: Told of a price tick that was dropped since the core lags too far behind.
        repair: Asks the feed for ticks that are missing, where it can say that some are.
    """

    def __init__(
        self,
        *,
        settings: BusSettings,
        clock: Clock,
        tokens: int,
        on_drop: Callable[[PriceTick], None] = lambda _: None,
        repair: Repair | None = None,
    ) -> None:
        self.bus = EventBus(settings=settings, clock=clock, keys=tokens, repair=repair)
        self.inbox = CoreInbox(max_events=settings.max_events, now=clock.monotonic_s, on_drop=on_drop)
        self.bus.subscribe(self.inbox)
        self.get = self.inbox.get
        self.order_forever = self.bus.run
        self._number = TickOrder().number

    def __len__(self) -> int:
        return len(self.inbox)

    def emit(self, event: Event) -> None:
        """Queue an event for the core; never blocks."""
        if type(event) is PriceTick:
            self.bus.publish(event.mint, self._number(event), event)
        else:
            self.inbox.tell(event)

    def figures(self) -> dict[str, float]:
        """
        Return what people want to see of the core's events, by name.

        Waiting now: `waiting` entries, of which the oldest waited `lag_s`, and `held` events behind holes. Since the start:
        `conflated`, `dropped`, `duplicates`, `late`, and `holes`, of which `filled` and `givenUp`.
        """
        counts, inbox = self.bus.counts, self.inbox
        return {
            "waiting": len(inbox),
            "lag_s": inbox.lag_s,
            "held": self.bus.waiting,
            "conflated": inbox.conflated,
            "dropped": inbox.dropped,
            "duplicates": counts.duplicates,
            "late": counts.late,
            "holes": counts.gaps,
            "filled": counts.filled,
            "givenUp": counts.given_up,
        }
