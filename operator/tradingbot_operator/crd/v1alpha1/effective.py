"""Numbers in force: what a manifest leaves out is filled from its risk profile, never from schema defaults."""

from dataclasses import dataclass
from typing import TypeVar

from tradingbot_operator.crd.v1alpha1.spec import Cluster, TradingBotSpec

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True)
class EffectiveRisk:
    """The risk numbers that hold for a bot, in percent of its capital; slippage in basis points."""

    max_position_percent: float
    max_strategy_percent: float
    drawdown_warning_percent: float
    drawdown_halt_percent: float
    drawdown_emergency_percent: float
    daily_loss_warning_percent: float
    daily_loss_halt_percent: float
    max_slippage_bps: int


PROFILES = {
    "Conservative": EffectiveRisk(
        max_position_percent=1,
        max_strategy_percent=5,
        drawdown_warning_percent=2,
        drawdown_halt_percent=3,
        drawdown_emergency_percent=6,
        daily_loss_warning_percent=1,
        daily_loss_halt_percent=2,
        max_slippage_bps=50,
    ),
    "Balanced": EffectiveRisk(
        max_position_percent=2,
        max_strategy_percent=10,
        drawdown_warning_percent=3,
        drawdown_halt_percent=5,
        drawdown_emergency_percent=10,
        daily_loss_warning_percent=2,
        daily_loss_halt_percent=3,
        max_slippage_bps=100,
    ),
    "Aggressive": EffectiveRisk(
        max_position_percent=4,
        max_strategy_percent=20,
        drawdown_warning_percent=5,
        drawdown_halt_percent=8,
        drawdown_emergency_percent=15,
        daily_loss_warning_percent=3,
        daily_loss_halt_percent=5,
        max_slippage_bps=200,
    ),
}


def effective_cluster(spec: TradingBotSpec) -> Cluster:
    """Return the cluster that the bot trades on; a Paper bot that states none is on localnet."""
    return spec.cluster or "localnet"


def effective_risk(spec: TradingBotSpec) -> EffectiveRisk:
    """Return the manifest's risk numbers with its profile's where it states none."""
    risk, profile = spec.risk, PROFILES[spec.risk.profile]

    return EffectiveRisk(
        max_position_percent=stated(risk.max_position_percent, profile.max_position_percent),
        max_strategy_percent=stated(risk.max_strategy_percent, profile.max_strategy_percent),
        drawdown_warning_percent=stated(risk.drawdown.warning_percent, profile.drawdown_warning_percent),
        drawdown_halt_percent=stated(risk.drawdown.halt_percent, profile.drawdown_halt_percent),
        drawdown_emergency_percent=stated(risk.drawdown.emergency_percent, profile.drawdown_emergency_percent),
        daily_loss_warning_percent=stated(risk.daily_loss.warning_percent, profile.daily_loss_warning_percent),
        daily_loss_halt_percent=stated(risk.daily_loss.halt_percent, profile.daily_loss_halt_percent),
        max_slippage_bps=stated(spec.execution.max_slippage_bps, profile.max_slippage_bps),
    )


def stated(value: Number | None, preset: Number) -> Number:
    """Return the manifest's number, or the profile's where it states none."""
    return preset if value is None else value
