"""What the driver remembers of an attempt while it follows it."""

from __future__ import annotations

from dataclasses import dataclass

from tradingbot_engine.domain.intents import Attempt
from tradingbot_engine.domain.units import Slot, UnixMs
from tradingbot_engine.execution.guards import carries_guard


@dataclass(slots=True)
class Course:
    """What one call of `drive` remembers of the current attempt; losing it costs a repetition, never a trade."""

    attempt: int = 0
    fresh: bool = False
    """Journalled by this very call, so never sent before."""
    sends: int = 0
    last_send_s: float | None = None
    rejected: bool = False
    """A node's preflight says that it would fail, and none has said otherwise since."""
    rejection: str = ""
    """What the newest preflight said, kept over attempts until one passes."""
    hindered: str = ""
    """Why the last try to make an attempt made none; "" once one was signed."""
    seen_slot: Slot = 0
    failures: int = 0
    unproven: str = ""
    """What the proof of expiry lacked when it was last said."""
    guarded: bool = False
    """The current attempt makes the intent's guard account."""
    held_until_ms: UnixMs = 0
    """When an attempt was held back last."""
    taken: bool = False
    """A preflight says that the guard account is there, and nobody has looked yet who made it."""

    def onto(self, attempt: Attempt, *, fresh: bool) -> None:
        """Begin anew with another attempt."""
        self.attempt, self.fresh, self.sends = attempt.n, fresh, 0
        self.guarded, self.taken = carries_guard(attempt), False
        self.last_send_s, self.rejected, self.seen_slot, self.failures = None, False, 0, 0
        self.unproven = self.hindered = ""
