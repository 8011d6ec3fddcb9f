"""Signals waiting for a worker."""

from __future__ import annotations

from pydantic import Field

from tradingbot_engine.settings.base import Group


class QueueSettings(Group):
    """Signals waiting for a worker."""

    max_size: int = Field(default=10_000, ge=1)
    deadline_ms: int = Field(default=5000, ge=1)
    warning_threshold: float = Field(default=0.8, gt=0, le=1)
    critical_threshold: float = Field(default=0.95, gt=0, le=1)
