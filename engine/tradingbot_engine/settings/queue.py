"""Signals waiting for a worker."""

from __future__ import annotations

from pydantic import Field

from tradingbot_engine.settings.base import Group


class QueueSettings(Group):
    """
    Signals waiting for a worker, and what is refused under load.

    Exits (stop losses, take profits, emergencies) are critical: they are never refused at a threshold, never shed at the
    deadline, and never displaced by an entry.
    """

    backpressure: bool = Field(
        default=True,
        json_schema_extra={
            "seed": "ENABLE_BACKPRESSURE_MANAGEMENT",
            "protection": "under overload signals are refused in the order of their arrival, exits too",
        },
    )
    """Whether the thresholds and the deadline hold, and a full queue gives way to what is more urgent."""
    max_size: int = Field(default=10_000, ge=1, le=1_000_000, json_schema_extra={"unit": "signals"})
    """How many signals wait at most; when full, the least urgent waiting one is displaced, never a more urgent one."""
    deadline_ms: int = Field(default=5000, ge=1, le=600_000)
    """An entry that waited longer is refused (`Late`); exits wait as long as it takes."""
    reject_fast_ms: int = Field(default=10, ge=1, le=10_000)
    """How soon after its deadline an entry is refused while every worker is busy, at the latest."""
    warning_threshold: float = Field(default=0.8, gt=0, le=1)
    """Share of `max_size` from which entries of priority LOW are refused (`Overloaded`)."""
    critical_threshold: float = Field(
        default=0.95, gt=0, le=1, json_schema_extra={"seed": "BACKPRESSURE_THRESHOLD_PERCENT"}
    )
    """Share of `max_size` from which entries of priority NORMAL are refused too; above `warning_threshold`."""
