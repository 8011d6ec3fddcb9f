"""What follows from what a node's notifications say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.book_stage import MINT, ORIGIN_MS, prices, slot, write
from support.book_stage import BookStage as Stage

from tradingbot_engine.domain.events import BAR_MS, ClockTick, FeedStatus, PriceTick
from tradingbot_engine.market.book import SLOTS
from tradingbot_engine.market.normalise import Malformed
from tradingbot_engine.rpc.websocket import Connected, Garbage, Heartbeat, Lost, Notification


def test_a_first_quick_read_gives_a_price_but_no_soundness():
    """It proves nothing about writes between it and the subscription; the read after the first slot does."""
    stage = Stage()
    repair, events = stage.read(100, 1_000_000, 50_000_000)
    assert repair.min_slot is None
    assert prices(events) == [(100, 50_000_000 / 1_000_000 * 1e-4, 0)]
    assert stage.book.health(stage.now_s).stale
    stage.connect(102)
    repair, events = stage.read(101, 1_000_000, 50_000_000)
    assert repair.min_slot == 101
    assert not stage.book.health(stage.now_s).stale


def test_a_swap_gives_one_tick_with_the_change_of_the_quote_reserve_as_volume():
    """Both vaults in one slot; event time follows from the slot."""
    stage = Stage().sound()
    events = stage.tell(write("BASE", 102, 999_000), write("QUOTE", 102, 50_050_000))
    assert events == [
        PriceTick(MINT, 102, ORIGIN_MS + 20_000, 50_050_000 / 999_000 * 1e-4, 50_050_000, 50_000),
    ]


def test_the_clock_stays_behind_writes_that_are_still_to_be_told():
    """A confirmed write of slot s is told after slot s + 1 began; the clock must not have passed it by then."""
    stage = Stage().sound()
    ticks = [e.at_ms for n in range(102, 110) for e in stage.tell(slot(n)) if isinstance(e, ClockTick)]
    events = stage.tell(write("BASE", 108, 999_000), write("QUOTE", 108, 50_050_000))
    assert ticks == sorted(ticks)
    assert events[0].at_ms == ORIGIN_MS + 80_000 >= ticks[-1]


def test_event_time_of_prices_never_goes_back():
    """A write that is told later than it should keeps its slot but not a time before the clock's."""
    stage = Stage().sound()
    stage.tell(*(slot(n) for n in range(102, 130)))
    clock_ms = stage.book.event_ms
    events = stage.tell(write("BASE", 104, 999_000), write("QUOTE", 104, 50_050_000))
    assert [(e.slot, e.at_ms) for e in events] == [(104, clock_ms)]


def test_a_hole_in_the_slots_makes_the_pools_be_read_and_stale_until_then():
    """Slot 105 on 104, when 102 was the last: what 103 and 104 wrote was not told."""
    stage = Stage().sound()
    stage.tell(slot(102))
    stage.tell(slot(105, 104))
    assert stage.book.repairs == {MINT: 104}
    stage.now_s += 0.6
    stage.tell(slot(106))
    assert stage.book.health(stage.now_s).tokens[MINT].problem == "Hole"
    _, events = stage.read(104, 998_000, 50_100_000)
    assert prices(events) == [(104, 50_100_000 / 998_000 * 1e-4, 100_000)]
    assert not stage.book.health(stage.now_s).stale
    assert stage.book.counts["holes"] == 1


def test_skipped_slots_are_no_hole():
    """A slot without a block is nobody's parent."""
    stage = Stage().sound()
    stage.tell(slot(102), slot(106, 102))
    assert not stage.book.repairs


def test_a_fork_forgets_what_it_undid_and_takes_lower_slots_again():
    """The read must be of the new chain; one that was asked for before does not count."""
    stage = Stage().sound()
    stage.tell(slot(102), slot(103), write("BASE", 103, 900_000), write("QUOTE", 103, 56_000_000))
    stage.book.repairs[MINT] = 103
    before_fork = stage.book.next_repair(10)
    stage.tell(slot(104))
    stage.tell(slot(102, 101))
    assert stage.book.counts["forks"] == 1
    assert stage.book.repaired(before_fork, MINT, 104, 900_000, 56_000_000) == []
    _repair, events = stage.read(103, 1_000_000, 50_000_000)
    assert prices(events) == [(103, 50_000_000 / 1_000_000 * 1e-4, 6_000_000)]


def test_a_fork_of_processed_slots_does_not_disturb_confirmed_prices():
    """Nothing that was told is on the abandoned branch."""
    stage = Stage().sound(100)
    stage.tell(slot(102), slot(103), slot(104, 102))
    assert stage.book.counts["forks"] == 0
    assert not stage.book.repairs


def test_after_a_lost_connection_the_token_is_stale_until_it_was_read_anew():
    """New subscriptions and slots alone do not tell what was missed."""
    stage = Stage().sound()
    stage.book.check(stage.now_s)
    stage.tell(Lost("one", "closed"))
    stage.now_s += 0.6
    assert stage.book.check(stage.now_s) == [FeedStatus(stage.book.event_ms, True)]
    stage.connect(120)
    assert stage.book.check(stage.now_s) == []
    stage.read(119, 1_000_000, 50_000_000)
    assert stage.book.check(stage.now_s) == [FeedStatus(stage.book.event_ms, False)]


def test_a_chain_that_returns_from_an_older_state_is_followed_at_its_lower_slots():
    """A cluster that was killed comes back at its last finalized slot: nothing above it ever was."""
    stage = Stage().sound()
    stage.tell(slot(130, 101), write("BASE", 130, 900_000), write("QUOTE", 130, 56_000_000))
    stage.book.repairs[MINT] = 129
    in_flight = stage.book.next_repair(10)
    stage.tell(Lost("one", "closed"))
    stage.book.repairs.give_back(in_flight)
    assert stage.book.repairs == {MINT: None}
    stage.connect(105)
    assert not stage.book.repaired(in_flight, MINT, 130, 900_000, 56_000_000)
    repair, events = stage.read(105, 1_000_000, 50_000_000)
    assert repair.min_slot == 105
    assert [e.slot for e in events] == [105]
    assert not stage.book.health(stage.now_s).stale
    assert len(prices(stage.tell(write("BASE", 106, 999_000), write("QUOTE", 106, 50_050_000)))) == 1


def test_minutes_that_were_missed_are_asked_from_the_history():
    """The gap begins at the event time of the doubt, and only a gap over a minute's border needs asking."""
    stage = Stage().sound()
    stage.book.refills.clear()
    stage.tell(slot(102), slot(103))
    doubt_ms = stage.book.event_ms
    stage.tell(Lost("one", "closed"))
    stage.connect(120)
    stage.read(119, 1_000_000, 50_000_000)
    assert stage.book.event_ms - doubt_ms > BAR_MS
    assert stage.book.refills == {MINT: doubt_ms}


def test_a_vault_told_alone_is_settled_by_a_read():
    """A deposit into the quote vault: no torn price in between, then the read's."""
    stage = Stage().sound()
    assert not prices(stage.tell(slot(102), write("QUOTE", 102, 60_000_000), slot(103)))
    assert not stage.book.repairs
    stage.tell(slot(104))
    repair, events = stage.read(103, 1_000_000, 60_000_000)
    assert repair.min_slot == 102
    assert prices(events) == [(103, 60_000_000 / 1_000_000 * 1e-4, 10_000_000)]
    assert not stage.book.health(stage.now_s).stale


def test_an_emptied_pool_has_no_price_and_is_stale_until_money_returns():
    """A rug: both reserves gone. No division by zero, no price of 0."""
    stage = Stage().sound()
    assert stage.tell(write("BASE", 102, 0), write("QUOTE", 102, 0)) == []
    stage.now_s += 1
    stage.tell(slot(102))
    assert stage.book.health(stage.now_s).tokens[MINT].problem == "EmptyPool"
    events = stage.tell(write("BASE", 103, 10), write("QUOTE", 103, 10))
    assert len(prices(events)) == 1
    assert not stage.book.health(stage.now_s).stale


def test_heartbeats_prove_life_only_on_a_connection_that_told_a_slot():
    """A node that answers pings but tells no slots may sit on a halted chain."""
    stage = Stage().sound()
    stage.tell(Lost("one", "closed"), Connected("two"))
    stage.now_s += 0.6
    stage.tell(Heartbeat())
    assert stage.book.health(stage.now_s).stale


def test_wall_time_ticks_once_a_second_without_settings():
    """On a real chain event time is the wall's, and passes with or without slots."""
    stage = Stage(by_slot=False)
    assert [e for e in stage.book.check(1.0) if isinstance(e, ClockTick)] == [ClockTick(stage.clock.now_ms())]
    assert not [e for e in stage.book.check(1.5) if isinstance(e, ClockTick)]


def test_an_unreadable_vault_is_read_again_after_a_while():
    """It stays stale meanwhile, and is not asked in a loop."""
    stage = Stage().sound()
    stage.book.unreadable(MINT, "a vault is gone", stage.now_s)
    stage.book.check(stage.now_s + 4)
    assert not stage.book.repairs
    stage.book.check(stage.now_s + 6)
    assert MINT in stage.book.repairs
    assert "a vault is gone" in stage.book.health(stage.now_s + 6).tokens[MINT].problem


def test_a_write_far_ahead_of_the_chain_makes_nothing_after_it_late():
    """One wrong number of one node must not silence a token's prices, and with them its stop loss, for hours."""
    stage = Stage().sound()
    assert not stage.tell(write("QUOTE", 50_000, 1))
    repair, _ = stage.read(101, 1_000_000, 50_000_000)
    assert repair.min_slot == 101, "a read of that slot would never be answered"
    assert not stage.book.health(stage.now_s).stale
    assert prices(stage.tell(slot(102), write("BASE", 102, 999_000), write("QUOTE", 102, 50_050_000)))
    with pytest.raises(Malformed):
        stage.book.believe(50_000)


def test_a_slot_that_was_told_and_is_no_more_is_not_waited_for():
    """The hole before it was none: a read at it would be refused until the chain is there."""
    stage = Stage().sound()
    stage.tell(slot(40_000), slot(102))
    repair, _ = stage.read(102, 1_000_000, 50_000_000)
    assert repair.min_slot is not None
    assert repair.min_slot <= 102
    assert not stage.book.health(stage.now_s).stale


def test_a_slot_from_nowhere_does_not_move_the_clock():
    """One absurd number must not let time exits fire or make every later price look late."""
    stage = Stage().sound()
    clock_ms = stage.book.event_ms
    assert stage.tell(slot(2**62), write("BASE", 2**62, 5), write("QUOTE", 2**62, 5)) == []
    assert (stage.book.event_ms, stage.book.counts["malformed"]) == (clock_ms, 3)
    assert len(prices(stage.tell(write("BASE", 102, 8), write("QUOTE", 102, 9)))) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["context", "slot", "parent", "value", "owner", "data", "lamports", "root"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([SLOTS, f"{MINT}/BASE", f"{MINT}/QUOTE", "", "x/BASE", MINT]), JSON), max_size=10
    )
)
def test_nothing_that_a_node_says_breaks_the_book(messages):
    """Every malformed notification is counted; afterwards sound ones are understood as before."""
    stage = Stage().sound()
    for key, result in messages:
        stage.tell(Notification(key, result))
    stage.tell(Garbage("noise"))
    assert stage.book.counts["malformed"] >= 1
    stage.book.health(stage.now_s)
    newest = max(stage.book.slot, 200)
    stage.tell(Lost("one", "x"))
    stage.connect(newest + 1)
    stage.book.repairs.setdefault(MINT, newest)
    stage.read(newest + 1, 7, 7)
    assert stage.tell(write("BASE", newest + 5, 8), write("QUOTE", newest + 5, 9))[-1].quote_reserve == 9


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(["owner", "lamports", "data", "value", "context"]), JSON, min_size=1))
def test_a_vault_notification_with_any_part_replaced_is_refused_or_sound(damage):
    """No wrong type, size, encoding or owner makes a price; the vault is read instead."""
    stage = Stage().sound()
    notification = write("BASE", 102, 999_000)
    body = notification.result
    for name, value in damage.items():
        (body if name in ("value", "context") else body["value"] if isinstance(body["value"], dict) else body)[name] = (
            value
        )
    events = stage.tell(notification)
    assert not [e for e in events if isinstance(e, PriceTick)]
