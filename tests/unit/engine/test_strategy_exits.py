"""Every exit of every strategy, with a twin that stops just short of it."""

from __future__ import annotations

from math import exp, sin

import pytest
from core_market import MINT, MOMENTUM, REVERSION, SOL, START_MS, Market, minutes, tick

from tradingbot_engine.domain.events import BAR_MS, ClockTick, FeedStatus
from tradingbot_engine.domain.signals import Priority, Purpose, Side

ENTRY = 2.0e-7


def held(config, **changes) -> Market:
    """A market with one open position, bought at ENTRY just after the start."""
    changes = {"entry_price": ENTRY, "strategy": config.name, "opened_at_ms": START_MS} | changes
    return Market(config).ready().play([tick(START_MS, ENTRY)]).hold(**changes)


LEVELS = [
    (MOMENTUM, 1.10, "TakeProfit", Priority.HIGH),
    (MOMENTUM, 1.0999, None, None),
    (MOMENTUM, 0.95, "StopLoss", Priority.CRITICAL),
    (MOMENTUM, 0.9501, None, None),
    (REVERSION, 0.92, "StopLoss", Priority.CRITICAL),
    (REVERSION, 0.9201, None, None),
    (REVERSION, 10.0, None, None),
]


@pytest.mark.parametrize(("config", "factor", "reason", "priority"), LEVELS)
def test_a_level_is_acted_on_at_the_very_tick_that_reaches_it(config, factor, reason, priority):
    """Stop and profit are judged on every tick; a stop is critical, a profit is not."""
    market = held(config)
    effects = market.tell(tick(START_MS + 10_000, ENTRY * factor, slot=2**40))
    if reason is None:
        assert effects == []
        return
    (signal,) = market.signals
    assert (signal.reason, signal.priority) == (reason, priority)
    assert (signal.side, signal.purpose, signal.position_id) == (Side.SELL, Purpose.EXIT, "p1")
    assert signal.trigger_id == f"tick:{MINT}:{2**40}"
    assert signal.price == ENTRY * factor


@pytest.mark.parametrize(("config", "hold_min"), [(MOMENTUM, 30), (REVERSION, 120)])
def test_time_is_up_at_a_clock_tick_without_any_trade(config, hold_min):
    """Time exits need no price: the clock alone fires them, and not a millisecond early."""
    due_ms = START_MS + hold_min * BAR_MS
    market = held(config).play([FeedStatus(START_MS + 1, stale=True)])  # no bars: only the clock is left
    market.tell(ClockTick(due_ms - 1))
    assert market.signals == []
    market.tell(ClockTick(due_ms))
    (signal,) = market.signals
    assert (signal.reason, signal.priority) == ("TimeUp", Priority.HIGH)
    assert signal.trigger_id == f"clock:{MINT}:{due_ms // BAR_MS}"
    assert signal.at_ms == due_ms


@pytest.mark.parametrize(("last", "reason"), [(1.0, "MomentumGone"), (0.999, "MomentumGone"), (1.001, None)])
def test_momentum_leaves_when_the_five_minutes_return_is_gone(last, reason):
    """Judged at a bar's close: return ≤ 0 sells, a return that is still positive holds."""
    market = Market(MOMENTUM).ready()
    market.play(minutes([ENTRY] * 6))
    rise = list(minutes([ENTRY * 1.02] * 4 + [ENTRY * last], start_ms=START_MS + 6 * BAR_MS))
    market.tell(rise[0])
    market.hold(entry_price=ENTRY, opened_at_ms=START_MS + 6 * BAR_MS)
    market.play(rise[1:])
    assert market.signals == []  # until now every bar's return was positive
    end_ms = START_MS + 11 * BAR_MS
    market.tell(ClockTick(end_ms))
    assert [s.reason for s in market.signals] == ([reason] if reason else [])
    if reason:
        assert market.signals[0].trigger_id == f"bar:{MINT}:{end_ms - BAR_MS}"


def swinging(last_in_amplitudes: float) -> Market:
    """A position in a token that swung for an hour; the newest close lies so many amplitudes beside the middle."""
    market = Market(REVERSION).ready()
    swing = [ENTRY * exp(0.02 * sin(i * 0.7)) for i in range(70)]
    market.play(minutes(swing))
    market.hold(strategy="reversion", entry_price=ENTRY * 0.96, opened_at_ms=START_MS + 70 * BAR_MS)
    before = len(market.signals)
    assert before == 0
    market.play(minutes([ENTRY * exp(0.02 * last_in_amplitudes)], start_ms=START_MS + 70 * BAR_MS))
    market.tell(ClockTick(START_MS + 71 * BAR_MS))
    return market


@pytest.mark.parametrize(
    ("last", "reason", "priority"),
    [
        (0.5, "Reverted", Priority.HIGH),
        (-0.5, None, None),
        (-2.5, None, None),
    ],
)
def test_reversion_leaves_at_the_mean(last, reason, priority):
    """z ≥ 0 at a bar's close sells; below the mean it holds."""
    market = swinging(last)
    assert [(s.reason, s.priority) for s in market.signals] == ([(reason, priority)] if reason else [])


def test_reversion_gives_up_when_the_fall_goes_on():
    """z ≤ -4 sells at once, with the urgency of a stop, although the price is still above the stop level."""
    market = Market(REVERSION).ready()
    market.play(minutes([ENTRY * exp(0.004 * sin(i * 0.7)) for i in range(70)]))
    market.hold(strategy="reversion", entry_price=ENTRY * 0.98, opened_at_ms=START_MS + 70 * BAR_MS)
    market.play(minutes([ENTRY * exp(-0.004 * 5)], start_ms=START_MS + 70 * BAR_MS))
    market.tell(ClockTick(START_MS + 71 * BAR_MS))
    assert [(s.reason, s.priority) for s in market.signals] == [("Overshoot", Priority.CRITICAL)]


def test_a_stop_outranks_a_profit_and_a_bar_s_exit():
    """When several exits hold at once the most urgent one is asked for, once."""
    market = held(MOMENTUM).play([FeedStatus(START_MS + 1, stale=True)])
    market.tell(tick(START_MS + 31 * BAR_MS, ENTRY * 0.9, reserve=SOL))  # time is up as well
    assert [(s.reason, s.priority) for s in market.signals] == [("StopLoss", Priority.CRITICAL)]


def test_a_position_without_a_known_entry_price_is_left_by_time_only():
    """A price that is not positive and finite sets no levels, so nothing is sold for a nonsense loss."""
    market = held(MOMENTUM, entry_price=0.0)
    market.play(
        [FeedStatus(START_MS + 1, stale=True), tick(START_MS + 2, ENTRY / 100), tick(START_MS + 3, ENTRY * 100)]
    )
    assert market.signals == []
    market.tell(ClockTick(START_MS + 30 * BAR_MS))
    assert [s.reason for s in market.signals] == ["TimeUp"]
