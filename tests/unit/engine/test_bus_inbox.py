"""What waits for the core: bounded, merged, in order; exactness of bars is a property test of its own."""

import asyncio

from core_market import SOL, START_MS, position, risk_row

from tradingbot_engine.bus.core_events import CoreEvents, TickOrder
from tradingbot_engine.bus.inbox import CoreInbox
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.events import (
    BAR_MS,
    ClockTick,
    FeedStatus,
    PositionChanged,
    PriceTick,
    RiskChanged,
    SignalSettled,
)
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.settings import BusSettings


def a_tick(n: int, price: float = 1.0, mint: str = "a", slot: int | None = None, volume: int = 1) -> PriceTick:
    return PriceTick(mint, n if slot is None else slot, START_MS + n, price, SOL, volume)


def an_inbox(max_events: int = 1000) -> tuple[CoreInbox, list[PriceTick]]:
    dropped: list[PriceTick] = []
    return CoreInbox(max_events=max_events, now=lambda: 0.0, on_drop=dropped.append), dropped


def drained(inbox: CoreInbox) -> list:
    return [event for _ in range(len(inbox)) for event in inbox.pop()]


def test_a_core_that_keeps_up_gets_every_tick_as_it_came():
    """Merging is for those who lag."""
    inbox, _ = an_inbox()
    for n in range(5):
        inbox.tell(a_tick(n, 1.0 + n))
        assert inbox.pop() == [a_tick(n, 1.0 + n)]
    assert inbox.conflated == 0


def test_a_flood_of_ticks_waits_as_a_few_for_each_token():
    """However long the core stands still, memory follows the tokens and minutes, not the ticks."""
    inbox, dropped = an_inbox()
    for n in range(20_000):
        inbox.tell(a_tick(n, 1.0 + n % 13 / 100, mint=f"m{n % 10}"))
    assert len(inbox) == 10
    assert inbox.conflated == 19_990
    kept = drained(inbox)
    assert len(kept) <= 40
    assert sum(t.volume for t in kept) == 20_000
    assert {t.slot for t in kept} >= set(range(19_990, 20_000)), "the latest of each wins"
    assert not dropped


def test_a_token_keeps_its_place_however_busy_it_is():
    inbox, _ = an_inbox()
    for n in range(6):
        inbox.tell(a_tick(n, mint="ab"[n % 2]))
    assert [t.mint for t in drained(inbox)] == ["a", "a", "b", "b"]


def test_clock_ticks_of_a_minute_merge_and_minutes_do_not():
    inbox, _ = an_inbox()
    for at_ms in (0, 400, 800, BAR_MS, BAR_MS + 400):
        inbox.tell(ClockTick(START_MS + at_ms))
    assert [c.at_ms - START_MS for c in drained(inbox)] == [800, BAR_MS + 400]


def test_nothing_is_merged_across_what_could_make_a_difference():
    """A tick before the feed went stale is not the same as one after it; nor around a position's or a tier's change."""
    between = (
        FeedStatus(START_MS, True),
        FeedStatus(START_MS, True, "a"),
        RiskChanged(START_MS, risk_row()),
        SignalSettled("s", "a", Purpose.ENTRY, taken=False),
        ClockTick(START_MS + BAR_MS),
    )
    for event in between:
        inbox, _ = an_inbox()
        told = [a_tick(1), event, a_tick(2)]
        for item in told:
            inbox.tell(item)
        assert drained(inbox) == told
    inbox, _ = an_inbox()
    for item in (ClockTick(START_MS), a_tick(1, mint="b"), FeedStatus(START_MS, True, "a"), a_tick(2, mint="b")):
        inbox.tell(item)
    assert len(inbox) == 3, "what concerns another token is no reason"


def test_a_full_inbox_drops_ticks_loudly_and_never_what_the_ledger_tells():
    inbox, dropped = an_inbox(max_events=3)
    for n in range(5):
        inbox.tell(a_tick(n, mint=f"m{n}"))
    inbox.tell(PositionChanged(position()))
    assert (len(inbox), inbox.dropped, [t.mint for t in dropped]) == (4, 2, ["m3", "m4"])


def test_ticks_are_numbered_by_slot_and_by_the_order_in_which_they_were_told():
    """A price that went away and came back within a slot is no repetition; the same tick twice is one."""
    order = TickOrder()
    told = [
        a_tick(1, 1.0),
        a_tick(1, 1.1),
        a_tick(1, 1.0),
        a_tick(1, 1.0),
        a_tick(2, 1.0),
        a_tick(1, 1.2),
        a_tick(1, 1.2),
    ]
    numbers = [order.number(t) for t in told]
    assert numbers[0] < numbers[1] < numbers[2] == numbers[3] < numbers[4]
    assert numbers[1] < numbers[5] < numbers[6] < numbers[4], "of an older slot nobody knows the place"


async def test_repeated_ticks_are_dropped_and_late_ones_reach_the_core_as_late():
    """The core counts a late tick into its bar, never as the newest price."""
    events = CoreEvents(settings=BusSettings(), clock=ManualClock(), tokens=2)
    for tick in (a_tick(5), a_tick(5), a_tick(9), a_tick(7)):
        events.emit(tick)
    events.emit(ClockTick(START_MS + 10))
    got = [await events.get() for _ in range(len(events))]
    assert got == [[a_tick(5), a_tick(9)], [a_tick(7)], [ClockTick(START_MS + 10)]]
    assert (events.bus.counts.duplicates, events.bus.counts.late, events.inbox.late) == (1, 1, 1)
    figures = events.figures()
    assert (figures["waiting"], figures["conflated"], figures["duplicates"], figures["late"]) == (0, 1, 1, 1)


async def test_a_waiting_core_is_woken():
    events = CoreEvents(settings=BusSettings(), clock=ManualClock(), tokens=2)
    waiting = asyncio.create_task(events.get())
    await asyncio.sleep(0)
    events.emit(a_tick(1))
    assert await asyncio.wait_for(waiting, 1) == [a_tick(1)]
