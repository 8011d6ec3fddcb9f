"""What a bot trades and by which rules: market, strategies, risk."""

from typing import Annotated, Literal

from pydantic import Field

from tradingbot_operator.crd.v1alpha1.base import DNS_1035, FEED_URL, Address, FromSecret, Model, Name, Scalar, Unit

Percent = Annotated[float, Field(gt=0, le=100), Unit("%")]
Fall = Annotated[float, Field(gt=0, lt=100), Unit("%")]
Usd = Annotated[float, Field(ge=0, le=1e15), Unit("USD")]
StrategyName = Annotated[str, Field(pattern=DNS_1035, max_length=63)]
FeedUrl = Annotated[str, Field(pattern=FEED_URL, max_length=2048)]
BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
BY_MINT = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["mint"]}


class Token(Model):
    """One SPL token."""

    mint: Address
    """Address of the token's mint; unique within the bot."""
    symbol: Annotated[str, Field(pattern=r"^[^\x00-\x20]+$", min_length=1, max_length=32)] | None = None
    """What people call it; absent: the first characters of the mint."""


class Screen(Model):
    """Which tokens may be traded at all; checked in this order, an absent check passes."""

    min_edge_score: Annotated[float, Field(ge=0, le=100), Unit("points")] | None = None
    """Least edge score."""
    min_liquidity_usd: Usd | None = None
    """Least liquidity of the pool."""
    max_holder_concentration: Annotated[float, Field(ge=0, le=1), Unit("share of supply")] | None = None
    """Greatest share of the supply that the ten largest holders may own together."""
    min_market_cap_usd: Usd | None = None
    """Least market capitalisation."""
    max_market_cap_usd: Usd | None = None
    """Greatest market capitalisation."""
    min_age_minutes: Annotated[float, Field(ge=0, le=10_000_000), Unit("min")] | None = None
    """Least age of the token."""
    max_age_hours: Annotated[float, Field(gt=0, le=1_000_000), Unit("h")] | None = None
    """Greatest age of the token."""


class Feed(Model):
    """One source of market data besides the pools."""

    name: Name
    """Name of the feed in status, logs and metrics; unique within the bot."""
    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=63)]
    """What it delivers, in the words of the strategies' catalogue."""
    url: FeedUrl | None = None
    """Its address; absent: the provider's public one."""
    api_key_from: FromSecret | None = None
    """The provider's key, from a Secret."""


class Market(Model):
    """Which tokens are traded against what, and where prices come from."""

    quote: Literal["SOL", "USDC"] = "SOL"
    """What tokens are bought with; capital, profit and drawdown are counted in it."""
    tokens: Annotated[list[Token], Field(max_length=1000, json_schema_extra=BY_MINT)] = Field(default_factory=list)
    """The tokens; a bot needs at least one, or a screen."""
    screen: Screen | None = None
    """Which tokens may be traded at all."""
    feeds: Annotated[list[Feed], Field(max_length=32, json_schema_extra=BY_NAME)] = Field(default_factory=list)
    """Sources of market data; absent: the pools themselves, by websocket."""
    max_staleness_milliseconds: Annotated[int, Field(ge=10, le=600_000), Unit("ms")] = 500
    """No position is opened when the feed gave no sign of life for this long; exits go on."""


class Strategy(Model):
    """One strategy of the engine's catalogue with its parameters."""

    name: StrategyName
    """Name of this use of the strategy in status, logs and metrics; unique within the bot."""
    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=63)]
    """Which strategy; `tradingbot explain strategies` lists them."""
    allocation_percent: Percent | None = None
    """Share of the capital that it may have in positions, within risk.maxStrategyPercent; absent: an equal part of the rest."""
    parameters: Annotated[
        dict[Annotated[str, Field(max_length=63)], Scalar],
        Field(max_length=64, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}),
    ] = Field(default_factory=dict)
    """Its parameters by name, checked against the engine's catalogue; absent ones have the catalogue's default."""


class Drawdown(Model):
    """Tiers by the fall from the highest equity; absent numbers are the profile's."""

    warning_percent: Fall | None = None
    """From here on sizes are halved."""
    halt_percent: Fall | None = None
    """From here on no position is opened."""
    emergency_percent: Fall | None = None
    """From here on everything is closed."""


class DailyLoss(Model):
    """Tiers by the loss since midnight UTC; absent numbers are the profile's."""

    warning_percent: Fall | None = None
    """From here on sizes are halved."""
    halt_percent: Fall | None = None
    """From here on no position is opened, beyond midnight too: until losses are made good or `tradingbot reset-tier`."""


class Risk(Model):
    """Limits, in percent of the capital. Absent numbers are the profile's; the values in force stand in the status."""

    profile: Literal["Conservative", "Balanced", "Aggressive"] = "Balanced"
    """The set of numbers that fills in what is left out here."""
    capital: Annotated[float, Field(gt=0, le=1e9), Unit("SOL or USDC, as market.quote says")] | None = None
    """What the bot may trade with; absent: the wallet's equity at its first start."""
    max_position_percent: Percent | None = None
    """Greatest size of one trade."""
    max_strategy_percent: Percent | None = None
    """Greatest sum of one strategy's positions."""
    drawdown: Drawdown = Field(default_factory=Drawdown)
    """Tiers by the fall from the highest equity."""
    daily_loss: DailyLoss = Field(default_factory=DailyLoss)
    """Tiers by the loss since midnight UTC."""
