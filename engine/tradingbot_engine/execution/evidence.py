"""
Gather what rule E needs, from one provider at a time, in the order that makes it a proof.

Height first, then a witness from the finalized chain, then one status answer about both, then the guard account if the
attempt makes one, then how far the node's memory reaches, of an old attempt which blocks it has in between, and the block
that the blockhash is of. Any error
on the way is no evidence: *unknown*, never *expired*. Whether it proves anything is for `core.proof` to say.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from tradingbot_engine.core.proof import (
    STATUS_CACHE_SLOTS,
    Anchor,
    BlockList,
    Case,
    ExpiryEvidence,
    GuardReading,
    HeightReading,
    NodeRange,
    StatusAnswer,
)
from tradingbot_engine.domain.units import Address, BlockHeight, Signature, Slot
from tradingbot_engine.rpc.errors import DataMissing, SlotSkipped
from tradingbot_engine.rpc.methods import Rpc

MAX_WITNESS_BLOCKS = 64
"""How many blocks are looked into for a witness at one time: on a quiet chain most have no signature."""
ANCHOR_SLOTS = 200
"""How far after the blockhash's slot the next finalized block is looked for; it is long final when an attempt expires."""
SLOTS_PER_LIST = 100_000
"""How many slots one getBlocks asks for: about 1 MB of answer; nodes allow 500,000."""
WITNESS_SLOTS = 200
"""A witness older than this is not used again: the bank that answers must still hold its status (300 slots)."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A signature of a finalized block, with the block's place."""

    signature: Signature
    slot: Slot
    block_height: BlockHeight


@dataclass(slots=True)
class _Scan:
    """How far one provider's finalized blocks were looked through, and the youngest witness found there."""

    slot: Slot = -1
    witness: Witness | None = None


class EvidenceGatherer:
    """
    Asks nodes about attempts. Raises `RpcError`.

    Holds nothing about any attempt: only the sequence of its readings and, by provider, the youngest witness, since the
    same one serves every attempt whose L is below it.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._order = itertools.count(1)
        self._scans: dict[str, _Scan] = {}

    async def status(self, signature: Signature, *, provider: str, history: bool = True) -> StatusAnswer:
        """Ask `provider` for the attempt's status: a positive answer may come from anywhere, history included."""
        return await self._ask(self._rpc.pinned(provider), signature, None, history=history)

    async def expiry(
        self, signature: Signature, case: Case, *, provider: str, context_slot: Slot, guard: Address | None = None
    ) -> ExpiryEvidence | None:
        """
        Gather one provider's evidence; None if its finalized height is not past L, or it shows no witness.

        `context_slot` is where the provider's bank stood when last asked: it decides whether the bank or history is asked.
        `guard` is the account that the attempt makes, if any.
        """
        rpc = self._rpc.pinned(provider)
        height = await self._height(rpc)
        if height.block_height <= case.last_valid_block_height:
            return None
        witness = await self._witness(rpc, height, case.last_valid_block_height)
        if witness is None:
            return None
        history = context_slot - case.blockhash_slot > STATUS_CACHE_SLOTS
        answer = await self._ask(rpc, signature, witness, history=history)
        if history != (answer.context_slot - case.blockhash_slot > STATUS_CACHE_SLOTS):
            answer = await self._ask(rpc, signature, witness, history=not history)  # the window closed meanwhile
        guarded = None if guard is None else await self._guard(rpc, guard, height.slot)
        # Two names for one provider are one voice, however often it is configured.
        voice = self._rpc.pool.independent(provider)
        node = NodeRange(voice, await rpc.get_first_available_block(), await rpc.get_genesis_hash())
        blocks = await list_blocks(rpc, voice, case.blockhash_slot, height.slot) if answer.history else None
        anchor = await self._anchor(rpc, voice, case.blockhash_slot, height.slot)
        answer = replace(answer, provider=voice)
        return ExpiryEvidence(height=height, answer=answer, node=node, anchor=anchor, guard=guarded, blocks=blocks)

    async def _height(self, rpc: Rpc) -> HeightReading:
        info = (await rpc.get_epoch_info("finalized")).result
        return HeightReading(info.slot, info.block_height, next(self._order))

    async def _witness(self, rpc: Rpc, height: HeightReading, above: BlockHeight) -> Witness | None:
        scan = self._scans.setdefault(rpc.provider or "", _Scan())
        if scan.slot > height.slot:
            scan.slot, scan.witness = -1, None  # the node went back: a reset chain, or another node behind the name
        for slot in range(height.slot, max(scan.slot, height.slot - MAX_WITNESS_BLOCKS), -1):
            try:
                block = (await rpc.get_block_signatures(slot)).result
            except (SlotSkipped, DataMissing):
                continue
            if block is not None and block.block_height is not None and block.signatures:
                scan.witness = Witness(block.signatures[0], slot, block.block_height)
                break
        scan.slot = height.slot
        known = scan.witness
        if known is None or known.block_height <= above or known.slot < height.slot - WITNESS_SLOTS:
            return None
        return known

    async def _anchor(self, rpc: Rpc, voice: str, slot: Slot, last: Slot) -> Anchor | None:
        """Return the finalized block at `slot` or the next one; None if the node shows none near."""
        for candidate in (slot, None):
            if candidate is None:
                candidate = min(await rpc.get_blocks(slot, min(slot + ANCHOR_SLOTS, last)), default=None)
                if candidate is None:
                    return None
            try:
                block = (await rpc.get_block_signatures(candidate)).result
            except (SlotSkipped, DataMissing):
                continue
            if block is not None and block.block_height is not None:
                return Anchor(voice, block.slot, block.block_height, block.blockhash)
        return None

    async def _guard(self, rpc: Rpc, guard: Address, slot: Slot) -> GuardReading:
        order = next(self._order)
        answer = await rpc.get_account(guard, "finalized", min_context_slot=slot)
        assert answer.context_slot is not None  # the decoder insists on a context
        exists = answer.result is not None and answer.result.lamports > 0
        return GuardReading(exists, answer.context_slot, slot, order)

    async def _ask(self, rpc: Rpc, signature: Signature, witness: Witness | None, *, history: bool) -> StatusAnswer:
        order = next(self._order)  # taken before asking: what was asked earlier proves less, never more
        asked = [signature] if witness is None else [signature, witness.signature]
        answer = await rpc.get_signature_statuses(asked, search_history=history)
        assert answer.context_slot is not None  # the decoder insists on a context
        return StatusAnswer(
            context_slot=answer.context_slot,
            status=answer.result[0],
            witness=None if witness is None else answer.result[1],
            witness_height=None if witness is None else witness.block_height,
            order=order,
            provider=answer.provider,
            history=history,
        )


async def list_blocks(rpc: Rpc, voice: str, first: Slot, last: Slot) -> BlockList | None:
    """Return how many finalized blocks a node lists in [first, last], and the oldest; None if it shows none."""
    count, oldest = 0, None
    for start in range(first, last + 1, SLOTS_PER_LIST):
        end = min(start + SLOTS_PER_LIST - 1, last)
        listed = {slot for slot in await rpc.get_blocks(start, end) if start <= slot <= end}
        count += len(listed)
        oldest = min(listed, default=None) if oldest is None else oldest
    if oldest is None:
        return None
    block = (await rpc.get_block_signatures(oldest)).result
    if block is None or block.block_height is None or block.parent_slot is None:
        return None
    return BlockList(voice, count, oldest, block.block_height, block.parent_slot)
