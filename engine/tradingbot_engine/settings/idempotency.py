"""One signal, one intent."""

from __future__ import annotations

from pydantic import Field

from tradingbot_engine.settings.base import Group


class IdempotencySettings(Group):
    """
    Refusal of a signal that was taken before.

    The ledger's unique intent id is what guarantees it, and cannot be switched off; this is the memory in front of it,
    which spares the ledger the question.
    """

    enabled: bool = Field(default=True, json_schema_extra={"seed": "ENABLE_IDEMPOTENCY_PROTECTION"})
    """Whether repeated signals are refused before they reach the ledger; mode Live needs it."""
    cache_size: int = Field(
        default=10_000, ge=100, le=1_000_000, json_schema_extra={"seed": "MAX_DUPLICATE_CACHE_SIZE", "unit": "signals"}
    )
    """How many ids of signals are remembered; the oldest is forgotten first."""
