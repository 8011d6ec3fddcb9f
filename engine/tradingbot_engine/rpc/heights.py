"""
How high the chain is at which slot, by several nodes: what a node says of a blockhash's validity is held against it.

A last valid block height L that is too high keeps an attempt alive for ever; one that is too low lets it seem expired while
it may still land. L is 150 above the height of the blockhash's block (`VALID_BLOCKS`), and between two slots at
most one block stands on each, so what any honest node has finalized bounds L from both sides, whatever fork the other is on.
"""

from __future__ import annotations

from dataclasses import dataclass

from tradingbot_engine.domain.units import VALID_BLOCKS, BlockHeight, Slot

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

    def saw(self, voice: str, place: Place) -> None:
        """Note what the provider `voice` shows."""
        self._places[voice] = place

    def forget(self, voice: str) -> None:
        """Take back what a provider has shown, which turned out to serve another chain."""
        self._places.pop(voice, None)

    def problem(self, voice: str, *, slot: Slot, last_valid_block_height: BlockHeight) -> str:
        """
        Return what speaks against the L that the provider `voice` gave for a blockhash of `slot`, "" if nothing does.

        Its own height must agree, and more providers than contradict it, itself included: of two that contradict each other
        nobody can tell which one is right.
        """
        height = last_valid_block_height - VALID_BLOCKS
        told = f"L {last_valid_block_height} for a blockhash of slot {slot}"
        if not 0 <= height <= slot + SLACK_BLOCKS:
            return f"{told}: no block of that slot can be so high or low"
        against = [name for name, place in self._places.items() if not _fits(place, slot, height)]
        if voice in against:
            return f"{told} contradicts its own height {self._places[voice]}"
        agreeing = len({voice, *self._places} - set(against))
        if len(against) >= agreeing:
            return f"{told} contradicts the height of {', '.join(f'{n} {self._places[n]}' for n in against)}"
        return ""


def _fits(place: Place, slot: Slot, height: BlockHeight) -> bool:
    """Return whether a block at `slot` can have this height if the finalized one at `place` has its own."""
    low, high = sorted((place.block_height, place.block_height + slot - place.slot))
    return low - SLACK_BLOCKS <= height <= high + SLACK_BLOCKS
