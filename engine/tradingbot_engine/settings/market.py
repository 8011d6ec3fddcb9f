"""What is traded, and where prices come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tradingbot_engine.settings.base import LINE, Base58Key, Group, HttpUrl


class TokenSettings(Group):
    """A token that the bot may trade."""

    mint: Base58Key
    """Address of the token's mint."""
    symbol: str = Field(default="", max_length=32, pattern=LINE)
    """What people call it."""


class EventTimeSettings(Group):
    """
    How event time follows from the slot, where the chain plays faster than the wall (localnet).

    Event time in milliseconds = `origin_ms` + (slot - `origin_slot`) × `ms_per_slot`. Absent: wall time.
    """

    origin_slot: int = Field(ge=0, le=2**63 - 1, json_schema_extra={"unit": "slot"})
    """A slot whose event time is known."""
    origin_ms: int = Field(ge=0, le=2**53)
    """Event time of that slot, Unix milliseconds."""
    ms_per_slot: float = Field(gt=0, le=86_400_000)
    """Event time that passes from one slot to the next."""


class MarketSettings(Group):
    """What is traded, and where prices come from."""

    quote: Literal["SOL", "USDC"] = "SOL"
    """What tokens are bought with; capital, profit and drawdown are counted in it."""
    tokens: tuple[TokenSettings, ...] = Field(min_length=1, max_length=1000)
    max_staleness_ms: int = Field(default=500, ge=1, le=600_000)
    """Without a proof of life from the feed for this long (wall time), entries are blocked."""
    event_time: EventTimeSettings | None = None
    clock_url: HttpUrl | None = None
    """Where localnet tells its market's clock; asked at the start when `event_time` is not set."""
    history_url: HttpUrl | None = None
    """Base of an OHLCV API in GeckoTerminal's shape, asked for bars that the ledger lacks."""
    price_url: HttpUrl | None = None
    """Base of a price API in Jupiter's shape (`/price/v3`), for thresholds stated in dollars."""

    @model_validator(mode="after")
    def _mints_differ(self) -> MarketSettings:
        mints = [t.mint for t in self.tokens]
        if len(set(mints)) != len(mints):
            raise ValueError("mints must differ")
        return self
