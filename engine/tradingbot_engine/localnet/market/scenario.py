"""
The five scenarios: where each token's price goes, how much is traded, and when a rug is pulled.

Every answer is a pure function of (seed, token, minutes since the market opened); minutes before the opening are negative
and make the 25 h of history. Log prices are 0 at the opening.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Protocol

from tradingbot_engine.localnet.market.noise import unit, wander


class Scenario(StrEnum):
    """What kind of market localnet plays."""

    CALM = "Calm"
    TREND = "Trend"
    VIRAL = "Viral"
    RUG_PULL = "RugPull"
    DEAD = "Dead"


@dataclass(frozen=True, slots=True)
class Mood:
    """How a token is traded at a moment."""

    turnover: float
    """Share of the quote reserve that changes hands per minute of market time, back and forth, net per slot."""
    crowd: int = 1
    """How many times the usual traffic there is: 50 in a viral burst."""
    tolerance: float = 2e-4
    """Relative distance of the price from its path below which nobody bothers to trade."""


class Path(Protocol):
    """One token's fate."""

    def log_price(self, minutes: float) -> float:
        """Return the natural logarithm of the dollar price over the opening price."""

    def mood(self, minutes: float) -> Mood:
        """Return how the token is traded."""

    def rug_minute(self) -> float | None:
        """Return the minute in which the creator takes the liquidity, if ever."""


USUAL = Mood(turnover=0.0018)
BURST = Mood(turnover=0.0075, crowd=50)
BUSY = Mood(turnover=0.004, crowd=5)
ASLEEP = Mood(turnover=0.0, tolerance=0.005)
CALM_OCTAVES = ((4, 0.0010), (16, 0.0018), (64, 0.0035), (256, 0.0070), (1024, 0.0140))


@dataclass(frozen=True)
class Calm:
    """Small wandering: no strategy finds anything in it."""

    key: str
    size: float = 1.0
    quiet: Mood = USUAL

    @cached_property
    def _at_opening(self) -> float:
        return wander(self.key, 0.0, CALM_OCTAVES)

    def log_price(self, minutes: float) -> float:
        return self.size * (wander(self.key, minutes, CALM_OCTAVES) - self._at_opening)

    def mood(self, minutes: float) -> Mood:
        return self.quiet

    def rug_minute(self) -> float | None:
        return None


@dataclass(frozen=True)
class Dead(Calm):
    """Hardly a trade; the price stands still."""

    size: float = 0.02
    quiet: Mood = ASLEEP

    def mood(self, minutes: float) -> Mood:
        wakes = unit(self.key, "wakes", int(minutes // 1)) > 0.9
        return Mood(turnover=2e-5, tolerance=ASLEEP.tolerance) if wakes else self.quiet


@dataclass(frozen=True)
class Shape:
    """A figure that the log price draws again and again: straight lines between (minute, log price), with a mood on each."""

    length_minutes: int
    points: tuple[tuple[float, float, Mood], ...]

    def at(self, minute: float) -> tuple[float, Mood]:
        index = bisect_right(self.points, minute, key=lambda point: point[0]) - 1
        start, value, mood = self.points[index]
        if index + 1 == len(self.points):
            return value, mood
        end, next_value, _ = self.points[index + 1]
        return value + (next_value - value) * (minute - start) / (end - start), mood


VIRAL = Shape(
    60,
    (
        (0.0, 0.0, USUAL),
        (4.0, 0.0, BURST),  # everybody talks about it: +8 % in two minutes …
        (6.0, 0.080, BURST),  # … then buyers keep coming while the first ones sell to them
        (11.0, 0.115, BUSY),
        (13.5, 0.100, USUAL),  # interest fades
        (18.0, 0.0, USUAL),
        (25.0, 0.0, BUSY),  # somebody large leaves
        (27.0, -0.130, BUSY),
        (30.0, -0.125, USUAL),
        (34.5, 0.0, USUAL),
        (60.0, 0.0, USUAL),
    ),
)
TREND = Shape(
    60,
    (
        (0.0, 0.0, USUAL),
        (8.0, 0.0, BUSY),  # legs: up on volume, a rest, part of it given back
        (11.0, 0.065, BUSY),
        (18.0, 0.075, USUAL),
        (40.0, 0.030, USUAL),
        (60.0, 0.030, USUAL),
    ),
)
TREND_HOURS = 24
PHASE_STEP_MINUTES = 11
"""Tokens draw their figure one after the other: at any time something happens to one of them."""
FIRST_PHASE_MINUTES = -18
"""The first token's burst begins 22 minutes after the opening. At the usual speed, 13 of them pass before anybody can look."""


@dataclass(frozen=True)
class Viral:
    """A burst of 50 times the traffic, a fade, a dip, a recovery, every hour; each token at its own time."""

    calm: Calm
    phase_minutes: float

    def _figure(self, minutes: float) -> tuple[float, Mood]:
        cycle, minute = divmod(minutes + self.phase_minutes, VIRAL.length_minutes)
        value, mood = VIRAL.at(minute)
        return value * (1 + 0.12 * unit(self.calm.key, "strength", int(cycle))), mood

    def log_price(self, minutes: float) -> float:
        return self._figure(minutes)[0] - self._figure(0.0)[0] + 0.5 * self.calm.log_price(minutes)

    def mood(self, minutes: float) -> Mood:
        return self._figure(minutes)[1]

    def rug_minute(self) -> float | None:
        return None


@dataclass(frozen=True)
class Trend:
    """A day of rising legs, then a day of falling ones, and so on."""

    calm: Calm
    phase_minutes: float

    def _figure(self, minutes: float) -> float:
        hour, minute = divmod(minutes + self.phase_minutes, TREND.length_minutes)
        day, hour_of_day = divmod(int(hour) + TREND_HOURS // 2, TREND_HOURS)
        net = TREND.points[-1][1]
        rising = day % 2 == 0
        base = net * (hour_of_day if rising else TREND_HOURS - hour_of_day)
        value, _ = TREND.at(minute)
        return base + (value if rising else -value)

    def log_price(self, minutes: float) -> float:
        return self._figure(minutes) - self._figure(0.0) + 0.5 * self.calm.log_price(minutes)

    def mood(self, minutes: float) -> Mood:
        return TREND.at((minutes + self.phase_minutes) % TREND.length_minutes)[1]

    def rug_minute(self) -> float | None:
        return None


@dataclass(frozen=True)
class RugPull:
    """Calm with a little hype, until the creator takes the liquidity and insiders sell; then a dead market far below."""

    calm: Calm
    at_minutes: float

    def log_price(self, minutes: float) -> float:
        since = minutes - self.at_minutes
        if since < 0:
            hype = 0.15 * max(0.0, 1 + since / 60)  # the last hour before
            start = 0.15 * max(0.0, 1 - self.at_minutes / 60)
            return self.calm.log_price(minutes) + hype - start
        fall = 1.2 * min(since, 1.0) + 1.8 * min(max(since - 1.0, 0.0) / 10, 1.0)
        return self.log_price(self.at_minutes - 1e-9) - fall

    def mood(self, minutes: float) -> Mood:
        since = minutes - self.at_minutes
        if since < 0:
            return USUAL
        if since < 12:
            return Mood(turnover=BURST.turnover, crowd=10)
        return ASLEEP

    def rug_minute(self) -> float | None:
        return self.at_minutes


@dataclass(frozen=True)
class Pegged:
    """A stable coin."""

    def log_price(self, minutes: float) -> float:
        return 0.0

    def mood(self, minutes: float) -> Mood:
        return Mood(turnover=0.0002)

    def rug_minute(self) -> float | None:
        return None


FIRST_EXTRA, EXTRA_PHASES = 6, 6
"""Tokens beside the well-known ones share so many numbers: their figures come at other times than those of most."""
EASING_MINUTES = 30.0


@dataclass(frozen=True)
class Eased:
    """Another path, reached from where the price is: what lies between them fades within half an hour."""

    path: Path
    offset: float
    """Log price at the start, less what the path says then."""
    since_minutes: float

    def log_price(self, minutes: float) -> float:
        faded = (minutes - self.since_minutes) / EASING_MINUTES
        return self.path.log_price(minutes) + self.offset * max(0.0, 1.0 - max(0.0, faded))

    def mood(self, minutes: float) -> Mood:
        return self.path.mood(minutes)

    def rug_minute(self) -> float | None:
        return self.path.rug_minute()


def number_of(mint: str, *, seed: int) -> int:
    """Return the number that a token which is not well known has in scenarios: its own, in whatever order tokens are listed."""
    return FIRST_EXTRA + int((unit(seed, mint, "number") + 1) / 2 * EXTRA_PHASES)


def path_of(scenario: Scenario, *, seed: int, symbol: str, index: int) -> Path:
    """Return the fate of token number `index` (0 is the first that is not a stable coin)."""
    calm = Calm(f"{seed}/{symbol}")
    if scenario is Scenario.DEAD:
        return Dead(calm.key)
    if scenario is Scenario.VIRAL:
        return Viral(calm, FIRST_PHASE_MINUTES + index * PHASE_STEP_MINUTES + unit(seed, symbol, "phase"))
    if scenario is Scenario.TREND:
        return Trend(calm, FIRST_PHASE_MINUTES + index * PHASE_STEP_MINUTES + unit(seed, symbol, "phase"))
    if scenario is Scenario.RUG_PULL:
        return RugPull(calm, 30.0 + 20 * index + 3 * unit(seed, symbol, "rug"))
    return calm


def path_of_sol(scenario: Scenario, *, seed: int) -> Path:
    """Return SOL's own path in dollars: calm everywhere, still in a dead market."""
    calm = Calm(f"{seed}/SOL", 0.4)
    return Dead(calm.key) if scenario is Scenario.DEAD else calm
