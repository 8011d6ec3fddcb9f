"""Where a node stands: health is the progress of its slots, not HTTP 200."""

from __future__ import annotations

from dataclasses import dataclass

from tradingbot_engine.domain.units import Slot

TOGETHER_S = 0.25
"""Slots seen within this time of each other can be compared."""
OLDER_S = 5.0
"""Answers at different commitments mix: a lower slot replaces a higher one only after this."""
STALL_S = 5.0
"""A processed slot that does not grow for this long stands still. A slot takes 0.4 s."""
RESET_SLOTS = 150
"""A processed slot that falls by more is another chain, or another node behind the name: growth is judged anew."""
NEVER = float("-inf")


@dataclass(slots=True)
class Health:
    """One node's slots, from probes and from the `context.slot` of every answer; monotonic seconds."""

    slot: Slot = 0
    """The newest seen at any commitment."""
    slot_at_s: float = NEVER
    processed: Slot = 0
    finalized: Slot = 0
    """As the last probe saw them; 0 before the first."""
    grew_at_s: float = NEVER
    """When the processed slot was last seen to be higher than before."""
    stalled: bool = False
    complaint: str = ""
    """What the node itself said about its health, or how the probe failed; empty if it is well."""
    lag: int = 0
    """Slots behind the best node when both were last seen together."""

    def probed(self, *, processed: Slot, finalized: Slot, now_s: float) -> bool:
        """Note what a probe saw; returns whether the node has moved on since the last one."""
        if processed > self.processed or processed < self.processed - RESET_SLOTS or self.grew_at_s == NEVER:
            self.grew_at_s = now_s
        self.stalled = now_s - self.grew_at_s >= STALL_S
        self.processed, self.finalized = processed, finalized
        self.complaint = ""
        return self.grew_at_s == now_s

    def ill(self, *, now_s: float, max_lag: int, fresh_s: float) -> bool:
        """Return whether anything speaks against asking it; observations count for `fresh_s`."""
        return self.stalled or self.complaint != "" or (self.lag > max_lag and now_s - self.slot_at_s <= fresh_s)

    def trouble(self, *, now_s: float, max_lag: int, fresh_s: float) -> str:
        """Return what speaks against asking it, empty if nothing does; see `ill`."""
        if not self.ill(now_s=now_s, max_lag=max_lag, fresh_s=fresh_s):
            return ""
        if self.complaint:
            return self.complaint
        if self.stalled:
            return f"its slot stands still at {self.processed}"
        return f"{self.lag} slots behind the best node"


class Tip:
    """The highest slot that any node has shown, and how far the others are behind it."""

    def __init__(self, healths: tuple[Health, ...]) -> None:
        self._healths = healths
        self.slot: Slot = 0

    def saw(self, health: Health, slot: Slot, now_s: float) -> None:
        """Note that a node has shown `slot`."""
        if slot < health.slot and now_s - health.slot_at_s <= OLDER_S:
            return
        health.slot, health.slot_at_s = slot, now_s
        if slot > self.slot:
            self.slot = slot
            for other in self._healths:
                if now_s - other.slot_at_s <= TOGETHER_S:
                    other.lag = slot - other.slot
        elif slot < self.slot:
            self.slot = max(other.slot for other in self._healths)  # the best one itself may have gone back
            health.lag = self.slot - slot
        else:
            health.lag = 0
