"""
Which tokens may be traded at all: ordered checks with a reason each, before any strategy sees the token. Pure.

The screen closes entries only: what is held is left by its own strategy's rules. It fails closed: a check that is asked
for, and whose figure is not known, does not pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from math import log10

from tradingbot_engine.domain.units import UnixMs

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
LIQUIDITY_USD_FLOOR, LIQUIDITY_USD_CEILING = 1_000.0, 1_000_000.0
"""Below the first a pool is worth no points, from the second on all of them; between them by its logarithm."""


@dataclass(frozen=True, slots=True)
class ScreenLimits:
    """What a token must show; None asks for nothing."""

    min_edge_score: float | None = None
    """Points, 0 to 100; see `edge_score`."""
    min_liquidity_usd: float | None = None
    max_holder_concentration: float | None = None
    """Share of the supply, 0 to 1, that the ten largest holders may own together (pools do not count)."""
    min_market_cap_usd: float | None = None
    max_market_cap_usd: float | None = None
    min_age_minutes: float | None = None
    max_age_hours: float | None = None

    @property
    def asks(self) -> bool:
        """Whether there is anything to check."""
        return any(getattr(self, f.name) is not None for f in fields(self))


NO_LIMITS = ScreenLimits()


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """What is known of a token now; None where it is not."""

    liquidity_usd: float | None = None
    """Both sides of its pool."""
    volume_24h_usd: float | None = None
    market_cap_usd: float | None = None
    """Price times the whole supply."""
    holder_concentration: float | None = None
    age_ms: UnixMs | None = None
    """How long it has existed at least."""
    age_is_exact: bool = False
    """Whether `age_ms` is its whole age."""


@dataclass(frozen=True, slots=True)
class Screened:
    """The token is not traded: `reason` for machines (CamelCase), `message` for people."""

    reason: str
    message: str


def edge_score(figures: TokenFigures) -> float | None:
    """
    Return 0 to 100 points for how well a token can be traded; None if a part of it is not known.

    40 points for liquidity (none at $1,000, all at $1 million, by its logarithm), 25 for turnover (a day's volume as large
    as the liquidity), 25 for spread ownership (none where ten holders own everything), 10 for a first day survived.
    """
    liquidity, volume, held, age_ms = (
        figures.liquidity_usd,
        figures.volume_24h_usd,
        figures.holder_concentration,
        figures.age_ms,
    )
    if liquidity is None or volume is None or held is None or age_ms is None:
        return None
    if liquidity <= 0:
        return 0.0
    depth = log10(liquidity / LIQUIDITY_USD_FLOOR) / log10(LIQUIDITY_USD_CEILING / LIQUIDITY_USD_FLOOR)
    return (
        40 * _clip(depth) + 25 * _clip(volume / liquidity) + 25 * _clip(1 - held) + 10 * _clip(age_ms / (24 * HOUR_MS))
    )


def screen(figures: TokenFigures, limits: ScreenLimits) -> Screened | None:
    """Return the first check that the token does not pass; None if it passes all."""
    for check in CHECKS:
        if (refusal := check(figures, limits)) is not None:
            return refusal
    return None


def _edge(f: TokenFigures, limits: ScreenLimits) -> Screened | None:
    if limits.min_edge_score is None:
        return None
    return _at_least("EdgeScore", "edge score", edge_score(f), limits.min_edge_score, "{:.0f} points")


def _liquidity(f: TokenFigures, limits: ScreenLimits) -> Screened | None:
    return _at_least("Liquidity", "liquidity", f.liquidity_usd, limits.min_liquidity_usd, "${:,.0f}")


def _holders(f: TokenFigures, limits: ScreenLimits) -> Screened | None:
    return _at_most(
        "HolderConcentration",
        "share of the ten largest holders",
        f.holder_concentration,
        limits.max_holder_concentration,
        "{:.1%}",
    )


def _cap_min(f: TokenFigures, limits: ScreenLimits) -> Screened | None:
    return _at_least("MarketCapLow", "market cap", f.market_cap_usd, limits.min_market_cap_usd, "${:,.0f}")


def _cap_max(f: TokenFigures, limits: ScreenLimits) -> Screened | None:
    return _at_most("MarketCapHigh", "market cap", f.market_cap_usd, limits.max_market_cap_usd, "${:,.0f}")


def _age_min(f: TokenFigures, limits: ScreenLimits) -> Screened | None:
    minutes = None if f.age_ms is None else f.age_ms / MINUTE_MS
    if minutes is not None and not f.age_is_exact and limits.min_age_minutes and minutes < limits.min_age_minutes:
        minutes = None  # it may be older than what we have seen of it
    return _at_least("TooYoung", "age", minutes, limits.min_age_minutes, "{:,.0f} min")


def _age_max(f: TokenFigures, limits: ScreenLimits) -> Screened | None:
    hours = None if f.age_ms is None else f.age_ms / HOUR_MS
    if hours is not None and not f.age_is_exact and limits.max_age_hours and hours <= limits.max_age_hours:
        hours = None
    return _at_most("TooOld", "age", hours, limits.max_age_hours, "{:,.1f} h")


CHECKS: Sequence[Callable[[TokenFigures, ScreenLimits], Screened | None]] = (
    _edge,
    _liquidity,
    _holders,
    _cap_min,
    _cap_max,
    _age_min,
    _age_max,
)
"""In the order in which the manifest lists them."""


def _at_least(reason: str, what: str, value: float | None, least: float | None, shown: str) -> Screened | None:
    if least is None:
        return None
    if value is None:
        return Screened(f"ScreenUnknown{reason}", f"its {what} is not known; the screen asks for {shown.format(least)}")
    if value < least:
        return Screened(f"Screen{reason}", f"{what} {shown.format(value)}, at least {shown.format(least)} is asked for")
    return None


def _at_most(reason: str, what: str, value: float | None, most: float | None, shown: str) -> Screened | None:
    if most is None:
        return None
    if value is None:
        return Screened(f"ScreenUnknown{reason}", f"its {what} is not known; the screen allows {shown.format(most)}")
    if value > most:
        return Screened(f"Screen{reason}", f"{what} {shown.format(value)}, at most {shown.format(most)} is allowed")
    return None


def _clip(share: float) -> float:
    return min(1.0, max(0.0, share))
