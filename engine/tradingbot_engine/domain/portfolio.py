"""What the bot holds, and how well it does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tradingbot_engine.domain.units import BaseUnits, Bps, IntentId, Mint, QuoteUnits, UnixMs


class PositionState(StrEnum):
    """PENDING: the entry is not confirmed yet (or was forked away); OPEN: tokens are held; CLOSED: sold, or never bought."""

    PENDING = "PENDING"
    OPEN = "OPEN"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class Position:
    """
    One entry and its exits; `id` is the entry's intent id.

    Held amount is `bought - sold` in base units; what another position sold of it, or was found gone, counts as sold. `cost`
    and `proceeds` are quote base units, fees of the chain excluded; `exit_open` tells that an exit intent is under way;
    `exit_failures` counts exits that failed or were given up after an attempt, or for what the market answered, for pauses.
    """

    id: IntentId
    strategy: str
    mint: Mint
    state: PositionState
    bought: BaseUnits
    sold: BaseUnits
    cost: QuoteUnits
    proceeds: QuoteUnits
    opened_at_ms: UnixMs
    """Event time of the entry's signal."""
    entry_price: float
    exit_open: bool = False
    exit_failures: int = 0
    exit_slips: int = 0
    """Exits that the price ran away from (program error 6001) since the last one that sold something, for escalation."""
    exit_failed_at_ms: UnixMs = 0
    """Event time at which the last exit failed or was given up; 0 if none did."""
    closed_at_ms: UnixMs = 0
    """Event time of the sale that closed it; 0 if it is not closed or the moment is not known."""

    @property
    def held(self) -> BaseUnits:
        return self.bought - self.sold


class Tier(StrEnum):
    """Drawdown tiers: WARNING halves sizes, HALT opens nothing, EMERGENCY closes all."""

    NORMAL = "NORMAL"
    WARNING = "WARNING"
    HALT = "HALT"
    EMERGENCY = "EMERGENCY"


@dataclass(frozen=True, slots=True)
class RiskState:
    """
    The persisted part of risk, of the whole bot; a restart or midnight does not clear a tier by itself.

    Amounts are quote base units. `equity` = `capital` + realized + unrealized; `day` is the UTC date (ISO) of `day_start`.
    """

    capital: QuoteUnits
    equity_start: QuoteUnits
    equity: QuoteUnits
    peak: QuoteUnits
    day: str
    day_start: QuoteUnits
    tier: Tier = Tier.NORMAL
    tier_since_ms: UnixMs = 0
    tier_reason: str = ""
    realized: QuoteUnits = 0
    fees_failed_today: QuoteUnits = 0
    marked_at_ms: UnixMs = 0
    """Wall time of the last mark; older than 5 s blocks entries (`StaleEquity`)."""

    @property
    def drawdown_bps(self) -> Bps:
        return max(0, (self.peak - self.equity) * 10_000 // self.peak) if self.peak > 0 else 0
