"""Presets of the risk numbers that a manifest leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tradingbot_engine.domain.units import Bps


@dataclass(frozen=True, slots=True)
class Profile:
    """Percentages of capital (sizes), of the peak (drawdown) and of the day's opening equity (daily loss)."""

    max_position_percent: float
    max_strategy_percent: float
    drawdown_warning_percent: float
    drawdown_halt_percent: float
    drawdown_emergency_percent: float
    daily_loss_warning_percent: float
    daily_loss_halt_percent: float
    max_slippage_bps: Bps


PROFILES: Mapping[str, Profile] = {
    "Conservative": Profile(1, 5, 2, 3, 6, 1, 2, 50),
    "Balanced": Profile(2, 10, 3, 5, 10, 2, 3, 100),
    "Aggressive": Profile(4, 20, 5, 8, 15, 3, 5, 200),
}
