"""Strategies and the limits of the whole bot."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tradingbot_engine.settings.base import LINE, Group


class StrategySettings(Group):
    """One instance of a strategy."""

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
    """Name of this use of the strategy in status, logs and metrics."""
    type: str = Field(min_length=1, max_length=63, pattern=LINE)
    """Which strategy, by its name in the catalogue."""
    allocation_percent: float = Field(default=100, gt=0, le=100)
    """Share of the capital that this strategy may have in positions at once."""
    parameters: dict[str, Any] = Field(default_factory=dict, max_length=64)
    """Checked against the catalogue's ranges for the type."""


class DrawdownSettings(Group):
    """Fall of equity from its peak, in percent, at which a tier begins."""

    warning_percent: float = Field(default=3, gt=0, lt=100)
    """From here on sizes are halved."""
    halt_percent: float = Field(default=5, gt=0, lt=100)
    """From here on no position is opened."""
    emergency_percent: float = Field(default=10, gt=0, lt=100)
    """From here on everything is closed."""

    @model_validator(mode="after")
    def _ordered(self) -> DrawdownSettings:
        if not self.warning_percent < self.halt_percent < self.emergency_percent:
            raise ValueError("must satisfy warning < halt < emergency")
        return self


class DailyLossSettings(Group):
    """Loss since the start of the UTC day, in percent of the day's opening equity."""

    warning_percent: float = Field(default=2, gt=0, lt=100)
    """From here on sizes are halved."""
    halt_percent: float = Field(default=3, gt=0, lt=100)
    """From here on no position is opened, beyond midnight too."""

    @model_validator(mode="after")
    def _ordered(self) -> DailyLossSettings:
        if not self.warning_percent < self.halt_percent:
            raise ValueError("must satisfy warning < halt")
        return self


class RiskSettings(Group):
    """Limits of the whole bot; effective values, a profile already applied."""

    profile: Literal["Conservative", "Balanced", "Aggressive"] = "Balanced"
    """Name of the preset that filled in what the manifest left out; told, not acted upon."""
    capital: int | None = Field(default=None, gt=0, le=2**63 - 1, json_schema_extra={"unit": "quote base units"})
    """Capital in quote base units; absent: the wallet's balance when the bot first starts."""
    max_position_percent: float = Field(default=2, gt=0, le=100)
    """Greatest size of one trade, of the capital."""
    max_strategy_percent: float = Field(default=10, gt=0, le=100)
    """Greatest sum of one strategy's positions, of the capital."""
    strategy_drawdown_percent: float = Field(default=5, gt=0, le=100)
    """Realized loss of one strategy from its own peak, in percent of capital, at which it opens nothing more."""
    drawdown: DrawdownSettings = DrawdownSettings()
    daily_loss: DailyLossSettings = DailyLossSettings()
    fee_reserve_lamports: int = Field(default=50_000_000, ge=0, le=1_000_000_000_000)
    """What entries leave in the wallet so that exits can always pay."""
    failed_fee_budget_lamports: int = Field(default=20_000_000, ge=0, le=1_000_000_000_000)
    """What failed transactions may cost per UTC day before entries stop."""
    max_open_intents: int = Field(default=64, ge=1, le=100_000, json_schema_extra={"unit": "intents"})
    """Intents of the whole bot that may be open at once."""
    marks_max_age_ms: int = Field(default=5000, ge=100, le=600_000)
    """When the positions' values are older, no position is opened (`StaleEquity`)."""
