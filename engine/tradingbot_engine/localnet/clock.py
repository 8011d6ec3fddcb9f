"""Market time of the chain: how event time follows from the slot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MarketClock:
    """
    Event time in milliseconds = `origin_ms` + (slot - `origin_slot`) × `ms_per_slot`.

    Slots pass in wall time; `ms_per_slot` is larger than the wall's slot time when the market is played faster. Time
    stops while localnet is down, because slots stop.
    """

    origin_slot: int
    origin_ms: int
    ms_per_slot: float

    def at_ms(self, slot: int) -> int:
        """Market time of `slot`, unix milliseconds."""
        return self.origin_ms + round((slot - self.origin_slot) * self.ms_per_slot)

    def rebased(self, slot: int, ms_per_slot: float) -> MarketClock:
        """The same time at `slot`, passing at another speed from there on."""
        return MarketClock(origin_slot=slot, origin_ms=self.at_ms(slot), ms_per_slot=ms_per_slot)
