"""Bars: built from ticks by event time, closed once, never invented while the feed was silent."""

from __future__ import annotations

from math import inf, nan

import pytest
from core_market import MINT, SOL, START_MS, Market, tick

from tradingbot_engine.core.bars import RING_MINUTES, BarRing, is_sound
from tradingbot_engine.domain.effects import SaveBar
from tradingbot_engine.domain.events import BAR_MS, Bar, ClockTick, FeedStatus, HistoryLoaded


def bar(minute: int, close: float = 1.0, volume: int = 5) -> Bar:
    return Bar(START_MS + minute * BAR_MS, close, close, close, close, volume, SOL)


def test_a_bar_holds_what_its_minute_s_ticks_say():
    """Open is the first price, close the last, volume the sum, reserve the last."""
    market = Market().play(
        [
            tick(START_MS, 2.0, volume=1, reserve=10),
            tick(START_MS + 20_000, 5.0, volume=2, reserve=11),
            tick(START_MS + 40_000, 1.0, volume=3, reserve=12),
            tick(START_MS + 59_999, 3.0, volume=4, reserve=13),
        ]
    )
    assert market.bars == []
    assert market.tell(tick(START_MS + BAR_MS, 9.0))[0] == SaveBar(MINT, Bar(START_MS, 2.0, 5.0, 1.0, 3.0, 10, 13))


def test_the_clock_closes_a_bar_without_a_tick():
    """A quiet pool's bar does not wait for the next trade."""
    market = Market().play([tick(START_MS, 2.0)])
    assert market.tell(ClockTick(START_MS + BAR_MS - 1)) == []
    market.tell(ClockTick(START_MS + BAR_MS))
    assert [b.start_ms for b in market.bars] == [START_MS]
    assert market.tell(ClockTick(START_MS + BAR_MS + 1)) == []


def test_quiet_minutes_on_a_live_feed_become_flat_bars():
    """The feed was alive, so we know that nothing was traded: price and reserve stay, volume is zero."""
    market = Market().play([tick(START_MS, 2.0, reserve=7), ClockTick(START_MS + 3 * BAR_MS)])
    assert market.bars[1:] == [
        Bar(START_MS + BAR_MS, 2.0, 2.0, 2.0, 2.0, 0, 7),
        Bar(START_MS + 2 * BAR_MS, 2.0, 2.0, 2.0, 2.0, 0, 7),
    ]


def test_minutes_in_which_the_feed_was_stale_stay_holes():
    """Trades may have been missed: a minute without ticks is no flat bar if the feed was stale in any part of it."""
    market = Market().play(
        [
            tick(START_MS, 2.0),
            FeedStatus(START_MS + 90_000, stale=True),
            FeedStatus(START_MS + 200_000, stale=False),
            ClockTick(START_MS + 6 * BAR_MS),
        ]
    )
    assert [(b.start_ms - START_MS) // BAR_MS for b in market.bars] == [0, 4, 5]
    assert market.state.missing_minutes(MINT, 6) == [START_MS + m * BAR_MS for m in (1, 2, 3)]


def test_a_stale_minute_with_ticks_is_kept():
    """What was seen was seen: its close is right even if its volume may be too small."""
    market = Market().play([FeedStatus(START_MS, stale=True), tick(START_MS + 1, 2.0), ClockTick(START_MS + BAR_MS)])
    assert [b.close for b in market.bars] == [2.0]


def test_a_tick_of_an_older_bar_is_counted_and_ignored():
    """Bars that were closed stay as they were saved."""
    market = Market().play([tick(START_MS, 2.0), tick(START_MS + BAR_MS, 3.0), tick(START_MS + 59_000, 99.0)])
    market.tell(ClockTick(START_MS + 2 * BAR_MS))
    assert [(b.high, b.volume) for b in market.bars] == [(2.0, SOL), (3.0, SOL)]
    assert market.state.tokens[MINT].late_ticks == 1


def test_a_tick_of_a_minute_that_the_clock_closed_is_late():
    """It is newer than any tick before, but its bar is closed: it must not become part of the next one."""
    market = Market().play([tick(START_MS, 2.0), ClockTick(START_MS + BAR_MS), tick(START_MS + 59_000, 99.0)])
    market.play([tick(START_MS + BAR_MS + 1, 3.0), ClockTick(START_MS + 2 * BAR_MS)])
    assert [(b.open, b.high, b.volume) for b in market.bars] == [(2.0, 2.0, SOL), (3.0, 3.0, SOL)]
    assert market.state.tokens[MINT].late_ticks == 1


def test_a_late_tick_of_the_present_minute_widens_the_bar_but_is_not_its_close():
    """It was traded in this minute, but another price is newer."""
    market = Market().play([tick(START_MS + 9_000, 2.0, volume=1), tick(START_MS + 5_000, 4.0, volume=2)])
    market.tell(ClockTick(START_MS + BAR_MS))
    (made,) = market.bars
    assert (made.open, made.high, made.low, made.close, made.volume) == (2.0, 4.0, 2.0, 2.0, 3)


def test_a_tick_of_an_older_slot_is_late_whatever_its_time():
    """A node that lags behind tells an old price now: the slot says which is newer."""
    market = Market().ready().play([tick(START_MS, 1.0, slot=500)]).hold(entry_price=1.0)
    market.tell(tick(START_MS + 1000, 0.1, slot=499))
    assert market.signals == []
    market.tell(ClockTick(START_MS + BAR_MS))
    assert [(b.low, b.close) for b in market.bars] == [(0.1, 1.0)]
    assert market.state.tokens[MINT].late_ticks == 1


def test_the_last_write_in_a_slot_wins():
    """Several notifications of one slot are one price: the last."""
    market = Market().play([tick(START_MS, 1.0, slot=500), tick(START_MS, 2.0, slot=500), ClockTick(START_MS + BAR_MS)])
    assert [(b.open, b.close) for b in market.bars] == [(1.0, 2.0)]


def test_missing_minutes_are_asked_for_only_where_there_is_a_past():
    """Of an unknown token, or before the first minute is over, nothing is missing."""
    market = Market().play([tick(START_MS, 1.0), ClockTick(START_MS + BAR_MS)])
    assert market.state.missing_minutes("unknown", 5) == []
    assert market.state.missing_minutes(MINT, 2) == [START_MS - BAR_MS]
    assert Market().state.missing_minutes(MINT, 5) == []


def test_a_late_tick_sells_nothing():
    """An exit is decided by the newest price, not by one that is over."""
    market = Market().ready().play([tick(START_MS + 9_000, 1.0)]).hold(entry_price=1.0)
    market.tell(tick(START_MS + 8_000, 0.1))
    assert market.signals == []


@pytest.mark.parametrize("price", [nan, inf, -inf, 0.0, -1.0])
def test_prices_that_cannot_be_are_counted_and_touch_nothing(price):
    """NaN, infinite and non-positive prices are no prices."""
    market = Market().ready().play([tick(START_MS, 1.0)]).hold(entry_price=1.0)
    assert market.tell(tick(START_MS + 1000, price)) == []
    market.tell(ClockTick(START_MS + BAR_MS))
    assert market.bars == [Bar(START_MS, 1.0, 1.0, 1.0, 1.0, SOL, 1000 * SOL)]
    assert market.state.tokens[MINT].bad_ticks == 1
    assert market.signals == []


@pytest.mark.parametrize(("volume", "reserve"), [(-1, 1), (1, -1), (2**64, 1), (1, 2**64)])
def test_amounts_that_cannot_be_are_no_ticks(volume, reserve):
    """Vaults hold unsigned 64-bit amounts."""
    market = Market().play([tick(START_MS, 1.0, volume=volume, reserve=reserve), ClockTick(START_MS + BAR_MS)])
    assert market.bars == []


def test_a_tick_of_an_unknown_token_is_ignored():
    """The feed may still tell of a token that left the manifest."""
    assert Market().tell(tick(START_MS, 1.0, mint="somebody else")) == []


def test_a_gap_longer_than_the_ring_costs_one_ring_at_most():
    """A suspended machine must not produce bars for a month."""
    market = Market().play([tick(START_MS, 1.0), ClockTick(START_MS + 40_000 * BAR_MS)])
    assert len(market.bars) == RING_MINUTES + 1
    assert market.bars[0].volume == SOL
    assert market.bars[-1].start_ms == START_MS + 39_999 * BAR_MS


def test_history_fills_holes_and_never_replaces_a_live_bar():
    """What we saw ourselves wins; what we missed is taken."""
    market = Market().play([tick(START_MS + BAR_MS, 2.0), ClockTick(START_MS + 2 * BAR_MS)])
    market.tell(HistoryLoaded(MINT, (bar(0), bar(1, 77.0))))
    bars = market.state.tokens[MINT].bars
    assert bars.close_at(START_MS) == 1.0
    assert bars.close_at(START_MS + BAR_MS) == 2.0


def test_history_s_unfinished_minute_is_not_taken():
    """A provider's newest candle is still moving; as a closed bar it would be wrong for ever."""
    market = Market().play([tick(START_MS + 10 * BAR_MS + 30_000, 2.0)])
    market.tell(HistoryLoaded(MINT, (bar(9), bar(10), bar(11))))
    bars = market.state.tokens[MINT].bars
    assert START_MS + 9 * BAR_MS in bars
    assert START_MS + 10 * BAR_MS not in bars
    assert START_MS + 11 * BAR_MS not in bars


UNSOUND = [
    Bar(START_MS + 1, 1, 1, 1, 1, 0, 0),
    Bar(-BAR_MS, 1, 1, 1, 1, 0, 0),
    Bar(START_MS, nan, 1, 1, 1, 0, 0),
    Bar(START_MS, 1, nan, 1, 1, 0, 0),
    Bar(START_MS, 1, 1, nan, 1, 0, 0),
    Bar(START_MS, 1, 1, 1, nan, 0, 0),
    Bar(START_MS, 1, inf, 1, 1, 0, 0),
    Bar(START_MS, 1, 1, 0, 1, 0, 0),
    Bar(START_MS, 1, 2, 1.5, 1.2, 0, 0),
    Bar(START_MS, 3, 2, 1, 1.5, 0, 0),
    Bar(START_MS, 1, 1, 1, 1, -1, 0),
    Bar(START_MS, 1, 1, 1, 1, 0, -1),
]


@pytest.mark.parametrize("unsound", UNSOUND)
def test_unsound_history_is_left_out(unsound):
    """A bar that contradicts itself never reaches a strategy."""
    assert not is_sound(unsound)
    market = Market()
    market.tell(HistoryLoaded(MINT, (unsound,)))
    assert len(market.state.tokens[MINT].bars) == 0


def test_a_window_is_there_only_if_every_minute_is():
    """One hole makes a window None, wherever the ring's end happens to lie."""
    to_the_end = -(START_MS // BAR_MS) % RING_MINUTES
    for minute in (0, 7, to_the_end - 6, to_the_end - 3, to_the_end, to_the_end + RING_MINUTES - 1):
        ring = BarRing()
        for i in range(6):
            ring.put(bar(minute + i, close=float(i + 1), volume=i))
        last_ms = START_MS + (minute + 5) * BAR_MS
        assert list(ring.closes(last_ms, 6) or ()) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert list(ring.volumes(last_ms, 3) or ()) == [3, 4, 5]
        assert ring.closes(last_ms, 7) is None
        assert ring.closes(last_ms + BAR_MS, 2) is None
        assert ring.missing(last_ms, 8) == [last_ms - 7 * BAR_MS, last_ms - 6 * BAR_MS]


def test_the_ring_forgets_what_is_older_than_it_reaches():
    """Memory is bounded: 25 hours a token, whatever is loaded."""
    ring = BarRing(minutes=10)
    assert ring.put(bar(100))
    assert not ring.put(bar(90))
    assert ring.put(bar(91))
    assert ring.put(bar(101))
    assert len(ring) == 2
    assert ring.get(START_MS + 91 * BAR_MS) is None
    assert ring.get(START_MS + 101 * BAR_MS) == bar(101)
    assert ring.newest_at_or_before(START_MS + 100 * BAR_MS + 59_999) == START_MS + 100 * BAR_MS
    assert ring.newest_at_or_before(START_MS + 99 * BAR_MS) is None
