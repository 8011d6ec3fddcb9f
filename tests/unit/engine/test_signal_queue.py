"""The queue between the core and the workers."""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingbot_engine.bus.admission import Gone, ReleasedTwice
from tradingbot_engine.bus.signals import SignalQueue
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.settings import QueueSettings

CRITICAL, HIGH, NORMAL, LOW = Priority
ENTRY, EXIT = Purpose.ENTRY, Purpose.EXIT


def signal(priority: Priority, n: int = 0, purpose: Purpose = ENTRY) -> Signal:
    side = Side.SELL if purpose is EXIT else Side.BUY
    return Signal("s", "t", 1, "Mint", side, purpose, f"e{n}", 0, 1.0, "why", priority)


def queue(max_size: int = 3, deadline_ms: int = 1000, workers: int = 4, **more) -> tuple[SignalQueue, ManualClock]:
    clock = ManualClock()
    settings = QueueSettings(max_size=max_size, deadline_ms=deadline_ms, **more)
    return SignalQueue(settings=settings, workers=workers, clock=clock), clock


async def test_urgent_signals_are_taken_first_and_equals_in_order_of_arrival():
    """Priority first, then age."""
    q, _ = queue(max_size=10)
    for n, priority in enumerate([NORMAL, CRITICAL, HIGH, CRITICAL]):
        assert q.put(signal(priority, n)) is None
    taken = [(await q.get()).item.trigger_id for _ in range(4)]
    assert taken == ["e1", "e3", "e2", "e0"]


async def test_exits_are_served_before_entries_and_among_themselves_by_priority():
    """Leaving a position reduces risk; opening one can wait."""
    q, _ = queue(max_size=10)
    for n, (priority, purpose) in enumerate([(HIGH, ENTRY), (NORMAL, EXIT), (CRITICAL, ENTRY), (CRITICAL, EXIT)]):
        assert q.put(signal(priority, n, purpose)) is None
    assert [(await q.get()).item.trigger_id for _ in range(4)] == ["e3", "e1", "e2", "e0"]


async def test_a_full_queue_gives_way_only_to_a_more_urgent_signal():
    """What is displaced is the youngest of the least urgent; an equal or lower newcomer is turned away itself."""
    q, _ = queue(max_size=2, warning_threshold=0.98, critical_threshold=0.99)
    q.put(signal(LOW, 1))
    q.put(signal(LOW, 2))
    assert q.put(signal(LOW, 3)) == (signal(LOW, 3), Gone.QUEUE_FULL)
    assert q.put(signal(HIGH, 4)) == (signal(LOW, 2), Gone.QUEUE_FULL)
    assert q.put(signal(CRITICAL, 5)) == (signal(LOW, 1), Gone.QUEUE_FULL)
    assert q.put(signal(HIGH, 6)) == (signal(HIGH, 6), Gone.QUEUE_FULL)
    assert len(q) == 2


async def test_an_exit_is_never_displaced_by_an_entry_however_urgent():
    """Only a more urgent exit takes an exit's place; any exit takes an entry's."""
    q, _ = queue(max_size=2)
    assert q.put(signal(LOW, 1, EXIT)) is None
    assert q.put(signal(CRITICAL, 2)) is None
    assert q.put(signal(CRITICAL, 3)) == (signal(CRITICAL, 3), Gone.QUEUE_FULL)
    assert q.put(signal(NORMAL, 4, EXIT)) == (signal(CRITICAL, 2), Gone.QUEUE_FULL)
    assert q.put(signal(CRITICAL, 5)) == (signal(CRITICAL, 5), Gone.QUEUE_FULL)
    assert q.put(signal(CRITICAL, 6, EXIT)) == (signal(LOW, 1, EXIT), Gone.QUEUE_FULL)


async def test_low_is_refused_from_the_warning_threshold_and_normal_from_the_critical_one():
    """Refusing early keeps room for what matters; HIGH and exits are let in until the queue is full."""
    q, _ = queue(max_size=100, warning_threshold=0.8, critical_threshold=0.95)
    for n in range(79):
        assert q.put(signal(NORMAL, n)) is None
    assert q.put(signal(LOW, 79)) is None
    assert q.put(signal(LOW, 80)) == (signal(LOW, 80), Gone.OVERLOADED)
    for n in range(80, 95):
        assert q.put(signal(NORMAL, n)) is None
    assert q.put(signal(NORMAL, 95)) == (signal(NORMAL, 95), Gone.OVERLOADED)
    for n in range(95, 100):
        assert q.put(signal(NORMAL, n, EXIT) if n % 2 else signal(HIGH, n)) is None
    assert len(q) == 100
    assert q.put(signal(HIGH, 100)) == (signal(LOW, 79), Gone.QUEUE_FULL)


async def test_without_backpressure_the_queue_is_plain_and_says_so():
    """The switch takes thresholds, displacement and deadlines away; the bound stays."""
    q, clock = queue(max_size=2, deadline_ms=100, backpressure=False)
    assert q.put(signal(LOW, 1)) is None
    assert q.put(signal(LOW, 2)) is None
    assert q.put(signal(CRITICAL, 3, EXIT)) == (signal(CRITICAL, 3, EXIT), Gone.QUEUE_FULL)
    await clock.advance(10)
    permit = await q.get()
    assert (permit.item, permit.late) == (signal(LOW, 1), False)
    assert QueueSettings.model_fields["backpressure"].json_schema_extra["protection"]


async def test_entries_past_their_deadline_are_marked_late_and_exits_never_are():
    """A stale entry must not be traded; an exit that waited is needed all the more."""
    q, clock = queue(deadline_ms=1000)
    q.put(signal(NORMAL, 1))
    q.put(signal(HIGH, 2, EXIT))
    await clock.advance(1.5)
    first, second = await q.get(), await q.get()
    assert (first.item, first.late) == (signal(HIGH, 2, EXIT), False)
    assert (second.item, second.late) == (signal(NORMAL, 1), True)


async def test_entries_past_their_deadline_are_refused_while_every_worker_is_busy():
    """Nobody has to take a stale signal to learn that it is stale; an exit stays."""
    q, clock = queue(deadline_ms=1000, reject_fast_ms=10)
    waiting = asyncio.create_task(q.late())
    await clock.advance(0.4)
    q.put(signal(HIGH, 1, EXIT))
    q.put(signal(NORMAL, 2))
    await clock.advance(0.995)
    assert not waiting.done()
    await clock.advance(0.02)
    assert await waiting == [signal(NORMAL, 2)]
    assert [s.trigger_id for s in q.clear()] == ["e1"]


async def test_a_stale_entry_makes_room_before_anything_that_lives():
    """The dead go first, even where the newcomer is less urgent than they were."""
    q, clock = queue(max_size=2, deadline_ms=1000)
    q.put(signal(HIGH, 1))
    await clock.advance(1.1)
    q.put(signal(HIGH, 2))
    assert q.put(signal(NORMAL, 3)) == (signal(HIGH, 1), Gone.LATE)
    assert [s.trigger_id for s in q.clear()] == ["e2", "e3"]


async def test_a_waiting_worker_is_woken_by_a_signal():
    q, _ = queue()
    waiting = asyncio.create_task(q.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    q.put(signal(NORMAL, 7))
    assert (await asyncio.wait_for(waiting, 1)).item.trigger_id == "e7"


async def test_a_worker_that_is_cancelled_when_woken_passes_the_signal_on():
    """A signal never waits while a worker does."""
    q, _ = queue()
    first, second = asyncio.create_task(q.get()), asyncio.create_task(q.get())
    await asyncio.sleep(0)
    q.put(signal(NORMAL, 1))
    first.cancel()
    permit = await asyncio.wait_for(second, 1)
    assert permit.item == signal(NORMAL, 1)
    assert first.cancelled()


async def test_a_permit_is_released_exactly_once():
    """A second release would count somebody else's work as done; it is refused and changes nothing."""
    q, _ = queue()
    q.put(signal(NORMAL, 1))
    q.put(signal(NORMAL, 2))
    one, two = await q.get(), await q.get()
    assert q.working == 2
    one.release()
    with pytest.raises(ReleasedTwice):
        one.release()
    with pytest.raises(ReleasedTwice), one:
        pass
    assert q.working == 1
    with pytest.raises(ValueError, match="work failed"), two:
        raise ValueError("work failed")
    assert q.working == 0


async def test_pressure_is_the_larger_of_depth_and_oldest_wait():
    """A short queue that does not move is as bad as a long one."""
    q, clock = queue(max_size=4, deadline_ms=1000)
    assert q.pressure == 0
    q.put(signal(NORMAL))
    assert q.pressure == pytest.approx(0.25)
    await clock.advance(0.5)
    assert q.pressure == pytest.approx(0.5)
    await clock.advance(9)
    assert q.pressure == 1


async def test_five_thousand_signals_at_once_keep_every_critical_one():
    """The seed's rule kept 30 % of the critical ones of such a flood; here lower priorities make room."""
    chance = random.Random(11)
    q, _ = queue(max_size=1000, deadline_ms=5000)
    kinds = [(CRITICAL, EXIT)] * 10 + [(HIGH, ENTRY)] * 5 + [(NORMAL, ENTRY)] * 65 + [(LOW, ENTRY)] * 20
    flood = [signal(p, n, purpose) for n in range(5000) for p, purpose in [chance.choice(kinds)]]
    gone = [g for s in flood if (g := q.put(s)) is not None]
    offered = Counter(s.purpose for s in flood)
    assert offered[EXIT] > 400
    assert not [s for s, _ in gone if s.purpose is EXIT]
    kept = q.clear()
    assert len(kept) == 1000
    assert len(kept) + len(gone) == 5000
    assert [s.purpose for s in kept[: offered[EXIT]]] == [EXIT] * offered[EXIT]


@given(
    st.lists(st.tuples(st.sampled_from(list(Priority)), st.sampled_from(list(Purpose))), max_size=60),
    st.integers(1, 10),
)
def test_the_queue_keeps_the_most_urgent_signals_that_were_offered(kinds, max_size):
    """Without thresholds in the way: no signal was lost while a less urgent one was kept."""

    def rank(s: Signal) -> tuple[bool, Priority]:
        return s.purpose is ENTRY, s.priority

    q, _ = queue(max_size=max_size, warning_threshold=0.999, critical_threshold=1)
    gone = [g[0] for n, (p, kind) in enumerate(kinds) if (g := q.put(signal(p, n, kind))) is not None]
    kept = q.clear()
    assert len(kept) == min(len(kinds), max_size)
    assert len(kept) + len(gone) == len(kinds)
    if kept and gone:
        assert max(map(rank, kept)) <= min(map(rank, gone))
