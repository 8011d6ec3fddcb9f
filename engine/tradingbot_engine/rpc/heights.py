"""
How high the chain is at which slot, by several nodes: what a node says of a blockhash's validity is held against it.

A last valid block height L that is too high keeps an attempt alive for ever; one that is too low lets it seem expired while
it may still land. L is 150 above the height of the blockhash's block (`VALID_BLOCKS`), and between two slots at
most one block stands on each, so what any honest node has finalized bounds L from both sides, whatever fork the other is on.

Of two nodes that contradict each other the one is believed that goes on from where both agreed before; if neither does, or
both could, nobody can tell which one is right, and nothing is signed: `docs/adr/0006-asking-nodes.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tradingbot_engine.domain.units import VALID_BLOCKS, BlockHeight, Slot

TOGETHER_SLOTS = 300
"""Words of slots that are further apart are no agreement: nearly any two heights fit then."""
SLACK_BLOCKS = 1
"""Whether a bank counts itself is not the same in every version."""


@dataclass(frozen=True, slots=True)
class Place:
    """A finalized block: where it stands."""

    slot: Slot
    block_height: BlockHeight


class Heights:
    """The last finalized block that each provider has shown."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._agreed: Place | None = None
        """Where all who spoke agreed last; from there on, where the one stands that has gone on from it and no other has."""

    def saw(self, voice: str, place: Place) -> None:
        """Note what the provider `voice` shows."""
        self._places[voice] = place
        others = [p for name, p in self._places.items() if name != voice]
        against = [p for p in others if not _fits(p, place.slot, place.block_height)]
        if not against:
            if any(abs(p.slot - place.slot) <= TOGETHER_SLOTS for p in others):
                self._agreed = place
        elif self._goes_on(place) and not any(self._goes_on(p) for p in against):
            self._agreed = place

    def _goes_on(self, place: Place) -> bool:
        """Return whether a place can follow the one that all agreed on."""
        return self._agreed is not None and _fits(self._agreed, place.slot, place.block_height)

    def forget(self, voice: str) -> None:
        """Take back what a provider has shown, which turned out to serve another chain."""
        self._places.pop(voice, None)

    def problem(self, voice: str, *, slot: Slot, last_valid_block_height: BlockHeight) -> str:
        """
        Return what speaks against the L that the provider `voice` gave for a blockhash of `slot`, "" if nothing does.

        Its own height must agree, and more providers than contradict it, itself included. Of as many the past decides: L must
        go on from where all agreed before, and no height that contradicts it may.
        """
        height = last_valid_block_height - VALID_BLOCKS
        told = f"L {last_valid_block_height} for a blockhash of slot {slot}"
        if not 0 <= height <= slot + SLACK_BLOCKS:
            return f"{told}: no block of that slot can be so high or low"
        against = [name for name, place in self._places.items() if not _fits(place, slot, height)]
        if voice in against:
            return f"{told} contradicts its own height {self._places[voice]}"
        agreeing = len({voice, *self._places} - set(against))
        past = self._agreed
        astray = not any(self._goes_on(self._places[name]) for name in against)
        by_the_past = past is not None and astray and _fits(past, slot, height)
        if len(against) > agreeing or (len(against) == agreeing and not by_the_past):
            return f"{told} contradicts the height of {', '.join(f'{n} {self._places[n]}' for n in against)}"
        return ""


def _fits(place: Place, slot: Slot, height: BlockHeight) -> bool:
    """Return whether a block at `slot` can have this height if the finalized one at `place` has its own."""
    low, high = sorted((place.block_height, place.block_height + slot - place.slot))
    return low - SLACK_BLOCKS <= height <= high + SLACK_BLOCKS
