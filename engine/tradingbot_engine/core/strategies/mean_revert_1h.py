"""Mean reversion: buy what fell far below its mean of an hour, unless the floor itself is falling."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum, log, sqrt

from tradingbot_engine.core.strategies.base import (
    SLACK,
    Declined,
    Entry,
    Exit,
    Levels,
    MarketView,
    Parameter,
    Strategy,
    Value,
    percent_levels,
)
from tradingbot_engine.domain.events import BAR_MS
from tradingbot_engine.domain.portfolio import Position
from tradingbot_engine.domain.signals import Priority

HOUR = 60
DAY = 1440


def z_score(market: MarketView) -> tuple[float, float] | None:
    """
    Return (z, sd) of ln price over the last 60 closes, the newest included; sd with ddof 1.

    None if a close is missing or the price did not move at all. Computed anew from the bars each minute: a running sum
    would be cheaper, but would differ in its last bits after a restart, and so could a signal.
    """
    closes = market.bars.closes(market.last_ms, HOUR)
    if closes is None:
        return None
    logs = [log(close) for close in closes]
    mean = fsum(logs) / HOUR
    sd = sqrt(fsum((x - mean) ** 2 for x in logs) / (HOUR - 1))
    return ((logs[-1] - mean) / sd, sd) if sd > 1e-12 else None


class MeanRevert1h(Strategy):
    """
    Enters at a deep z-score, leaves at the mean. At or below `stopZ` it does not enter: it would sell again at once.

    Liquidity is looked at first, since a rug is a deep z: the pool's quote reserve against that of 60 minutes before.
    The day's return is measured from the newest close that is at least 24 h old.
    """

    name = "mean_revert_1h"
    version = 1
    description = "Buys what fell far below its mean of an hour."
    feeds = ("closes_1m", "liquidity")
    warm_up_minutes = DAY + 1
    parameters = (
        Parameter("entryZ", "number", -2, -10, 0, "sd", "Buys at or below this z-score of ln price over 60 minutes."),
        Parameter("minDeviationPercent", "number", 0.5, 0, 100, "%", "Least standard deviation over 60 minutes."),
        Parameter("minReturn24hPercent", "number", -30, -100, 0, "%", "No entry when 24 hours lost this much or more."),
        Parameter("minLiquidityChangePercent", "number", -10, -100, 0, "%", "No entry when liquidity lost this much or more within 60 minutes."),
        Parameter("exitZ", "number", 0, -10, 10, "sd", "Sells at or above this z-score."),
        Parameter("stopZ", "number", -4, -20, 0, "sd", "Sells at or below this z-score."),
        Parameter("stopLossPercent", "number", 8, 0.1, 100, "%", "Sells at this loss."),
        Parameter("maxHoldMinutes", "integer", 120, 1, 1440, "min", "Sells after this time."),
    )  # fmt: skip

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._entry_z = values["entryZ"]
        self._min_sd = values["minDeviationPercent"] / 100
        self._min_return_24h = values["minReturn24hPercent"] / 100
        self._min_liquidity_change = values["minLiquidityChangePercent"] / 100
        self._exit_z = values["exitZ"]
        self._stop_z = values["stopZ"]
        self._stop_loss = values["stopLossPercent"] / 100
        self._hold_ms = int(values["maxHoldMinutes"]) * BAR_MS

    @classmethod
    def conflicts(cls, values: Mapping[str, Value]) -> list[tuple[str, str]]:
        found = []
        if not values["stopZ"] < values["entryZ"]:
            found.append(("stopZ", f"must be below entryZ ({values['entryZ']:g})"))
        if not values["entryZ"] < values["exitZ"]:
            found.append(("exitZ", f"must be above entryZ ({values['entryZ']:g})"))
        return found

    def on_bar(self, market: MarketView) -> Entry | Declined | None:
        score = z_score(market)
        if score is None:
            missing = len(market.bars.missing(market.last_ms, HOUR))
            return Declined("WarmingUp", f"{missing} of the last {HOUR} minutes are missing") if missing else None
        z, sd = score
        if z > self._entry_z:
            return None
        depth = f"z {z:.2f}"

        reserve = market.bars.reserve_at(market.last_ms)
        before = market.bars.reserve_at(market.last_ms - HOUR * BAR_MS)
        if not reserve or not before:
            return Declined("LiquidityUnknown", f"{depth}, but the liquidity of 60 minutes ago is not known")
        change = reserve / before - 1.0
        if change <= self._min_liquidity_change + SLACK:
            return Declined("LiquidityLeaves", f"{depth}, but liquidity changed by {change * 100:.1f} % in 60 minutes")

        if z <= self._stop_z:
            return Declined("TooDeep", f"{depth} is at or below {self._stop_z:g}, where a position would be sold")
        if sd < self._min_sd - SLACK:
            return Declined("TooCalm", f"{depth}, but a standard deviation is only {sd * 100:.2f} %")

        day_ago = market.bars.newest_at_or_before(market.last_ms - DAY * BAR_MS)
        old, now = market.bars.close_at(day_ago) if day_ago is not None else None, market.bars.close_at(market.last_ms)
        if old is None or now is None:
            return Declined("WarmingUp", f"{depth}, but the price of 24 hours ago is not known")
        day = now / old - 1.0
        if day <= self._min_return_24h + SLACK:
            return Declined("FallingKnife", f"{depth}, but 24 hours lost {-day * 100:.1f} %")
        return Entry(f"Reversion: {depth}, sd {sd * 100:.2f} %")

    def on_bar_held(self, market: MarketView, position: Position) -> Exit | None:
        score = z_score(market)
        if score is None:
            return None
        if score[0] <= self._stop_z:
            return Exit("Overshoot", Priority.CRITICAL)
        return Exit("Reverted", Priority.HIGH) if score[0] >= self._exit_z else None

    def levels(self, position: Position) -> Levels:
        return percent_levels(position, stop_loss=self._stop_loss, hold_ms=self._hold_ms)
