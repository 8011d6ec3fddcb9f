"""The token screen: ordered checks with a reason each, closed where a figure is not known, and only for entries."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_market import MINT, MOMENTUM, RECORDINGS, TOKEN, Market, position, read_recording
from hypothesis import given
from hypothesis import strategies as st

from tradingbot_engine.core.screen import CHECKS, NO_LIMITS, ScreenLimits, TokenFigures, edge_score, screen
from tradingbot_engine.core.state import CoreState
from tradingbot_engine.domain.effects import NoteRefusal
from tradingbot_engine.domain.events import PositionChanged, TokenFacts
from tradingbot_engine.domain.signals import Purpose

HOUR_MS = 3_600_000
SEED = ScreenLimits(
    min_edge_score=60,
    min_liquidity_usd=10_000,
    max_holder_concentration=0.3,
    min_market_cap_usd=50_000,
    max_market_cap_usd=10_000_000,
    min_age_minutes=30,
    max_age_hours=24,
)
"""The numbers that the seed ships."""
GOOD = TokenFigures(
    liquidity_usd=400_000,
    volume_24h_usd=500_000,
    market_cap_usd=2_000_000,
    holder_concentration=0.2,
    age_ms=10 * HOUR_MS,
    age_is_exact=True,
)


def test_a_good_token_passes_and_without_limits_everything_does() -> None:
    """Also a token of which nothing is known, where nothing is asked."""
    assert screen(GOOD, SEED) is None
    assert screen(TokenFigures(), NO_LIMITS) is None
    assert not NO_LIMITS.asks
    assert SEED.asks


@pytest.mark.parametrize(
    ("figures", "reason", "words"),
    [
        ({"volume_24h_usd": 0.0, "liquidity_usd": 20_000}, "ScreenEdgeScore", "at least 60 points"),
        ({"liquidity_usd": 9_999}, "ScreenLiquidity", "$9,999, at least $10,000"),
        ({"holder_concentration": 0.31}, "ScreenHolderConcentration", "31.0%, at most 30.0%"),
        ({"market_cap_usd": 49_000}, "ScreenMarketCapLow", "$49,000"),
        ({"market_cap_usd": 2e9}, "ScreenMarketCapHigh", "$2,000,000,000"),
        ({"age_ms": 29 * 60_000}, "ScreenTooYoung", "29 min"),
        ({"age_ms": 25 * HOUR_MS}, "ScreenTooOld", "25.0 h, at most 24.0 h"),
    ],
)
def test_each_check_refuses_with_its_own_reason_and_both_numbers(
    figures: dict[str, float], reason: str, words: str
) -> None:
    """What it is, and what was asked for."""
    limits = SEED if reason == "ScreenEdgeScore" else replace(SEED, min_edge_score=None)
    refused = screen(replace(GOOD, **figures), limits)  # type: ignore[arg-type]
    assert refused is not None
    assert refused.reason == reason
    assert words in refused.message


def test_the_first_check_that_fails_is_told_in_the_manifests_order() -> None:
    """Everything is wrong with it: the edge score speaks; without it the liquidity, and so on."""
    bad = TokenFigures(1.0, 0.0, 1.0, 1.0, 0, True)
    limits, told = replace(SEED, max_market_cap_usd=0.5), []
    for name in ("min_edge_score", "min_liquidity_usd", "max_holder_concentration", "min_market_cap_usd",
                 "max_market_cap_usd", "min_age_minutes"):  # fmt: skip
        refused = screen(bad, limits)
        told.append(refused.reason if refused else None)
        limits = replace(limits, **{name: None})
    assert told == ["ScreenEdgeScore", "ScreenLiquidity", "ScreenHolderConcentration", "ScreenMarketCapLow",
                    "ScreenMarketCapHigh", "ScreenTooYoung"]  # fmt: skip
    assert len(CHECKS) == 7


@pytest.mark.parametrize("field", ["liquidity_usd", "market_cap_usd", "holder_concentration", "age_ms"])
def test_a_figure_that_is_not_known_does_not_pass_where_it_is_asked_for(field: str) -> None:
    """The screen fails closed, and says which figure it lacks."""
    refused = screen(replace(GOOD, **{field: None}), replace(SEED, min_edge_score=None))
    assert refused is not None
    assert refused.reason.startswith("ScreenUnknown")


def test_an_age_that_is_only_a_lower_bound_proves_old_never_young() -> None:
    """Ten hours seen: old enough for 30 minutes, perhaps too old for 24 hours; thirty hours seen: surely too old."""
    seen = replace(GOOD, age_is_exact=False)
    limits = ScreenLimits(min_age_minutes=30)
    assert screen(seen, limits) is None
    unknown = screen(seen, ScreenLimits(max_age_hours=24))
    assert unknown is not None
    assert unknown.reason == "ScreenUnknownTooOld"
    old = screen(replace(seen, age_ms=30 * HOUR_MS), ScreenLimits(max_age_hours=24))
    assert old is not None
    assert old.reason == "ScreenTooOld"
    young = screen(replace(seen, age_ms=60_000), limits)
    assert young is not None
    assert young.reason == "ScreenUnknownTooYoung"


figure = st.one_of(st.none(), st.floats(0, 1e12, allow_nan=False))


@given(figure, figure, st.one_of(st.none(), st.floats(0, 1)), st.one_of(st.none(), st.integers(0, 10**12)))
def test_the_edge_score_is_bounded_and_unknown_when_a_part_is(
    liquidity: float | None, volume: float | None, held: float | None, age_ms: int | None
) -> None:
    """0 to 100, or None."""
    score = edge_score(TokenFigures(liquidity, volume, None, held, age_ms, True))
    if None in (liquidity, volume, held, age_ms):
        assert score is None
    else:
        assert score is not None
        assert 0 <= score <= 100


def screened(limits: ScreenLimits, *events: object) -> Market:
    """Play the recording on which momentum fires, under a screen."""
    market = Market(MOMENTUM)
    market.state = CoreState.create((TOKEN,), (MOMENTUM,), screen=limits)
    recording = read_recording(RECORDINGS / "momentum_5m_fires.csv")
    return market.play([*events, *recording])  # type: ignore[list-item]


def test_no_strategy_sees_a_token_that_does_not_pass() -> None:
    """The recording on which momentum fires stays silent, and the screen says why, once and not at every bar."""
    market = screened(ScreenLimits(min_market_cap_usd=1))
    assert market.signals == []
    told = [e for e in market.effects if isinstance(e, NoteRefusal) and e.strategy == "screen"]
    assert [(e.mint, e.reason) for e in told] == [(MINT, "ScreenUnknownMarketCapLow")]


def test_a_token_that_passes_is_traded_as_without_a_screen() -> None:
    """The same signal, with the same id."""
    facts = TokenFacts(MINT, supply=1e9, top_share=0.1, seen_ms=0)
    free, passed = (
        screened(NO_LIMITS),
        screened(ScreenLimits(min_market_cap_usd=1, max_holder_concentration=0.2), facts),
    )
    assert free.signals == passed.signals
    assert len(free.signals) == 1


def test_the_screen_never_keeps_a_position_from_being_left() -> None:
    """The stop loss fires on a token that the screen refuses."""
    market = screened(ScreenLimits(min_market_cap_usd=1))
    at_ms = market.state.now_ms
    market.tell(PositionChanged(position(entry_price=1e9, opened_at_ms=at_ms)))
    recording = read_recording(RECORDINGS / "momentum_5m_fires.csv")
    last = [e for e in recording if type(e).__name__ == "PriceTick"][-1]
    market.tell(replace(last, at_ms=at_ms + 1_000, slot=10**12))  # type: ignore[type-var]
    (signal,) = market.signals
    assert signal.purpose is Purpose.EXIT
