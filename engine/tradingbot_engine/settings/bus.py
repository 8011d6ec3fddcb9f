"""Events on their way from their sources to those who want them."""

from __future__ import annotations

from pydantic import Field

from tradingbot_engine.settings.base import Group


class BusSettings(Group):
    """The order of events, and how far those who take them may lag."""

    ordering: bool = Field(
        default=True,
        json_schema_extra={
            "seed": "ENABLE_EVENT_ORDERING",
            "protection": "events are handed over as they come: repeated, late and out of order",
        },
    )
    """Whether events are handed over by the source's own sequence, repeated ones dropped and late ones marked."""
    window_ms: int = Field(default=1000, ge=1, le=60_000, json_schema_extra={"seed": "EVENT_ORDERING_WINDOW_MS"})
    """How long an event waits for one before it that is missing; then it goes on and the hole is told."""
    window_size: int = Field(default=256, ge=1, le=100_000, json_schema_extra={"unit": "events"})
    """How many events of one key wait for a missing one at most."""
    remembered: int = Field(default=10_000, ge=100, le=1_000_000, json_schema_extra={"unit": "events"})
    """How many handed-over events are remembered over all keys, to tell a repeated one from a late one."""
    max_events: int = Field(default=100_000, ge=100, le=10_000_000, json_schema_extra={"unit": "events"})
    """How many events wait for the core at most; price ticks of one token and minute count as one (bars stay exact)."""
