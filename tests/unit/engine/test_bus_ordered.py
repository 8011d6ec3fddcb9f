"""Events in the order of their source: directed cases; `property/test_bus_ordered_machine.py` has the rest."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tradingbot_engine.bus.bus import EventBus
from tradingbot_engine.bus.consumers import ConflatingQueue, ConsumerQueue, Overflow
from tradingbot_engine.bus.ordered import Gap, Late, Ordering, sequence, slot_of
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.errors import TemporaryError
from tradingbot_engine.settings import BusSettings


def ordering(clock: ManualClock | None = None, **changes) -> Ordering:
    values = {"window_s": 1.0, "window_size": 4, "remembered": 100, "keys": 1} | changes
    return Ordering(now=(clock or ManualClock()).monotonic_s, **values)


def test_a_sequence_sorts_by_slot_and_then_by_the_sources_own_order():
    assert sequence(7, 1) < sequence(7, 2) < sequence(8)
    assert slot_of(sequence(8, 3)) == 8
    for slot, order in ((-1, 0), (1, -1), (1, 1 << 24)):
        with pytest.raises(ValueError, match="out of range"):
            sequence(slot, order)


def test_a_number_that_is_skipped_is_no_hole_unless_the_source_says_so():
    """Most tokens change in few slots: waiting for a slot in which nothing happened would hold prices up."""
    o = ordering()
    assert list(o.offer("k", 10, "a")) == ["a"]
    assert list(o.offer("k", 15, "b")) == ["b"]
    assert list(o.offer("k", 20, "c", after=15)) == ["c"]
    assert o.asks == []


def test_an_event_behind_a_hole_waits_and_follows_when_the_hole_is_filled():
    """Order is the source's, not the network's."""
    o = ordering()
    o.offer("k", 10, "a")
    assert list(o.offer("k", 13, "d", 12)) == []
    assert list(o.offer("k", 14, "e", 13)) == []
    assert o.asks == [Gap("k", 10, 12)]
    assert list(o.offer("k", 12, "c", 11)) == []
    assert o.asks[1:] == [Gap("k", 10, 11)]
    assert list(o.offer("k", 11, "b", 10)) == ["b", "c", "d", "e"]
    assert (o.waiting, o.next_due_s, o.open_gap("k")) == (0, None, None)


def test_keys_do_not_wait_for_each_other():
    o = ordering()
    o.offer("k", 1, "a")
    assert list(o.offer("k", 9, "z", 8)) == []
    assert list(o.offer("other", 9, "y", 8)) == ["y"]


def test_a_full_window_gives_the_hole_up_and_tells_it_at_its_place():
    """A hole must not hold more back than the window."""
    o = ordering(window_size=2)
    o.offer("k", 1, "a")
    assert list(o.offer("k", 3, "c", 2)) == []
    assert list(o.offer("k", 4, "d", 3)) == []
    assert list(o.offer("k", 5, "e", 4)) == [Gap("k", 1, 2), "c", "d", "e"]
    assert o.counts.given_up == 1


async def test_the_windows_time_gives_the_hole_up_and_what_comes_then_is_late():
    """A price that waits is a price that nobody acts on."""
    clock = ManualClock()
    o = ordering(clock)
    o.offer("k", 1, "a")
    await clock.advance(5)
    o.offer("k", 3, "c", 2)
    await clock.advance(0.9)
    assert (o.expire(), o.next_due_s) == ([], 6.0)
    await clock.advance(0.1)
    assert o.expire() == [("k", [Gap("k", 1, 2), "c"])]
    assert list(o.offer("k", 2, "b", 1)) == [Late("k", 2, "b")]
    assert list(o.offer("k", 2, "b", 1)) == []
    assert (o.counts.late, o.counts.duplicates, o.next_due_s) == (1, 1, None)


def test_repeated_events_are_dropped_whether_handed_over_waiting_or_late():
    o = ordering()
    o.offer("k", 1, "a")
    o.offer("k", 5, "e", 4)
    assert list(o.offer("k", 1, "a")) == []
    assert list(o.offer("k", 5, "e", 4)) == []
    assert list(o.offer("k", 0, "x")) == [Late("k", 0, "x")]
    assert list(o.offer("k", 0, "x")) == []
    assert o.counts.duplicates == 3


def test_an_event_older_than_what_is_remembered_is_late_without_certainty():
    """It may have been handed over; the consumer has to know that."""
    o = ordering(remembered=8)
    for n in range(100, 120):
        o.offer("k", n, n)
    assert list(o.offer("k", 101, 101)) == [Late("k", 101, 101, certain=False)]


def test_after_a_fork_the_other_chains_events_take_the_place_of_the_undone():
    """What was undone is neither late nor a repetition when it comes again."""
    o = ordering()
    for n in (1, 2, 3):
        o.offer("k", n, f"old {n}")
    o.offer("k", 6, "old 6", 5)
    o.rewind("k", 1)
    assert list(o.offer("k", 2, "new 2", 1)) == ["new 2"]
    assert list(o.offer("k", 6, "new 6", 2)) == ["new 6"]
    assert (o.counts.undone, o.counts.late, o.counts.duplicates) == (1, 0, 0)


# --- the bus
class Stage:
    """A bus with one consumer, running."""

    def __init__(self, repair: Callable[[Gap], Awaitable[list]] | None = None, **settings) -> None:
        self.clock = ManualClock()
        self.bus = EventBus(settings=BusSettings(**settings), clock=self.clock, keys=1, repair=repair)
        self.seen = ConsumerQueue("test", max_size=1000, overflow=Overflow.DROP_OLDEST, now=self.clock.monotonic_s)
        self.bus.subscribe(self.seen)

    async def __aenter__(self) -> "Stage":
        self.task = asyncio.create_task(self.bus.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def passes(self, seconds: float) -> None:
        """Let time pass in small steps, and tasks have their turns."""
        for _ in range(10):
            await self.clock.advance(seconds / 10)
            for _ in range(10):
                await asyncio.sleep(0)


async def test_a_hole_is_asked_for_at_the_source_and_its_answer_fills_it():
    """Ask the source, once per hole, in its own terms."""
    asked = []

    async def repair(gap: Gap) -> list:
        asked.append(gap)
        return [(12, "c"), (11, "b")]

    async with Stage(repair) as stage:
        stage.bus.publish("k", 10, "a")
        stage.bus.publish("k", 13, "d", 12)
        await stage.passes(0.01)
        assert list(stage.seen.take_now()) == ["a", "b", "c", "d"]
    assert asked == [Gap("k", 10, 12)]
    assert stage.bus.counts.filled == 1


async def test_a_source_that_fails_is_asked_again_until_the_window_is_over():
    """Then trading goes on with the hole told."""
    asked = []

    async def repair(gap: Gap) -> list:
        asked.append(gap)
        raise TemporaryError("not now")

    async with Stage(repair, window_ms=200) as stage:
        stage.bus.publish("k", 10, "a")
        stage.bus.publish("k", 12, "c", 11)
        await stage.passes(0.19)
        assert list(stage.seen.take_now()) == ["a"]
        await stage.passes(0.02)
        assert list(stage.seen.take_now()) == [Gap("k", 10, 11), "c"]
        tries = len(asked)
        assert tries >= 3
        await stage.passes(5)
        assert len(asked) == tries, "a hole that was given up is still asked for"
    assert stage.bus.repairs_failed == tries


async def test_a_second_hole_during_a_wait_is_noticed_with_its_own_time():
    async with Stage(window_ms=1000) as stage:
        for key in ("k", "l"):
            stage.bus.publish(key, 1, f"{key}1")
        stage.bus.publish("k", 3, "k3", 2)
        await stage.passes(0.5)
        stage.bus.publish("l", 3, "l3", 2)
        await stage.passes(0.6)
        assert list(stage.seen.take_now()) == ["k1", "l1", Gap("k", 1, 2), "k3"]
        await stage.passes(0.5)
        assert list(stage.seen.take_now()) == [Gap("l", 1, 2), "l3"]


async def test_a_stopped_bus_leaves_no_task_behind():
    """Neither its timer nor a repair under way outlives it."""
    hangs = asyncio.Event()

    async def repair(gap: Gap) -> list:
        await hangs.wait()
        return []

    before = asyncio.all_tasks()
    async with Stage(repair) as stage:
        stage.bus.publish("k", 1, "a")
        stage.bus.publish("k", 3, "c", 2)
        await stage.passes(0.1)
        assert len(asyncio.all_tasks()) > len(before)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_without_ordering_events_pass_as_they_come():
    stage = Stage(ordering=False)
    for number, event in ((2, "b"), (1, "a"), (1, "a")):
        stage.bus.publish("k", number, event)
    assert list(stage.seen.take_now()) == ["b", "a", "a"]


# --- consumers
async def test_a_slow_consumer_is_seen_and_bounded_and_holds_nobody_up():
    """Each has its own queue: one that sleeps loses its own oldest events."""
    stage = Stage()
    slow = ConsumerQueue("slow", max_size=3, overflow=Overflow.DROP_OLDEST, now=stage.clock.monotonic_s)
    stubborn = ConsumerQueue("stubborn", max_size=3, overflow=Overflow.DROP_NEWEST, now=stage.clock.monotonic_s)
    stage.bus.subscribe(slow)
    stage.bus.subscribe(stubborn)
    for n in range(10):
        stage.bus.publish("k", n, n)
    await stage.clock.advance(2)
    lags = {lag.name: lag for lag in stage.bus.lags()}
    assert [(lag.depth, lag.dropped, lag.lag_s) for lag in lags.values()] == [(10, 0, 2.0), (3, 7, 2.0), (3, 7, 2.0)]
    assert list(slow.take_now()) == [7, 8, 9]
    assert list(stubborn.take_now()) == [0, 1, 2]
    assert list(stage.seen.take_now()) == list(range(10))
    assert [lag.lag_s for lag in stage.bus.lags()] == [0.0, 0.0, 0.0]


async def test_a_conflating_consumer_sees_the_latest_of_each_key_at_its_first_place():
    """A busy key must not push itself back again and again; marks are kept between."""
    clock = ManualClock()
    q = ConflatingQueue(
        "c", max_size=3, overflow=Overflow.DROP_OLDEST, now=clock.monotonic_s, merge=lambda old, new: f"{old}+{new}"
    )
    for key, item in (("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")):
        q.put(key, item)
    q.put("a", Gap("a", 1, 2))
    assert (len(q), q.conflated) == (3, 2)
    q.put("a", "5")
    assert q.dropped == 1
    assert list(q.take_now()) == ["2+4", Gap("a", 1, 2), "5"]
    q.put("a", "6")
    assert list(await q.take()) == ["6"]


async def test_a_waiting_consumer_is_woken():
    stage = Stage()
    waiting = asyncio.create_task(stage.seen.take())
    await asyncio.sleep(0)
    stage.bus.publish("k", 1, "a")
    assert list(await asyncio.wait_for(waiting, 1)) == ["a"]
