"""What is asked for, when it is asked again, and what restarts, emergencies and lost answers change."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from core_market import (
    MINT,
    MOMENTUM,
    RECORDINGS,
    REVERSION,
    SOL,
    START_MS,
    TOKEN,
    Market,
    position,
    read_recording,
    risk_row,
    signals_of,
    tick,
)

from tradingbot_engine.core.state import ASK_AGAIN_MS, ENTRY_PATIENCE_MS, RETRY_MS
from tradingbot_engine.domain.effects import EmitSignal, NoteRefusal, SaveBar
from tradingbot_engine.domain.events import (
    BAR_MS,
    ClockTick,
    CloseOutChanged,
    FeedStatus,
    HistoryLoaded,
    PositionChanged,
    PriceTick,
    QuoteInUsd,
    RiskChanged,
    SignalSettled,
)
from tradingbot_engine.domain.portfolio import PositionState, Tier
from tradingbot_engine.domain.signals import Priority, Purpose

FIRES = read_recording(RECORDINGS / "momentum_5m_fires.csv")
END_MS = max(e.at_ms for e in FIRES if isinstance(e, ClockTick))


def rising(n: int):
    """Ticks after the recording that keep the entry's sign alive: the n-th minute after its end."""
    newest = [e for e in FIRES if isinstance(e, PriceTick)][-1]
    for minute in range(n):
        price = newest.price * 1.02 ** (minute + 1)
        at_ms = END_MS + minute * BAR_MS + 30_000
        yield PriceTick(MINT, at_ms // 400, at_ms, price, newest.quote_reserve, newest.volume * 4)
    yield ClockTick(END_MS + n * BAR_MS)


def held(**changes) -> Market:
    """A position at price 1 on a feed that gives no bars, so that only ticks and the clock decide."""
    market = Market(MOMENTUM, REVERSION).ready().play([tick(START_MS, 1.0), FeedStatus(START_MS, stale=True)])
    return market.hold(**changes)


def fall(at_ms: int, price: float = 0.9):
    return tick(at_ms, price)


# --- entries
def test_an_entry_is_asked_for_once_until_its_end_is_known():
    """While a signal is on its way the strategy does not ask again, though its sign is still there."""
    market = Market(MOMENTUM).play(FIRES)
    assert len(market.signals) == 1
    market.play(rising(3))
    assert len(market.signals) == 1


def test_an_entry_that_was_refused_may_be_asked_for_again_at_the_next_bar():
    """`taken` False frees the lane; the new signal has a new trigger, so it gets an intent of its own."""
    market = Market(MOMENTUM).play(FIRES)
    market.tell(SignalSettled("momentum", MINT, Purpose.ENTRY, taken=False))
    market.play(rising(1))
    first, second = market.signals
    assert second.trigger_id != first.trigger_id
    assert second.at_ms == first.at_ms + BAR_MS


def test_an_entry_whose_end_was_never_told_is_forgotten_after_a_while():
    """A lost answer must not silence a strategy for ever; the ledger allows only one entry anyway."""
    market = Market(MOMENTUM).play(FIRES).play(rising(ENTRY_PATIENCE_MS // BAR_MS))
    assert [s.at_ms - END_MS for s in market.signals] == [0, ENTRY_PATIENCE_MS]


def test_nothing_is_bought_while_a_position_is_held_or_pending():
    """One position per strategy and token, from the moment that the ledger knows of it."""
    for state in (PositionState.PENDING, PositionState.OPEN):
        market = Market(MOMENTUM).play(FIRES[:2])
        market.play([PositionChanged(position(state=state, entry_price=2.1e-7, opened_at_ms=END_MS))])
        assert [s for s in market.play(FIRES).signals if s.purpose is Purpose.ENTRY] == []


def test_another_strategy_s_position_does_not_silence_this_one():
    """Lanes are apart: each strategy has its own business in a token."""
    market = Market(MOMENTUM, REVERSION).hold(strategy="reversion", entry_price=2e-7, opened_at_ms=END_MS)
    market.play(FIRES)
    assert [s.strategy for s in market.signals if s.purpose is Purpose.ENTRY] == ["momentum"]


def test_a_token_rests_after_a_position_was_closed():
    """Cooldown: 15 minutes after the sale nothing is bought, and that is told; one bar later it is."""
    for closed_ago_min, fires in ((14, False), (15, True)):
        market = Market(MOMENTUM)
        closed_at_ms = END_MS - closed_ago_min * BAR_MS
        before = [e for e in FIRES if getattr(e, "at_ms", 0) <= closed_at_ms]
        market.play(before)
        market.tell(ClockTick(closed_at_ms))
        opened = position(opened_at_ms=closed_at_ms - BAR_MS, entry_price=2e-7)
        market.tell(PositionChanged(opened))
        market.tell(
            PositionChanged(position(opened_at_ms=closed_at_ms - BAR_MS, state=PositionState.CLOSED, sold=1000))
        )
        market.effects.clear()
        market.play(FIRES[len(before) :])
        assert bool(market.signals) is fires
        assert ("Cooldown" in market.refusals) is not fires


def test_a_restart_does_not_shorten_the_rest():
    """The ledger tells of the sale with its own time; what the core hears later changes nothing about it."""
    for closed_ago_min, fires in ((14, False), (15, True)):
        market = Market(MOMENTUM)
        sale = position(
            opened_at_ms=END_MS - 60 * BAR_MS,
            state=PositionState.CLOSED,
            sold=1000,
            closed_at_ms=END_MS - closed_ago_min * BAR_MS,
        )
        market.tell(PositionChanged(sale))
        market.play(FIRES)
        assert bool(market.signals) is fires
        assert ("Cooldown" in market.refusals) is not fires


def test_an_entry_that_never_bought_anything_causes_no_rest():
    """An abandoned entry's position closes with nothing bought: the strategy may try again at once."""
    market = Market(MOMENTUM).play(FIRES)
    for state in (PositionState.PENDING, PositionState.CLOSED):
        market.tell(PositionChanged(position(state=state, bought=0)))
    market.play(rising(1))
    assert len(market.signals) == 2


def test_history_alone_never_signals():
    """What would have been traded then is over."""
    quiet = Market(MOMENTUM).play(FIRES)
    bars = tuple(e.bar for e in quiet.effects if isinstance(e, SaveBar))
    market = Market(MOMENTUM).ready()
    assert market.tell(HistoryLoaded(MINT, bars)) == []


def test_history_that_fills_the_hole_makes_the_strategy_warm_again():
    """The twin with a hole fires as soon as the missing minute was loaded, and not before."""
    events = read_recording(RECORDINGS / "momentum_5m_twin_hole.csv")
    assert Market(MOMENTUM).play(events).signals == []
    market = Market(MOMENTUM).play(events[:-1])
    (missing_ms,) = market.state.missing_minutes(MINT, 64)
    missed = next(b for b in Market(MOMENTUM).play(FIRES).bars if b.start_ms == missing_ms)
    market.tell(HistoryLoaded(MINT, (missed,)))
    assert len(signals_of(market.tell(events[-1]))) == 1


def test_a_core_warmed_from_saved_bars_gives_the_same_signal():
    """A restart in the middle: bars from the ledger, then the rest of the market; the same trigger, the same signal."""
    whole = Market(MOMENTUM).play(FIRES)
    for cut_min in (3, 40, 66, 74):
        cut_ms = START_MS + cut_min * BAR_MS
        early = [e for e in FIRES if getattr(e, "at_ms", 0) < cut_ms]
        first = Market(MOMENTUM).play(early)
        first.tell(ClockTick(cut_ms))
        second = Market(MOMENTUM).ready()
        second.tell(HistoryLoaded(MINT, tuple(first.bars)))
        second.play(FIRES[len(early) :])
        assert second.signals == whole.signals


# --- exits
def test_an_exit_is_asked_for_once_and_then_waited_for():
    """Further ticks below the stop add nothing while the first signal is on its way."""
    market = held()
    market.play(fall(START_MS + 1000 * i) for i in range(1, 30))
    assert len(market.signals) == 1


def test_one_position_s_wish_does_not_ask_again_for_another_s():
    """A refused exit of one strategy is asked for at every tick; that of the other waits for its own answer."""
    market = held()
    market.hold(id_="p2", strategy="reversion", entry_price=1.0)
    market.tell(fall(START_MS + 1000))
    assert sorted(s.position_id or "" for s in market.signals) == ["p1", "p2"]
    market.tell(SignalSettled("momentum", MINT, Purpose.EXIT, taken=False))
    market.play(fall(START_MS + 1000 * i) for i in range(2, 5))
    assert [s.position_id for s in market.signals[2:]] == ["p1"]


def test_no_exit_is_asked_for_while_one_is_under_way():
    """`exit_open` of the ledger's row silences every kind of exit, a time exit included."""
    market = held()
    market.tell(PositionChanged(position(exit_open=True)))
    market.play([fall(START_MS + 1000), ClockTick(START_MS + 40 * BAR_MS)])
    assert market.signals == []


def test_a_failed_exit_is_asked_for_again_after_a_pause():
    """The failure is in the position that risk sees; the new signal has a new trigger. The price may have come back."""
    market = held()
    market.tell(fall(START_MS + 1000))
    market.tell(PositionChanged(position(exit_open=True)))
    market.tell(PositionChanged(position(exit_open=False, exit_failures=1)))
    market.tell(tick(START_MS + 2999, 1.0))
    assert len(market.signals) == 1
    market.tell(tick(START_MS + 3400, 1.0))
    first, second = market.signals
    assert second.trigger_id == f"tick:{MINT}:{(START_MS + 3400) // 400}"
    assert (second.reason, second.priority) == (first.reason, first.priority) == ("StopLoss", Priority.CRITICAL)


def test_a_failed_exit_is_asked_for_again_by_the_clock_if_no_tick_comes():
    """A pool that nobody trades any more is just where an exit matters."""
    market = held()
    market.tell(fall(START_MS + 1000))
    market.tell(PositionChanged(position(exit_open=True)))
    market.tell(PositionChanged(position(exit_open=False, exit_failures=1)))
    market.tell(ClockTick(START_MS + 2999))
    assert len(market.signals) == 1
    market.tell(ClockTick(START_MS + 3000))
    assert market.signals[1].trigger_id == f"clock:{MINT}:{(START_MS + 3000) // BAR_MS}"


@pytest.mark.parametrize(
    ("begin_s", "price", "reason", "pauses_s"),
    [
        (1, 0.9, "StopLoss", [2, 4, 8, 16, 32] + [60] * 60),
        (31 * 60, 1.0, "TimeUp", [2, 4, 8, 16, 32, 64, 128, 256, 512] + [600] * 4),
    ],
)
def test_an_exit_that_always_fails_is_tried_ever_more_rarely(begin_s, price, reason, pauses_s):
    """Each failure may have cost a fee: 2, 4, 8, … seconds of event time, at most ten minutes, one for critical exits."""
    market = held()
    asked_at_s: list[int] = []
    for n in range(begin_s, begin_s + sum(pauses_s) + 1):
        at_ms = START_MS + n * 1000
        if exits := signals_of([*market.tell(ClockTick(at_ms)), *market.tell(tick(at_ms, price))]):
            assert [s.reason for s in exits] == [reason]
            asked_at_s.append(n)
            market.tell(PositionChanged(position(exit_open=True, exit_failures=len(asked_at_s) - 1)))
            market.tell(PositionChanged(position(exit_failures=len(asked_at_s))))
            market.tell(SignalSettled("momentum", MINT, Purpose.EXIT, taken=False))
    assert [b - a for a, b in pairwise(asked_at_s)] == pauses_s
    assert market.refusals.count("ExitFailed") == len(asked_at_s)


def test_a_stop_does_not_wait_out_the_pause_of_a_lesser_exit():
    """The pause is that of the exit which is due now: after many failed time exits, the stop comes within a minute."""
    market = held(exit_failures=11)
    begin_ms = START_MS + 31 * BAR_MS
    market.tell(ClockTick(begin_ms))
    market.tell(PositionChanged(position(exit_failures=12)))
    market.play(tick(begin_ms + s * 1000, 1.0) for s in range(1, 120))
    assert [s.reason for s in market.signals] == ["TimeUp"]
    market.tell(fall(begin_ms + 120_000))
    assert [s.reason for s in market.signals] == ["TimeUp", "StopLoss"]


def test_a_restart_does_not_shorten_the_pause_after_a_failed_exit():
    """The ledger keeps when it failed: a bot that is started again and again must not pay a fee each time."""
    market = held(exit_failures=12, exit_failed_at_ms=START_MS)
    market.play(fall(START_MS + s * 1000) for s in range(1, 60))
    assert market.signals == []
    market.tell(fall(START_MS + 60_000))
    assert [s.reason for s in market.signals] == ["StopLoss"]


def test_a_failure_that_event_time_has_not_reached_by_far_holds_no_exit_up():
    """Another recording may begin earlier than the one under which the exit failed."""
    market = held(exit_failures=12, exit_failed_at_ms=START_MS + 3_600_000)
    market.tell(fall(START_MS + 1000))
    assert [s.reason for s in market.signals] == ["StopLoss"]


def test_the_same_trigger_is_never_used_twice_for_a_position():
    """It would be the same intent: the ledger knows it, so asking again could only be refused."""
    market = held()
    market.tell(ClockTick(START_MS + 30 * BAR_MS))
    market.tell(PositionChanged(position(exit_open=True)))
    market.tell(PositionChanged(position(exit_open=False, exit_failures=1)))
    market.tell(ClockTick(START_MS + 30 * BAR_MS + 100))
    assert len(market.signals) == 1
    market.tell(ClockTick(START_MS + 31 * BAR_MS))
    assert len(market.signals) == 2


def test_a_refused_exit_is_asked_for_again_after_a_pause():
    """A refusal that stays (a pause, a ledger that is away) is not asked at every tick."""
    market = held()
    market.tell(fall(START_MS + 1000))
    market.tell(SignalSettled("momentum", MINT, Purpose.EXIT, taken=False))
    market.tell(fall(START_MS + 1000 + RETRY_MS - 1))
    assert len(market.signals) == 1
    market.tell(fall(START_MS + 1000 + RETRY_MS + 400))
    assert len(market.signals) == 2


def test_an_exit_that_stays_refused_is_asked_for_ever_more_rarely():
    """Pauses of 1, 2, 4, 8, then 16 seconds; once one was under way the failure's own pause counts, and no more."""
    market = held()
    asked_at_s = []
    for second in range(1, 80):
        if signals_of(market.tell(fall(START_MS + second * 1000))):
            asked_at_s.append(second)
            market.tell(SignalSettled("momentum", MINT, Purpose.EXIT, taken=False))
    assert [b - a for a, b in pairwise(asked_at_s)] == [1, 2, 4, 8, 16, 16, 16]
    market.tell(PositionChanged(position(exit_open=True)))
    market.tell(PositionChanged(position(exit_failures=1)))
    assert signals_of(market.tell(fall(START_MS + 80_999))) == []
    assert len(signals_of(market.tell(fall(START_MS + 81_000)))) == 1


def test_an_exit_that_was_never_tried_is_asked_for_again_soon():
    """No quote, no node: no failure is told, and the pause grows from 1 to 16 seconds only; a real failure ends the series."""
    market, asked_at_s = held(), []
    for second in range(1, 80):
        if signals_of(market.tell(fall(START_MS + second * 1000))):
            asked_at_s.append(second)
            market.tell(PositionChanged(position(exit_open=True)))
            market.tell(PositionChanged(position()))
            market.tell(SignalSettled("momentum", MINT, Purpose.EXIT, taken=False))
    assert [b - a for a, b in pairwise(asked_at_s)] == [1, 2, 4, 8, 16, 16, 16]
    assert "ExitFailed" not in market.refusals
    market.tell(PositionChanged(position(exit_open=True)))
    market.tell(PositionChanged(position(exit_failures=1)))
    assert signals_of(
        market.tell(fall(START_MS + 81_000))
    )  # 2 s after the failure, however many came to nothing before


def test_an_exit_of_which_nothing_is_heard_is_asked_for_again():
    """A lost answer must not leave a position open for ever."""
    market = held()
    market.tell(fall(START_MS + 1000))
    market.tell(ClockTick(START_MS + 1000 + ASK_AGAIN_MS - 1))
    assert len(market.signals) == 1
    market.tell(ClockTick(START_MS + 1000 + ASK_AGAIN_MS))
    assert len(market.signals) == 2


def test_a_pending_position_is_not_sold():
    """Nothing can be sold before its purchase is confirmed; then the stop counts at the next tick."""
    market = held(state=PositionState.PENDING, bought=0)
    market.tell(fall(START_MS + 1000))
    assert market.signals == []
    market.tell(PositionChanged(position()))
    market.tell(fall(START_MS + 2000))
    assert [s.reason for s in market.signals] == ["StopLoss"]


def test_exits_go_on_while_the_feed_is_stale():
    """Staleness blocks entries only: time exits and emergencies need no fresh price."""
    market = held()
    assert market.state.tokens[MINT].stale
    market.tell(ClockTick(START_MS + 30 * BAR_MS))
    assert [s.reason for s in market.signals] == ["TimeUp"]


def test_a_closed_position_is_forgotten():
    """No exit for what is not held, and no memory of it."""
    market = held()
    market.tell(PositionChanged(position(state=PositionState.CLOSED, sold=1000)))
    market.play([fall(START_MS + 1000), ClockTick(START_MS + 40 * BAR_MS)])
    assert market.signals == []
    assert market.state.homes == {}


def test_levels_follow_the_fill_s_own_price():
    """The entry price becomes exact with the fill; the stop moves with it."""
    market = held()
    market.tell(PositionChanged(position(entry_price=2.0)))
    market.tell(tick(START_MS + 1000, 1.9 + 1e-6))
    assert market.signals == []
    market.tell(tick(START_MS + 2000, 1.9))
    assert [s.reason for s in market.signals] == ["StopLoss"]


# --- emergency
def emergency(at_ms: int, since_ms: int = 77) -> RiskChanged:
    return RiskChanged(at_ms, risk_row(tier=Tier.EMERGENCY, tier_since_ms=since_ms, tier_reason="test"))


def close_out(at_ms: int, since_ms: int = 88) -> CloseOutChanged:
    return CloseOutChanged(at_ms, since_ms)


everything_goes = pytest.mark.parametrize(
    ("told", "reason", "trigger"),
    [(emergency, "Emergency", f"risk:{MINT}:77"), (close_out, "CloseOut", f"close:{MINT}:88")],
    ids=["an emergency", "closing out"],
)


@everything_goes
def test_the_close_of_every_position_is_asked_for_at_once(told, reason, trigger):
    """Critical exits, without waiting for a tick, under a trigger that is the same after a restart."""
    market = held()
    market.hold(id_="p2", strategy="reversion", entry_price=1.0)
    signals = signals_of(market.tell(told(START_MS + 1000)))
    assert [(s.position_id, s.reason, s.priority) for s in signals] == [
        ("p1", reason, Priority.CRITICAL),
        ("p2", reason, Priority.CRITICAL),
    ]
    assert {s.trigger_id for s in signals} == {trigger}
    assert market.tell(told(START_MS + 1001)) == []


@everything_goes
def test_the_close_is_asked_for_again_after_a_failed_exit(told, reason, trigger):
    """As long as the tier or the wish stands, whatever is still held is asked for at the next event."""
    market = held()
    market.tell(told(START_MS + 1000))
    market.tell(PositionChanged(position(exit_open=True)))
    market.tell(PositionChanged(position(exit_open=False, exit_failures=1)))
    market.tell(tick(START_MS + 2000, 1.0))
    assert [s.trigger_id for s in market.signals] == [trigger, f"tick:{MINT}:{(START_MS + 2000) // 400}"]


@everything_goes
def test_a_purchase_that_lands_while_everything_goes_is_sold_at_once(told, reason, trigger):
    """It was in flight when that began, or was resolved by the engine after the one that bought."""
    market = held(state=PositionState.PENDING, bought=0)
    market.tell(told(START_MS + 1000))
    assert market.signals == []
    market.tell(PositionChanged(position()))
    assert [s.reason for s in market.signals] == [reason]


def test_after_a_reset_the_remaining_positions_are_kept():
    """A person ended the emergency: what was only wished by it is not sold any more."""
    market = held()
    market.tell(PositionChanged(position(exit_open=True)))
    market.tell(emergency(START_MS + 1000))
    market.tell(PositionChanged(position(exit_open=False, exit_failures=1)))
    market.effects.clear()
    market.tell(RiskChanged(START_MS + 1500, risk_row()))
    market.tell(SignalSettled("momentum", MINT, Purpose.EXIT, taken=False))
    market.play([tick(START_MS + 3000, 1.0), ClockTick(START_MS + 4000)])
    assert market.signals == []


def test_positions_nobody_manages_are_told_and_sold_in_an_emergency():
    """A strategy or token that left the manifest with a position open: said once, and closed with everything else."""
    market = held(id_="p9", strategy="gone")
    assert market.refusals == ["NobodyManages"]
    market.tell(PositionChanged(replace(position(id_="p8", strategy="gone", entry_price=3.0), mint="Elsewhere")))
    assert market.refusals == ["NobodyManages"] * 2
    market.play([fall(START_MS + 1000), ClockTick(START_MS + 999 * BAR_MS)])
    assert market.signals == []
    market.tell(emergency(START_MS + 999 * BAR_MS))
    assert [(s.position_id, s.mint) for s in market.signals] == [("p9", MINT), ("p8", "Elsewhere")]
    assert market.signals[1].price == 3.0


# --- closing out
def test_nothing_is_bought_while_closing_out_and_that_is_told():
    """The strategy's sign is there; the very same market fires without the wish."""
    assert [s.purpose for s in Market(MOMENTUM).play(FIRES).signals] == [Purpose.ENTRY]
    market = Market(MOMENTUM).play([close_out(START_MS)]).play(FIRES)
    assert market.signals == []
    assert "ClosingOut" in market.refusals
    market.tell(close_out(END_MS, since_ms=0))
    assert [s.purpose for s in market.play(rising(1)).signals] == [Purpose.ENTRY]


def test_what_is_left_when_the_wish_is_taken_back_is_kept():
    """An emergency that still stands goes on selling it."""
    market = held()
    market.tell(PositionChanged(position(exit_open=True)))
    market.tell(close_out(START_MS + 1000))
    market.tell(PositionChanged(position(exit_open=False, exit_failures=1)))
    market.effects.clear()
    market.tell(close_out(START_MS + 1500, since_ms=0))
    market.tell(SignalSettled("momentum", MINT, Purpose.EXIT, taken=False))
    market.play([tick(START_MS + 3000, 1.0), ClockTick(START_MS + 4000)])
    assert market.signals == []
    for event in (close_out(START_MS + 5000), emergency(START_MS + 5000), close_out(START_MS + 5001, since_ms=0)):
        market.tell(event)
    market.tell(SignalSettled("momentum", MINT, Purpose.EXIT, taken=False))
    market.effects.clear()
    market.tell(tick(START_MS + 60_000, 1.0))
    assert [s.reason for s in market.signals] == ["Emergency"]


# --- other events
def test_a_nonsense_dollar_value_is_ignored():
    """The last good one stays."""
    market = Market().ready()
    for usd in (float("nan"), float("inf"), 0.0, -3.0):
        market.tell(QuoteInUsd(START_MS, usd))
    assert market.state.quote_usd == 150.0


def test_the_order_size_follows_the_capital():
    """Impact is judged for the size that risk would give: 2 % of the capital of the newest risk row."""
    market = Market().ready(capital=10 * SOL)
    assert market.state.order_quote == SOL // 5
    market.tell(RiskChanged(START_MS, risk_row(50 * SOL)))
    assert market.state.order_quote == SOL


def test_staleness_of_one_token_leaves_the_others_alone():
    """A hole in one pool's feed does not stop the bot."""
    other = TOKEN.__class__("Other", "OTH", 6)
    market = Market(tokens=(TOKEN, other))
    market.tell(FeedStatus(START_MS, stale=True, mint="Other"))
    assert [t.stale for t in market.state.tokens.values()] == [False, True]
    market.tell(FeedStatus(START_MS, stale=True))
    market.tell(FeedStatus(START_MS, stale=False, mint=MINT))
    assert [t.stale for t in market.state.tokens.values()] == [False, True]


def test_time_never_goes_back():
    """An old clock tick closes nothing and fires nothing."""
    market = held()
    market.tell(ClockTick(START_MS + 29 * BAR_MS))
    effects = market.tell(ClockTick(START_MS - 40 * BAR_MS))
    assert effects == []
    assert market.state.now_ms == START_MS + 29 * BAR_MS


def test_effects_are_of_three_kinds():
    """The shell matches on these and nothing else."""
    kinds = {type(e) for e in Market(MOMENTUM).play(FIRES).effects}
    assert kinds == {EmitSignal, SaveBar, NoteRefusal}
