"""From intent to fill."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradingbot_engine.settings.base import Group, HttpUrl, SecretLine


class SwapSettings(Group):
    """The Jupiter-shaped swap API."""

    base_url: HttpUrl = "https://api.jup.ag"
    """Its address, without a key in it."""
    version: Literal["v1", "v2"] = "v1"
    """The shapes that it speaks."""
    api_key: SecretLine | None = Field(default=None, min_length=1, max_length=512)
    """Sent as `x-api-key`."""
    timeout_s: float = Field(default=3.0, gt=0, le=60)
    """How long one request may take."""


class PriorityFeeSettings(Group):
    """What is offered to validators for speed."""

    level: Literal["medium", "high", "veryHigh"] = "medium"
    """How much, in the swap API's words."""
    max_lamports: int = Field(default=1_000_000, ge=0, le=1_000_000_000)
    """Never more than this for one transaction."""


class ExpiryProofSettings(Group):
    """When more than one provider must agree that an attempt can never land."""

    providers: int = Field(default=2, ge=1, le=9, json_schema_extra={"unit": "nodes"})
    """How many independent providers must agree."""
    above_lamports: int = Field(default=10_000_000_000, ge=0, le=2**63 - 1)
    """For trades above this size, and for all of them later than 300 slots after their blockhash."""


class ExecutionSettings(Group):
    """From intent to fill."""

    swap: SwapSettings = SwapSettings()
    mark: Literal["Memo", "Guard", "None"] = "Memo"
    """How a trade carries its intent's id on chain; without it no audit can prove anything."""
    max_slippage_bps: int = Field(default=100, ge=1, le=5000)
    """Worst price accepted, against the quote."""
    max_price_impact_bps: int = Field(default=100, ge=1, le=10_000)
    """How far a trade may move the pool's price."""
    priority_fee: PriorityFeeSettings = PriorityFeeSettings()
    reclaim_fee_budget_lamports: int = Field(default=1_000_000, ge=0, le=1_000_000_000_000)
    """What failed transactions that fetch guards' rent back may cost per UTC day before the rest waits until the next."""
    commitment: Literal["processed", "confirmed"] = "confirmed"
    """Of the blockhash and the preflight; fills are always taken at finalized."""
    expiry_proof: ExpiryProofSettings = ExpiryProofSettings()
    resend_interval_s: float = Field(default=1.5, gt=0, le=60)
    """How often the stored bytes of an attempt are sent again."""
    poll_interval_s: float = Field(default=0.4, gt=0, le=60)
    """How often the status of an attempt is asked."""
    entry_max_age_s: float = Field(default=30, gt=0, le=3600)
    """An entry whose signal is older is abandoned instead of attempted (again)."""
    entry_max_attempts: int = Field(default=2, ge=1, le=10, json_schema_extra={"unit": "attempts"})
    """How often an entry is tried; exits are tried until they succeed."""
    workers: int = Field(default=16, ge=1, le=1024, json_schema_extra={"unit": "trades"})
    """Trades followed at once."""
    paper_latency_ms: int = Field(default=800, ge=0, le=60_000)
    """How long a paper trade takes to land."""
