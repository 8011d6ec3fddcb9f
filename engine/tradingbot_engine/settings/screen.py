"""Which tokens may be traded at all."""

from __future__ import annotations

from pydantic import Field

from tradingbot_engine.settings.base import Group

_MOST_USD = 1e15


class ScreenSettings(Group):
    """Checks of a token before any strategy sees it, in this order; an absent one passes."""

    min_edge_score: float | None = Field(
        default=None, ge=0, le=100, json_schema_extra={"seed": "MIN_EDGE_SCORE", "unit": "points"}
    )
    """Least edge score of a token."""
    min_liquidity_usd: float | None = Field(
        default=None, ge=0, le=_MOST_USD, json_schema_extra={"seed": "MIN_LIQUIDITY_USD"}
    )
    """Least liquidity of the token's pool."""
    max_holder_concentration: float | None = Field(
        default=None, ge=0, le=1, json_schema_extra={"seed": "MAX_HOLDER_CONCENTRATION", "unit": "share of supply"}
    )
    """Greatest share of the supply that the ten largest holders may own together."""
    min_market_cap_usd: float | None = Field(
        default=None, ge=0, le=_MOST_USD, json_schema_extra={"seed": "MIN_MARKET_CAP_USD"}
    )
    """Least market capitalisation."""
    max_market_cap_usd: float | None = Field(
        default=None, ge=0, le=_MOST_USD, json_schema_extra={"seed": "MAX_MARKET_CAP_USD"}
    )
    """Greatest market capitalisation."""
    min_age_minutes: float | None = Field(
        default=None, ge=0, le=10_000_000, json_schema_extra={"seed": "MIN_TOKEN_AGE_MINUTES"}
    )
    """Least age of the token."""
    max_age_hours: float | None = Field(
        default=None, gt=0, le=1_000_000, json_schema_extra={"seed": "MAX_TOKEN_AGE_HOURS"}
    )
    """Greatest age of the token."""
