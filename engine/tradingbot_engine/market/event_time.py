"""Event time: when something happened in the market, which on localnet is not when it happened on the wall."""

from __future__ import annotations

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.units import Slot, UnixMs
from tradingbot_engine.settings import EventTimeSettings

CONFIRMATION_LAG_SLOTS = {"processed": 1, "confirmed": 2}
"""How far behind the newest slot the market is known completely: writes of a slot are told when it reaches the commitment."""


class EventTime:
    """
    Event time in milliseconds, by slot or, without settings for it, by the wall.

    By slot it is the same for everybody who looks, in every process and after every restart, so that a bar holds the
    same trades whoever builds it.
    """

    def __init__(self, settings: EventTimeSettings | None, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    @property
    def by_slot(self) -> bool:
        """Whether time follows the slot."""
        return self._settings is not None

    def at_ms(self, slot: Slot) -> UnixMs:
        """Return the event time of a write in `slot`."""
        s = self._settings
        if s is None:
            return self._clock.now_ms()
        return s.origin_ms + round((slot - s.origin_slot) * s.ms_per_slot)

    def passed_ms(self, newest: Slot, commitment: str) -> UnixMs:
        """
        Return the event time that is over, `newest` being the newest slot seen.

        By slot it stays behind the writes that are still to be told at `commitment`: a clock that runs ahead of the
        prices would close a bar before its last trade is known.
        """
        if self._settings is None:
            return self._clock.now_ms()
        return self.at_ms(max(0, newest - CONFIRMATION_LAG_SLOTS.get(commitment, 2)))
