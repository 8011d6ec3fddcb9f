"""Merging ticks must not change a bar: the core fed through the inbox against the core fed with everything."""

from __future__ import annotations

from collections import defaultdict

from core_market import MOMENTUM, SOL, START_MS, position, risk_row
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tradingbot_engine.bus.conflate import Run
from tradingbot_engine.bus.inbox import CoreInbox
from tradingbot_engine.core.decide import decide
from tradingbot_engine.core.state import CoreState
from tradingbot_engine.domain.effects import Effect, EmitSignal, SaveBar
from tradingbot_engine.domain.events import (
    BAR_MS,
    Bar,
    ClockTick,
    Event,
    FeedStatus,
    HistoryLoaded,
    PositionChanged,
    PriceTick,
    QuoteInUsd,
    RiskChanged,
)
from tradingbot_engine.domain.portfolio import Position
from tradingbot_engine.domain.tokens import Token

MINTS = ("a", "b", "c")

ticks = st.tuples(
    st.just("tick"),
    st.sampled_from(MINTS),
    st.sampled_from([0, 0, 1, 400, 5_000, 30_000]),
    st.one_of(st.sampled_from([0.9, 0.94, 0.99, 1.0, 1.01, 1.11]), st.sampled_from([float("nan"), -1.0])),
    st.sampled_from([0, 1, 10, 2**63, 2**64 - 1, 2**64]),
    st.sampled_from([0, 0, 0, 0, -1, -5]),
)
others = st.one_of(
    st.tuples(st.just("clock"), st.sampled_from([0, 400, 20_000, 61_000])),
    st.tuples(st.just("status"), st.booleans(), st.sampled_from([None, *MINTS])),
    st.tuples(st.just("risk")),
    st.tuples(st.just("usd")),
    st.tuples(st.just("history"), st.sampled_from(MINTS), st.integers(1, 4)),
)
drains = st.tuples(st.just("drain"), st.integers(1, 12))
plays = st.lists(st.one_of(ticks, ticks, ticks, others, drains), max_size=80)


def events_of(play: list[tuple]) -> list[Event | int]:
    """Spell a play out: event times never go back, except those of late ticks; a number means that the core takes so many."""
    out: list[Event | int] = []
    at_ms, slot = START_MS, 1000
    for step in play:
        match step:
            case "tick", mint, later_ms, price, volume, back:
                at_ms, slot = at_ms + later_ms, slot + (later_ms > 0)
                tick_at = at_ms if back == 0 else at_ms + back * 7_000
                out.append(PriceTick(mint, slot + back, tick_at, price, 1000 * SOL, volume))
            case "clock", later_ms:
                at_ms, slot = at_ms + later_ms, slot + 1
                out.append(ClockTick(at_ms))
            case "status", stale, mint:
                out.append(FeedStatus(at_ms, stale, mint))
            case ("risk",):
                out.append(RiskChanged(at_ms, risk_row()))
            case ("usd",):
                out.append(QuoteInUsd(at_ms, 150.0))
            case "history", mint, minutes:
                start_ms = at_ms - at_ms % BAR_MS - minutes * BAR_MS
                out.append(HistoryLoaded(mint, (Bar(start_ms, 1.0, 1.0, 1.0, 1.0, 5, SOL),)))
            case "drain", n:
                out.append(n)
    return out


class Core:
    """A core that holds a position in every token, and what it asked for."""

    def __init__(self) -> None:
        self.state = CoreState.create([Token(m, m, 6) for m in MINTS], [MOMENTUM])
        self.effects: list[Effect] = []
        for mint in MINTS:
            held = position(id_=f"p-{mint}", strategy=MOMENTUM.name, entry_price=1.0)
            values = {name: getattr(held, name) for name in held.__slots__}
            self.take(PositionChanged(Position(**values | {"mint": mint})))

    def take(self, event: Event) -> None:
        self.effects += decide(self.state, event)

    def bars(self) -> dict[str, list[Bar]]:
        found: dict[str, list[Bar]] = defaultdict(list)
        for effect in self.effects:
            if isinstance(effect, SaveBar):
                found[effect.mint].append(effect.bar)
        return found

    def exits(self) -> set[str | None]:
        return {e.signal.position_id for e in self.effects if isinstance(e, EmitSignal)}


@settings(max_examples=600, deadline=None)
@given(plays)
@example([("clock", 0), ("tick", "a", 0, 0.9, 0, -1), ("clock", 0), ("tick", "a", 0, 0.9, 1, -1)])
def test_bars_through_the_inbox_are_the_bars_of_every_single_tick(play):
    """However far the core lags, each minute's open, high, low, close, volume and reserve are exact, and every exit is asked."""
    plain, lagging = Core(), Core()
    inbox = CoreInbox(max_events=10_000, now=lambda: 0.0)
    told = [*events_of([*play, ("clock", 61_000)]), 10_000]
    for event in told:
        if isinstance(event, int):
            for _ in range(min(event, len(inbox))):
                for taken in inbox.pop():
                    lagging.take(taken)
        else:
            plain.take(event)
            inbox.tell(event)
    assert lagging.bars() == plain.bars()
    assert lagging.exits() == plain.exits()
    for mint in MINTS:
        a, b = plain.state.tokens[mint], lagging.state.tokens[mint]
        fields = ("high", "low", "close", "volume", "quote_reserve", "at_ms", "slot", "stale", "was_stale", "bad_ticks")
        assert [getattr(b, f) for f in fields] == [getattr(a, f) for f in fields]
    assert inbox.dropped == 0


@given(st.lists(st.tuples(st.sampled_from([0.9, 1.0, 1.1, 1.2]), st.integers(0, 100)), min_size=1, max_size=50))
def test_a_run_of_any_length_takes_four_ticks_at_most(steps):
    """A minute of a thousand ticks is decided upon as fast as one of four."""
    made = [PriceTick("a", n, START_MS + n, price, SOL + n, volume) for n, (price, volume) in enumerate(steps)]
    run = Run(made[0])
    for tick in made[1:]:
        assert run.takes(tick)
        run.add(tick)
    kept = run.ticks()
    assert len(kept) <= 4
    assert run.count == len(made)
    assert sum(t.volume for t in kept) == sum(t.volume for t in made)
    assert (kept[0].price, kept[-1].price, kept[-1].slot) == (made[0].price, made[-1].price, made[-1].slot)
    assert {max(t.price for t in kept), min(t.price for t in kept)} == {
        max(p for p, _ in steps),
        min(p for p, _ in steps),
    }
    assert [t.slot for t in kept] == sorted(t.slot for t in kept)
