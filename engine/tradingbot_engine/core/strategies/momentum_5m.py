"""Momentum: buy what rises fast on growing volume, as long as the pool can bear our size."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

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

WINDOW_MINUTES = 5
PRIOR_WINDOWS = 12


class Momentum5m(Strategy):
    """
    Enters when the 5 minutes' return and volume are both large; leaves when the return is gone.

    Volume V5 is compared with the median of the 12 windows of 5 minutes before. Liquidity is twice the pool's quote
    reserve in dollars. Impact is what our own order adds to the average price in a constant-product pool: size / reserve.
    """

    name = "momentum_5m"
    version = 1
    description = "Buys what rises fast on growing volume."
    feeds = ("bars_1m", "liquidity")
    warm_up_minutes = WINDOW_MINUTES * (PRIOR_WINDOWS + 1)
    parameters = (
        Parameter("minReturnPercent", "number", 5, 0.1, 100, "%", "Least return of the last 5 minutes."),
        Parameter("volumeRatio", "number", 2, 0, 100, "×", "Least volume of the last 5 minutes, against the median of the 12 windows before."),
        Parameter("minLiquidityUsd", "number", 10_000, 0, 1e12, "USD", "Least liquidity of the pool."),
        Parameter("maxImpactPercent", "number", 1, 0.01, 50, "%", "Greatest impact of the order on the price."),
        Parameter("takeProfitPercent", "number", 10, 0.1, 1000, "%", "Sells at this profit."),
        Parameter("stopLossPercent", "number", 5, 0.1, 100, "%", "Sells at this loss."),
        Parameter("maxHoldMinutes", "integer", 30, 1, 1440, "min", "Sells after this time."),
        Parameter("cooldownMinutes", "integer", 15, 0, 1440, "min", "Leaves the token alone this long after a sale."),
    )  # fmt: skip

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._min_return = values["minReturnPercent"] / 100
        self._volume_ratio = values["volumeRatio"]
        self._min_liquidity_usd = values["minLiquidityUsd"]
        self._max_impact = values["maxImpactPercent"] / 100
        self._take_profit = values["takeProfitPercent"] / 100
        self._stop_loss = values["stopLossPercent"] / 100
        self._hold_ms = int(values["maxHoldMinutes"]) * BAR_MS
        self.cooldown_ms = int(values["cooldownMinutes"]) * BAR_MS

    def on_bar(self, market: MarketView) -> Entry | Declined | None:
        volumes = market.bars.volumes(market.last_ms, self.warm_up_minutes)
        gain = market.return_over(WINDOW_MINUTES)
        if gain is None or volumes is None:
            missing = len(market.bars.missing(market.last_ms, self.warm_up_minutes))
            return Declined("WarmingUp", f"{missing} of the last {self.warm_up_minutes} minutes are missing")
        if gain < self._min_return - SLACK:
            return None
        rise = f"+{gain * 100:.2f} % in {WINDOW_MINUTES} min"

        windows = [sum(volumes[i : i + WINDOW_MINUTES]) for i in range(0, len(volumes), WINDOW_MINUTES)]
        usual, volume = median(windows[:-1]), windows[-1]
        if volume <= 0 or volume < self._volume_ratio * usual:
            times = f"{volume / usual:.2f} × the usual" if usual else "none at all"
            return Declined("VolumeTooSmall", f"{rise}, but volume is {times}; {self._volume_ratio:g} × is needed")

        reserve = market.bars.reserve_at(market.last_ms) or 0
        if market.quote_usd is None:
            return Declined("QuoteUsdUnknown", f"{rise}, but the quote currency's value in dollars is not known")
        liquidity_usd = 2 * reserve / market.quote_unit * market.quote_usd
        if liquidity_usd < self._min_liquidity_usd * (1 - SLACK):
            return Declined("LiquidityTooSmall", f"{rise}, but liquidity is ${liquidity_usd:,.0f} < ${self._min_liquidity_usd:,.0f}")  # fmt: skip
        if market.order_quote is None:
            return Declined("SizeUnknown", f"{rise}, but the capital is not known yet")
        if market.order_quote > self._max_impact * reserve * (1 + SLACK):
            impact = f"{market.order_quote / reserve * 100:.2f} %" if reserve else "without bound"
            return Declined("ImpactTooLarge", f"{rise}, but our order would move the price by {impact}")
        times = f"{volume / usual:.1f} × the usual volume" if usual else "volume out of nothing"
        return Entry(f"Momentum: {rise}, {times}")

    def on_bar_held(self, market: MarketView, position: Position) -> Exit | None:
        gain = market.return_over(WINDOW_MINUTES)
        return Exit("MomentumGone", Priority.HIGH) if gain is not None and gain <= 0.0 else None

    def levels(self, position: Position) -> Levels:
        return percent_levels(position, take_profit=self._take_profit, stop_loss=self._stop_loss, hold_ms=self._hold_ms)
