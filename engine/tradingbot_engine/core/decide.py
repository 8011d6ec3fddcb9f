"""
State and event in, effects out: the only place where the bot decides.

Deterministic: the same state and the same events give the same effects. Bars are built from ticks by event time; a bar
closes when a tick, the clock or the feed's status passes its end, and strategies are asked at the close of the newest
bar. A minute without trades becomes a flat bar only while the feed was alive: then we know that nothing happened. A
minute in which the feed was stale and no tick came stays a hole, which history may fill, since trades may have been missed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite
from typing import Any

from tradingbot_engine.core.bars import MAX_U64, RING_MINUTES, is_sound
from tradingbot_engine.core.exits import ask_exits, settle, take_close_out, take_position, take_risk
from tradingbot_engine.core.screening import screen_token
from tradingbot_engine.core.state import ENTRY_PATIENCE_MS, CoreState, Lane, TokenState
from tradingbot_engine.core.strategies.base import Declined, MarketView
from tradingbot_engine.domain.effects import Effect, EmitSignal, NoteRefusal, SaveBar
from tradingbot_engine.domain.events import (
    BAR_MS,
    Bar,
    ClockTick,
    CloseOutChanged,
    Event,
    FeedStatus,
    HistoryLoaded,
    PositionChanged,
    PriceTick,
    QuoteInUsd,
    RiskChanged,
    SignalSettled,
    TokenFacts,
)
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.domain.units import UnixMs


def decide(state: CoreState, event: Event) -> list[Effect]:
    """Return what `event` asks of the outside, in the order in which it should happen; changes `state`."""
    if type(event) is PriceTick:  # by far the most frequent
        return _on_price(state, event)
    handler = _HANDLERS.get(type(event))
    return handler(state, event) if handler else []


def _on_price(state: CoreState, tick: PriceTick) -> list[Effect]:
    token = state.tokens.get(tick.mint)
    if token is None:
        return []
    price, volume, reserve, at_ms = tick.price, tick.volume, tick.quote_reserve, tick.at_ms
    if not (0.0 < price < inf and 0 <= volume <= MAX_U64 and 0 <= reserve <= MAX_U64):
        token.bad_ticks += 1
        return []
    if at_ms > state.now_ms:
        state.now_ms = at_ms

    effects: list[Effect] = []
    if at_ms >= token.bar_end_ms:
        effects = _close_until(state, token, at_ms)
        if token.bar_start_ms < 0:
            _start(state, token, at_ms)
    if at_ms < token.at_ms or tick.slot < token.slot:
        token.late_ticks += 1
        if (
            at_ms >= token.bar_start_ms and token.ticks
        ):  # it did trade there in this minute, but is not the newest price
            token.high, token.low = max(token.high, price), min(token.low, price)
            token.volume += volume
        return effects

    if token.ticks:
        if price > token.high:
            token.high = price
        elif price < token.low:
            token.low = price
        token.volume += volume
    else:
        token.open = token.high = token.low = price
        token.volume = volume
    token.ticks += 1
    token.close = price
    token.quote_reserve = reserve
    token.at_ms = at_ms
    token.slot = tick.slot

    if price <= token.floor or price >= token.ceiling or token.eager:
        effects += ask_exits(state, token, trigger=f"tick:{tick.mint}:{tick.slot}", at_ms=at_ms, price=price)
    return effects


def _on_clock(state: CoreState, tick: ClockTick) -> list[Effect]:
    effects = _pass_time(state, tick.at_ms)
    if state.now_ms >= state.next_deadline_ms or state.eager:
        minute = state.now_ms // BAR_MS
        for token in state.due(state.now_ms):
            trigger = f"clock:{token.token.mint}:{minute}"
            effects += ask_exits(state, token, trigger=trigger, at_ms=state.now_ms, price=token.close)
    return effects


def _on_feed(state: CoreState, status: FeedStatus) -> list[Effect]:
    effects = _pass_time(state, status.at_ms)
    for token in state.tokens.values():
        if status.mint is None or status.mint == token.token.mint:
            token.stale = status.stale
            token.was_stale = True
    return effects


def _on_history(state: CoreState, history: HistoryLoaded) -> list[Effect]:
    token = state.tokens.get(history.mint)
    if token is None:
        return []
    for bar in history.bars:
        # A minute that has not ended, or that is being built from live ticks, is not history's to close.
        ended = bar.start_ms + BAR_MS <= state.now_ms or state.now_ms == 0
        if ended and bar.start_ms != token.bar_start_ms and bar.start_ms not in token.bars and is_sound(bar):
            token.bars.put(bar)
    return []


def _on_usd(state: CoreState, quote: QuoteInUsd) -> list[Effect]:
    if isfinite(quote.usd) and quote.usd > 0:
        state.quote_usd = quote.usd
    return []


def _on_facts(state: CoreState, facts: TokenFacts) -> list[Effect]:
    token = state.tokens.get(facts.mint)
    if token is not None:
        token.facts = facts
    return []


def _pass_time(state: CoreState, at_ms: UnixMs) -> list[Effect]:
    """Move event time on (never back) and close the bars whose end has passed."""
    effects: list[Effect] = []
    if at_ms > state.now_ms:
        state.now_ms = at_ms
    if at_ms >= state.next_minute_ms:
        state.next_minute_ms = at_ms - at_ms % BAR_MS + BAR_MS
        for token in state.tokens.values():
            if token.bar_start_ms >= 0 and at_ms >= token.bar_end_ms:
                effects += _close_until(state, token, at_ms)
    return effects


def _start(state: CoreState, token: TokenState, at_ms: UnixMs) -> None:
    token.bar_start_ms = at_ms - at_ms % BAR_MS
    token.bar_end_ms = token.bar_start_ms + BAR_MS
    token.at_ms = max(token.at_ms, token.bar_start_ms)  # a tick of a closed minute is late, though no newer one came
    token.ticks, token.volume = 0, 0
    token.was_stale = token.stale
    state.next_minute_ms = min(state.next_minute_ms, token.bar_end_ms)


def _close_until(state: CoreState, token: TokenState, at_ms: UnixMs) -> list[Effect]:
    """Close the minute under way and every one after it that ended by `at_ms`, then ask the strategies once."""
    if token.bar_start_ms < 0:
        return []
    effects: list[Effect] = []
    mint = token.token.mint
    last_ms = at_ms - at_ms % BAR_MS - BAR_MS
    start_ms = token.bar_start_ms
    while start_ms <= last_ms:
        bar: Bar | None = None
        if token.ticks:
            volume = min(token.volume, MAX_U64)
            bar = Bar(start_ms, token.open, token.high, token.low, token.close, volume, token.quote_reserve)
        elif not token.was_stale and token.close > 0.0:
            price = token.close
            bar = Bar(start_ms, price, price, price, price, 0, token.quote_reserve)
        token.ticks, token.volume, token.was_stale = 0, 0, token.stale
        if bar is not None:
            token.bars.put(bar)
            effects.append(SaveBar(mint, bar))
        # Of a longer gap only what the ring would still hold at its end is worth a bar.
        start_ms = max(start_ms + BAR_MS, last_ms - (RING_MINUTES - 1) * BAR_MS)
    _start(state, token, at_ms)
    if last_ms in token.bars:
        effects += _ask_strategies(state, token, last_ms)
    return effects


def _ask_strategies(state: CoreState, token: TokenState, last_ms: UnixMs) -> list[Effect]:
    effects: list[Effect] = []
    market = MarketView(token.bars, last_ms, state.quote_usd, state.quote_unit, state.order_quote)
    close = token.bars.close_at(last_ms) or 0.0
    trigger, at_ms = f"bar:{token.token.mint}:{last_ms}", last_ms + BAR_MS
    wanted = False
    if state.screen.asks:
        effects += screen_token(state, token, last_ms)
    for lane in token.lanes.values():
        if lane.holdings:
            for holding in lane.holdings.values():
                if lane.strategy is not None and holding.wanted is None and holding.idle:
                    holding.wanted = lane.strategy.on_bar_held(market, holding.position)
                    wanted = wanted or holding.wanted is not None
        elif lane.strategy is not None and token.screened is None:
            effects += _ask_entry(state, token, lane, market, trigger=trigger, at_ms=at_ms, price=close)
    if wanted or token.eager or at_ms >= token.deadline_ms:
        effects += ask_exits(state, token, trigger=trigger, at_ms=at_ms, price=close)
        state.rearm(token)
    return effects


def _ask_entry(
    state: CoreState, token: TokenState, lane: Lane, market: MarketView, *, trigger: str, at_ms: UnixMs, price: float
) -> list[Effect]:
    if lane.entry_asked_at_ms is not None:
        if at_ms < lane.entry_asked_at_ms + ENTRY_PATIENCE_MS:
            return []
        lane.entry_asked_at_ms = None
    strategy, mint = lane.strategy, token.token.mint
    assert strategy is not None
    answer = strategy.on_bar(market)
    if answer is None:
        return []
    if isinstance(answer, Declined):
        return [NoteRefusal(lane.name, mint, answer.reason, answer.message)]
    if state.closing_since_ms:
        return [NoteRefusal(lane.name, mint, "ClosingOut", f"{answer.reason}, but the bot sells all that it holds")]
    if token.stale:
        return [NoteRefusal(lane.name, mint, "StaleMarketData", f"{answer.reason}, but the feed gives no sign of life")]
    if at_ms < lane.cool_until_ms:
        left_min = (lane.cool_until_ms - at_ms) / BAR_MS
        return [
            NoteRefusal(lane.name, mint, "Cooldown", f"{answer.reason}, but the token rests for {left_min:.0f} min")
        ]
    lane.entry_asked_at_ms = at_ms
    return [
        EmitSignal(
            Signal(
                strategy=lane.name,
                strategy_type=strategy.name,
                strategy_version=strategy.version,
                mint=mint,
                side=Side.BUY,
                purpose=Purpose.ENTRY,
                trigger_id=trigger,
                at_ms=at_ms,
                price=price,
                reason=answer.reason,
                priority=Priority.NORMAL,
            )
        )
    ]


_HANDLERS: dict[type, Callable[[CoreState, Any], list[Effect]]] = {
    ClockTick: _on_clock,
    FeedStatus: _on_feed,
    HistoryLoaded: _on_history,
    QuoteInUsd: _on_usd,
    TokenFacts: _on_facts,
    PositionChanged: take_position,
    SignalSettled: settle,
    RiskChanged: take_risk,
    CloseOutChanged: take_close_out,
}
