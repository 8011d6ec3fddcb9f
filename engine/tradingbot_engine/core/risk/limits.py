"""Limits as plain numbers: percentages of a manifest become quote units of the bot's capital."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from tradingbot_engine.domain.units import BPS_ONE, Bps, Lamports, QuoteUnits

PPM_ONE = 1_000_000
"""Shares are kept in parts per million: 2.5 % = 25,000, exactly."""
EXIT_SLIPPAGE_CAP_BPS: Bps = 1_500
"""However often an exit failed, it never accepts worse than 15 % (unless the manifest's own limit is wider)."""
EXIT_FEE_CAP_FACTOR = 10
"""However often an exit failed, it never offers more than ten times the manifest's priority fee."""


class DrawdownNumbers(Protocol):
    """Percent of the peak."""

    @property
    def warning_percent(self) -> float: ...
    @property
    def halt_percent(self) -> float: ...
    @property
    def emergency_percent(self) -> float: ...


class DailyLossNumbers(Protocol):
    """Percent of the day's opening equity."""

    @property
    def warning_percent(self) -> float: ...
    @property
    def halt_percent(self) -> float: ...


class RiskNumbers(Protocol):
    """What `from_settings` reads of the settings' risk group."""

    @property
    def max_position_percent(self) -> float: ...
    @property
    def max_strategy_percent(self) -> float: ...
    @property
    def strategy_drawdown_percent(self) -> float: ...
    @property
    def drawdown(self) -> DrawdownNumbers: ...
    @property
    def daily_loss(self) -> DailyLossNumbers: ...


class FeeNumbers(Protocol):
    """What is offered to validators for speed."""

    @property
    def max_lamports(self) -> Lamports: ...


class ExecutionNumbers(Protocol):
    """What `from_settings` reads of the settings' execution group."""

    @property
    def mark(self) -> str: ...
    @property
    def max_slippage_bps(self) -> Bps: ...
    @property
    def priority_fee(self) -> FeeNumbers: ...


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """
    The limits in force for one capital.

    `*_quote` are quote base units; `*_ppm` are parts per million of the peak (drawdown) or of the day's opening equity.
    """

    max_position_quote: QuoteUnits
    max_strategy_quote: QuoteUnits
    strategy_drawdown_quote: QuoteUnits
    drawdown_warning_ppm: int
    drawdown_halt_ppm: int
    drawdown_emergency_ppm: int
    daily_loss_warning_ppm: int
    daily_loss_halt_ppm: int
    max_slippage_bps: Bps
    max_priority_fee_lamports: Lamports
    guard: bool = False
    """Every transaction makes a guard account, whose rent is paid at once."""

    @classmethod
    def from_settings(cls, risk: RiskNumbers, execution: ExecutionNumbers, *, capital: QuoteUnits) -> RiskLimits:
        """Return the limits that the settings mean for `capital` (quote base units); amounts are rounded down."""
        return cls(
            max_position_quote=share(capital, ppm(risk.max_position_percent)),
            max_strategy_quote=share(capital, ppm(risk.max_strategy_percent)),
            strategy_drawdown_quote=share(capital, ppm(risk.strategy_drawdown_percent)),
            drawdown_warning_ppm=ppm(risk.drawdown.warning_percent),
            drawdown_halt_ppm=ppm(risk.drawdown.halt_percent),
            drawdown_emergency_ppm=ppm(risk.drawdown.emergency_percent),
            daily_loss_warning_ppm=ppm(risk.daily_loss.warning_percent),
            daily_loss_halt_ppm=ppm(risk.daily_loss.halt_percent),
            max_slippage_bps=execution.max_slippage_bps,
            max_priority_fee_lamports=execution.priority_fee.max_lamports,
            guard=execution.mark == "Guard",
        )

    def exit_slippage_bps(self, failures: int) -> Bps:
        """Return what an exit may lose to slippage after `failures` failed ones: doubled each time, up to the cap."""
        cap = max(self.max_slippage_bps, EXIT_SLIPPAGE_CAP_BPS)
        return min(self.max_slippage_bps << min(max(failures, 0), 16), cap, BPS_ONE)

    def exit_fee_lamports(self, failures: int) -> Lamports:
        """Return the greatest priority fee of an exit after `failures` failed ones: doubled each time, up to the cap."""
        fee = self.max_priority_fee_lamports
        return min(fee << min(max(failures, 0), 16), fee * EXIT_FEE_CAP_FACTOR)


def ppm(percent: float) -> int:
    """Return a percentage in parts per million, as a person wrote it: 0.1 is exactly 1,000."""
    return int(Decimal(repr(percent)) * (PPM_ONE // 100))


def share(amount: int, ppm: int) -> int:
    """Return `ppm` parts per million of an amount, rounded down; 0 of what is not positive."""
    return max(0, amount) * ppm // PPM_ONE
