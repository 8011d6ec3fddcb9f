"""
Open positions under watch: when their exits are asked for, and asked for again.

An exit that was decided stays decided. It is asked for once, then waited for: the ledger tells when it is under way, done
or failed; a failed one is asked for again after a pause that grows with each, also over a restart, and risk sees in
`position.exit_slips` how often the price ran away from it. One of which nothing was signed (no quote, no node) is no
failure: the market was not asked, so the next one comes soon, as after a refusal.
"""

from __future__ import annotations

from tradingbot_engine.core.state import ASK_AGAIN_MS, CoreState, Holding, Lane, TokenState
from tradingbot_engine.core.strategies.base import Exit, Levels
from tradingbot_engine.domain.effects import Effect, EmitSignal, NoteRefusal
from tradingbot_engine.domain.events import CloseOutChanged, PositionChanged, RiskChanged, SignalSettled
from tradingbot_engine.domain.portfolio import Position, PositionState, Tier
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import UnixMs

EMERGENCY = Exit("Emergency", Priority.CRITICAL)
CLOSE_OUT = Exit("CloseOut", Priority.CRITICAL)


def ask_exits(state: CoreState, token: TokenState, *, trigger: str, at_ms: UnixMs, price: float) -> list[Effect]:
    """Return the exit signals that are due in `token` at this event, and remember that they were asked for."""
    effects: list[Effect] = []
    changed = False
    for lane in token.lanes.values():
        for holding in lane.holdings.values():
            if holding.asked_at_ms is not None and at_ms >= holding.asked_at_ms + ASK_AGAIN_MS:
                holding.asked_at_ms, changed = None, True  # its end was never told; a second one would not be claimed
            if not holding.idle or at_ms < holding.not_before_ms or holding.last_trigger == trigger:
                continue
            exit_ = _due(state, lane, holding, at_ms=at_ms, price=price)
            if exit_ is None or holding.rests(exit_.priority, at_ms):
                continue
            holding.wanted, holding.asked_at_ms, holding.last_trigger, changed = exit_, at_ms, trigger, True
            effects.append(EmitSignal(_sale(lane, holding.position, exit_, trigger=trigger, at_ms=at_ms, price=price)))
    if changed:
        state.rearm(token)
    return effects


def _due(state: CoreState, lane: Lane, holding: Holding, *, at_ms: UnixMs, price: float) -> Exit | None:
    """Return the most urgent exit that holds now."""
    if (everything := _of_everything(state)) is not None:
        return everything
    found = [holding.wanted]
    if lane.strategy is not None:
        if price > 0.0:
            found.append(lane.strategy.on_tick(holding.levels, price))
        found.append(lane.strategy.on_clock(holding.levels, at_ms))
    return min((e for e in found if e is not None), key=lambda e: e.priority, default=None)


def _of_everything(state: CoreState) -> Exit | None:
    """Return the exit of every position, whatever its strategy thinks; None while each has its own."""
    if state.tier is Tier.EMERGENCY:
        return EMERGENCY
    return CLOSE_OUT if state.closing_since_ms else None


def _sale(lane: Lane, position: Position, exit_: Exit, *, trigger: str, at_ms: UnixMs, price: float) -> Signal:
    return Signal(
        strategy=lane.name,
        strategy_type=lane.strategy.name if lane.strategy else "",
        strategy_version=lane.strategy.version if lane.strategy else 0,
        mint=position.mint,
        side=Side.SELL,
        purpose=Purpose.EXIT,
        trigger_id=trigger,
        at_ms=at_ms,
        price=price if price > 0.0 else position.entry_price,
        reason=exit_.reason,
        priority=exit_.priority,
        position_id=position.id,
    )


def take_position(state: CoreState, event: PositionChanged) -> list[Effect]:
    """Replace the copy of a position by the ledger's; a closed one starts its token's rest."""
    position = event.position
    token = state.tokens.get(position.mint)
    if token is None:
        if position.state is PositionState.CLOSED:
            return []
        # A token that left the manifest with a position open: it is sold with everything else only, nobody trades it.
        token = state.tokens[position.mint] = TokenState(Token(position.mint, "", 0), {})
    effects: list[Effect] = []
    lane = token.lanes.get(position.strategy)
    if lane is None:
        lane = token.lanes[position.strategy] = Lane(position.strategy, None)
    lane.entry_asked_at_ms = None

    known = lane.holdings.get(position.id)
    if position.state is PositionState.CLOSED:
        lane.holdings.pop(position.id, None)
        state.homes.pop(position.id, None)
        if lane.strategy is not None and position.bought > 0:
            closed_at_ms = position.closed_at_ms or max(state.now_ms, position.opened_at_ms)
            lane.cool_until_ms = max(lane.cool_until_ms, closed_at_ms + lane.strategy.cooldown_ms)
    elif known is None:
        levels = lane.strategy.levels(position) if lane.strategy else Levels()
        failed_at_ms = position.exit_failed_at_ms if position.exit_failures else None
        lane.holdings[position.id] = Holding(position, levels, failed_at_ms=failed_at_ms)
        state.homes[position.id] = (lane, token)
        if lane.strategy is None:
            text = (
                f"position {position.id} is open, but the manifest has no such strategy for this token: sell it by hand"
            )
            effects.append(NoteRefusal(position.strategy, position.mint, "NobodyManages", text))
    else:
        before, known.position = known.position, position
        if before.entry_price != position.entry_price or before.opened_at_ms != position.opened_at_ms:
            known.levels = lane.strategy.levels(position) if lane.strategy else Levels()
        if position.exit_open or position.exit_failures > before.exit_failures or before.exit_open:
            known.asked_at_ms = None  # what was asked for is under way, or has ended
        if position.exit_failures > before.exit_failures or position.held != before.held:
            known.refusals, known.not_before_ms = 0, 0  # it was tried
        elif before.exit_open and not position.exit_open:
            known.pause(state.now_ms)  # it was given up before anything was signed
        if position.exit_failures > before.exit_failures:
            known.failed_at_ms = state.now_ms
            priority = known.wanted.priority if known.wanted is not None else Priority.NORMAL
            text = (
                f"{position.exit_failures} exits of position {position.id} failed or were given up; "
                f"the next is asked for after {known.rest_ms(priority) / 1000:.0f} s"
            )
            effects.append(NoteRefusal(position.strategy, position.mint, "ExitFailed", text))
    effects += _hurry(state, token, at_ms=state.now_ms)
    state.rearm(token)
    return effects


def settle(state: CoreState, event: SignalSettled) -> list[Effect]:
    """A signal met its end: the strategy may ask again, after a pause if nothing was attempted."""
    token = state.tokens.get(event.mint)
    lane = token.lanes.get(event.strategy) if token else None
    if token is None or lane is None:
        return []
    if event.purpose is Purpose.ENTRY:
        lane.entry_asked_at_ms = None
        return []
    for holding in lane.holdings.values():
        if holding.asked_at_ms is not None:
            holding.asked_at_ms = None
            holding.pause(state.now_ms)
    state.rearm(token)
    return []


def take_risk(state: CoreState, event: RiskChanged) -> list[Effect]:
    """Follow the bot's tier and capital; EMERGENCY asks for the close of everything at once."""
    risk = event.risk
    state.order_quote = int(risk.capital * state.max_position_percent / 100) if risk.capital > 0 else None
    before = _of_everything(state)
    state.tier, state.tier_since_ms = risk.tier, risk.tier_since_ms
    return _all_told(state, before, at_ms=event.at_ms)


def take_close_out(state: CoreState, event: CloseOutChanged) -> list[Effect]:
    """Ask for the close of everything at once, or leave what is still held to its strategies again."""
    before = _of_everything(state)
    state.closing_since_ms = event.since_ms
    return _all_told(state, before, at_ms=event.at_ms)


def _all_told(state: CoreState, before: Exit | None, *, at_ms: UnixMs) -> list[Effect]:
    """Let every holding want what is wanted of all of them now; `before` is what that was until now."""
    now = _of_everything(state)
    if now is before:
        return []
    effects: list[Effect] = []
    for token in {home.token.mint: home for _, home in state.homes.values()}.values():
        for lane in token.lanes.values():
            for holding in lane.holdings.values():
                if now is not None or holding.wanted is before:
                    holding.wanted = now
        effects += _hurry(state, token, at_ms=max(state.now_ms, at_ms))
        state.rearm(token)
    return effects


def _hurry(state: CoreState, token: TokenState, *, at_ms: UnixMs) -> list[Effect]:
    """If everything goes, ask for the sale of all in `token` that is not on its way, without waiting for a tick."""
    everything = _of_everything(state)
    if everything is None:
        return []
    for lane in token.lanes.values():
        for holding in lane.holdings.values():
            holding.wanted = everything
    mint = token.token.mint
    trigger = (
        f"risk:{mint}:{state.tier_since_ms}" if everything is EMERGENCY else f"close:{mint}:{state.closing_since_ms}"
    )
    return ask_exits(state, token, trigger=trigger, at_ms=at_ms, price=token.close)
