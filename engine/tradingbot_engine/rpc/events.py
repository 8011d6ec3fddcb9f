"""What the pool tells of itself: rare events as they happen, and numbers when asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tradingbot_engine.rpc.breaker import BreakerState


@dataclass(frozen=True, slots=True)
class BreakerMoved:
    """An endpoint's breaker changed its state."""

    endpoint: str
    before: BreakerState
    after: BreakerState


@dataclass(frozen=True, slots=True)
class Requested:
    """One request came to its end; `outcome` is "ok" or a row of the error table."""

    endpoint: str
    method: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class HealthSeen:
    """A health probe ended; `trouble` is empty if the node is well and moves on."""

    endpoint: str
    trouble: str


PoolEvent: TypeAlias = BreakerMoved | Requested | HealthSeen
OnEvent: TypeAlias = Callable[[PoolEvent], None]


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Counters since the start, and gauges of now."""

    requests: Mapping[tuple[str, str], int]
    """By (endpoint, outcome): ok, a row of the error table, or cancelled."""
    refused: Mapping[str, int]
    """Calls that were refused before any node was asked, by reason."""
    waited: int
    """Calls that had to wait for a permit or a token."""
    hedges: int
    hedges_won: int
    """Hedges that answered while the first request was silent."""
    shared: int
    """Calls that took the answer of an equal one."""
    batches: int
    """HTTP requests that carried more than one call."""
    in_flight: int
    queued: int
