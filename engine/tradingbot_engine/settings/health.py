"""The engine's look at itself."""

from __future__ import annotations

from pydantic import Field

from tradingbot_engine.settings.base import Group


class HealthSettings(Group):
    """How often the engine looks at its own vital signs (the RPC nodes have a check of their own in `rpc`)."""

    enabled: bool = Field(default=True, json_schema_extra={"seed": "HEALTH_CHECK_ENABLED"})
    """Whether the vital signs are checked; they only tell, `/readyz` does not depend on them."""
    interval_s: float = Field(default=5.0, ge=0.1, le=3600, json_schema_extra={"seed": "HEALTH_CHECK_INTERVAL_MS"})
    """Time between two looks."""
