"""From intent to fill."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from tradingbot_engine.settings.base import Group, HttpUrl


class SwapSettings(Group):
    """The Jupiter-shaped swap API."""

    base_url: HttpUrl = "https://api.jup.ag"
    version: Literal["v1", "v2"] = "v1"
    api_key: SecretStr | None = None
    timeout_s: float = Field(default=3.0, gt=0)


class PriorityFeeSettings(Group):
    """What is offered to validators for speed."""

    level: Literal["medium", "high", "veryHigh"] = "medium"
    max_lamports: int = Field(default=1_000_000, ge=0)


class ExpiryProofSettings(Group):
    """When more than one provider must agree that an attempt can never land."""

    providers: int = Field(default=2, ge=1)
    above_lamports: int = Field(default=10_000_000_000, ge=0)


class ExecutionSettings(Group):
    """From intent to fill."""

    swap: SwapSettings = SwapSettings()
    mark: Literal["Memo", "Guard", "None"] = "Memo"
    max_slippage_bps: int = Field(default=100, ge=1, le=5000)
    max_price_impact_bps: int = Field(default=100, ge=1, le=10_000)
    priority_fee: PriorityFeeSettings = PriorityFeeSettings()
    commitment: Literal["processed", "confirmed"] = "confirmed"
    expiry_proof: ExpiryProofSettings = ExpiryProofSettings()
    resend_interval_s: float = Field(default=1.5, gt=0)
    poll_interval_s: float = Field(default=0.4, gt=0)
    entry_max_age_s: float = Field(default=30, gt=0)
    """An entry whose signal is older is abandoned instead of attempted (again)."""
    entry_max_attempts: int = Field(default=2, ge=1)
    workers: int = Field(default=16, ge=1)
    """Trades followed at once."""
    paper_latency_ms: int = Field(default=800, ge=0)
