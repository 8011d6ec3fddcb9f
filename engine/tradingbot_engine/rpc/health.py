"""Where a node stands: health is the progress of its slots, not HTTP 200."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tradingbot_engine.domain.units import Slot

TOGETHER_S = 0.25
"""Slots seen within this time of each other can be compared."""
OLDER_S = 5.0
"""Answers at different commitments mix: a lower slot replaces a higher one only after this."""
STALL_S = 5.0
"""A processed slot that does not grow for this long stands still. A slot takes 0.4 s."""
RESET_SLOTS = 150
"""A processed slot that falls by more is another chain, or another node behind the name: growth is judged anew."""
LEAP_SLOTS = 64
"""A slot that is ahead of the node's last one by more than this, and by more than time explains, is not believed yet."""
FASTEST = 250.0
"""Slots per second that no chain is beyond; test chains are faster than the 2.5 of mainnet."""
NEAR_SLOTS = 5_000
"""Nodes of one chain are rarely further apart: half an hour."""
STEADY_S = 5.0
"""What a node says by itself is believed once it has grown for so long, unless two others agree on something else."""
FAR_SLOTS = 100_000
"""No answer is of a time that is so far ahead of everybody: half a day."""
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
    vouched: bool = False
    """Whether another node, or time, bears out what it says of its slot; until then others are not compared with it."""
    leapt: bool = False
    """Whether its last leap is not borne out yet."""
    since_slot: Slot = 0
    since_s: float = NEVER
    """Where and when its claims that nobody bears out began."""

    def forget(self) -> None:
        """Know nothing of the node any more."""
        for field in fields(self):
            setattr(self, field.name, field.default)

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
    """
    The highest slot that a believable node has shown, and how far the others are behind it.

    One node's word is not enough: a garbage slot, at first sight or later, would make all others seem to lag. A node is
    believed if another one is near, or if it has grown for a while by itself; a leap further than time explains is to be
    borne out anew.
    """

    def __init__(self, healths: tuple[Health, ...]) -> None:
        self._healths = healths
        self.slot: Slot = 0
        """0 while nobody is believed."""
        self._at_s = NEVER

    def saw(self, health: Health, slot: Slot, now_s: float) -> None:
        """Note that a node has shown `slot`."""
        if health.vouched:
            if slot < health.slot:
                if now_s - health.slot_at_s <= OLDER_S:
                    return
            elif slot > health.slot + LEAP_SLOTS and not _in_reach(slot, health.slot, now_s - health.slot_at_s):
                health.vouched, health.leapt = False, True
                health.since_slot, health.since_s = slot, now_s
        elif (
            health.since_s == NEVER or slot < health.slot or not _in_reach(slot, health.slot, now_s - health.slot_at_s)
        ):
            health.since_slot, health.since_s = slot, now_s
        health.slot, health.slot_at_s = slot, now_s
        if not health.vouched:
            vouched = self._vouch(health, now_s)
            self._of_the_vouched(but=health)
            if not vouched:
                health.lag = 0
                return
        if slot > self.slot:
            self.slot, self._at_s = slot, now_s
            for other in self._healths:
                if now_s - other.slot_at_s <= TOGETHER_S and other.vouched:
                    other.lag = slot - other.slot
        elif slot < self.slot:
            self._of_the_vouched()  # the best one itself may have gone back
            health.lag = self.slot - slot
        else:
            health.lag = 0

    def reaches(self, slot: Slot, now_s: float, *, slack: int = LEAP_SLOTS) -> bool:
        """Return whether an answer may speak of `slot` by now; anything may while nobody is believed."""
        return not self.slot or slot <= self.slot + slack or _in_reach(slot, self.slot + slack, now_s - self._at_s)

    def forget(self, health: Health) -> None:
        """Take back whatever a node has said, which turned out to serve another chain."""
        health.forget()
        self._of_the_vouched()

    def _of_the_vouched(self, *, but: Health | None = None) -> None:
        believed = ((h.slot, h.slot_at_s) for h in self._healths if h.vouched and h is not but)
        self.slot, self._at_s = max(believed, default=(0, NEVER))

    def _vouch(self, health: Health, now_s: float) -> bool:
        """Return whether a node is believed from now on, and with it whoever is near."""
        others = [h for h in self._healths if h is not health and h.slot_at_s != NEVER]
        within = LEAP_SLOTS if health.leapt else NEAR_SLOTS
        near = [h for h in others if abs(h.slot - health.slot) <= within + FASTEST * (now_s - h.slot_at_s)]
        grown = health.slot > health.since_slot and now_s - health.since_s >= STEADY_S
        if len(self._healths) > 1 and not near and (not grown or sum(h.vouched for h in others) > 1):
            return False
        for one in (health, *near):
            one.vouched, one.leapt = True, False
        return True


def _in_reach(slot: Slot, before: Slot, seconds: float) -> bool:
    """Return whether a chain can have come from one slot to another in that time."""
    return slot <= before + LEAP_SLOTS + FASTEST * seconds
