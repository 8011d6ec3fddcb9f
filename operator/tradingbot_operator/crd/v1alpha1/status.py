"""The observed state of a bot, written by the operator alone."""

from typing import Annotated, Literal

from pydantic import Field

from tradingbot_operator.crd.v1alpha1.base import Model, Unit

Text = Annotated[str, Field(max_length=1024)]
Time = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
Count = Annotated[int, Field(ge=0)]


class Condition(Model):
    """One named fact about the bot."""

    type: Annotated[str, Field(max_length=316)]
    """Ready, Progressing, Degraded, Trading, Drained or Drifted."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: Count | None = None
    """The spec's generation that it was said about."""
    last_transition_time: Time | None = None
    """When the status last changed."""
    reason: Text = ""
    """Why, in one word for machines."""
    message: Annotated[str, Field(max_length=32_768)] = ""
    """Why, in words for people."""


class ShardsStatus(Model):
    """Slices of the tokens."""

    total: Count | None = None
    """All slices."""
    owned: Count | None = None
    """Slices that a pod owns."""


class EffectiveStatus(Model):
    """The risk numbers in force, the profile's filled in."""

    max_position_percent: float | None = None
    """Greatest size of one trade."""
    max_strategy_percent: float | None = None
    """Greatest sum of one strategy's positions."""
    drawdown_warning_percent: float | None = None
    """Sizes are halved from here on."""
    drawdown_halt_percent: float | None = None
    """No position is opened from here on."""
    drawdown_emergency_percent: float | None = None
    """Everything is closed from here on."""
    daily_loss_warning_percent: float | None = None
    """Sizes are halved from here on."""
    daily_loss_halt_percent: float | None = None
    """No position is opened from here on."""
    max_slippage_bps: int | None = None
    """Worst price accepted."""


class TradingBotStatus(Model):
    """What the operator saw."""

    observed_generation: Count | None = None
    """The spec's generation that this status is about."""
    phase: Text | None = None
    """One word for people; machines read the conditions."""
    bot_id: Text | None = None
    """The bot's id in the ledger and in the marks on chain."""
    replicas: Annotated[Count | None, Unit("pods")] = None
    """Pods that exist."""
    ready_replicas: Annotated[Count | None, Unit("pods")] = None
    """Pods that can take shards."""
    selector: Text | None = None
    """Label selector of the pods, for the autoscaler."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=32,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = Field(default_factory=list)
    """Named facts about the bot."""
    shards: ShardsStatus | None = None
    """Slices of the tokens."""
    queue_utilization_percent: Annotated[Count | None, Unit("%")] = None
    """Queue utilisation, the mean over the pods."""
    in_flight_trades: Annotated[Count | None, Unit("trades")] = None
    """Trades that are not settled."""
    open_positions: Count | None = None
    """Tokens that the bot holds."""
    drawdown_tier: Text | None = None
    """normal, warning, halt or emergency."""
    last_trade_time: Time | None = None
    """When a trade last filled."""
    effective: EffectiveStatus | None = None
    """The risk numbers in force."""
