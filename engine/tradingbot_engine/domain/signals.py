"""A strategy's wish, and how urgent it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from tradingbot_engine.domain.units import IntentId, Mint, UnixMs


class Side(StrEnum):
    """BUY spends the quote currency for the token, SELL the reverse."""

    BUY = "BUY"
    SELL = "SELL"


class Purpose(StrEnum):
    """ENTRY opens a position, EXIT closes (part of) one."""

    ENTRY = "ENTRY"
    EXIT = "EXIT"


class Priority(IntEnum):
    """Smaller is more urgent."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


@dataclass(frozen=True, slots=True)
class Signal:
    """
    A strategy's wish to trade, before risk.

    `strategy` is the instance's name in the manifest; `trigger_id` names the market event that caused it, so that the same
    event after a restart gives the same signal; `position_id` (the id of the entry's intent) is set for exits.
    """

    strategy: str
    strategy_type: str
    strategy_version: int
    mint: Mint
    side: Side
    purpose: Purpose
    trigger_id: str
    at_ms: UnixMs
    price: float
    reason: str
    priority: Priority
    position_id: IntentId | None = None
