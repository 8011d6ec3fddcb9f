"""The queue between the core and the workers."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingbot_engine.bus.signals import SignalQueue
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal


def signal(priority: Priority, n: int = 0, purpose: Purpose = Purpose.ENTRY) -> Signal:
    return Signal("s", "t", 1, "Mint", Side.BUY, purpose, f"e{n}", 0, 1.0, "why", priority)


def queue(max_size: int = 3, deadline_ms: int = 1000) -> tuple[SignalQueue, ManualClock]:
    clock = ManualClock()
    return SignalQueue(max_size=max_size, deadline_ms=deadline_ms, clock=clock), clock


async def test_urgent_signals_are_taken_first_and_equals_in_order_of_arrival():
    """Priority first, then age."""
    q, _ = queue(max_size=10)
    for n, priority in enumerate([Priority.NORMAL, Priority.CRITICAL, Priority.HIGH, Priority.CRITICAL]):
        assert q.put(signal(priority, n)) is None
    taken = [(await q.get())[0].trigger_id for _ in range(4)]
    assert taken == ["e1", "e3", "e2", "e0"]


async def test_a_full_queue_gives_way_only_to_a_more_urgent_signal():
    """What is displaced is the youngest of the least urgent; an equal or lower newcomer is turned away itself."""
    q, _ = queue(max_size=2)
    q.put(signal(Priority.LOW, 1))
    q.put(signal(Priority.LOW, 2))
    assert q.put(signal(Priority.LOW, 3)) == signal(Priority.LOW, 3)
    assert q.put(signal(Priority.HIGH, 4)) == signal(Priority.LOW, 2)
    assert q.put(signal(Priority.CRITICAL, 5)) == signal(Priority.LOW, 1)
    assert q.put(signal(Priority.HIGH, 6)) == signal(Priority.HIGH, 6)
    assert len(q) == 2


async def test_entries_past_their_deadline_are_marked_late_and_exits_never_are():
    """A stale entry must not be traded; an exit that waited is needed all the more."""
    q, clock = queue(deadline_ms=1000)
    q.put(signal(Priority.NORMAL, 1))
    q.put(signal(Priority.HIGH, 2, Purpose.EXIT))
    await clock.advance(1.5)
    assert await q.get() == (signal(Priority.HIGH, 2, Purpose.EXIT), False)
    assert await q.get() == (signal(Priority.NORMAL, 1), True)


async def test_a_waiting_worker_is_woken_by_a_signal():
    q, _ = queue()
    waiting = asyncio.create_task(q.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    q.put(signal(Priority.NORMAL, 7))
    assert (await asyncio.wait_for(waiting, 1))[0].trigger_id == "e7"


async def test_utilization_is_the_larger_of_depth_and_oldest_wait():
    """The autoscaler's measure: a short queue that does not move is as bad as a long one."""
    q, clock = queue(max_size=4, deadline_ms=1000)
    assert q.utilization == 0
    q.put(signal(Priority.NORMAL))
    assert q.utilization == pytest.approx(0.25)
    await clock.advance(0.5)
    assert q.utilization == pytest.approx(0.5)
    await clock.advance(9)
    assert q.utilization == 1


@given(st.lists(st.sampled_from(list(Priority)), max_size=60), st.integers(1, 10))
def test_the_queue_keeps_the_most_urgent_signals_that_were_offered(priorities, max_size):
    """Whatever the order of arrival, no signal was lost while a less urgent one was kept."""
    q, _ = queue(max_size=max_size)
    gone = [g for n, p in enumerate(priorities) if (g := q.put(signal(p, n))) is not None]
    kept = q.clear()
    assert len(kept) == min(len(priorities), max_size)
    assert len(kept) + len(gone) == len(priorities)
    if kept and gone:
        assert max(s.priority for s in kept) <= min(s.priority for s in gone)
