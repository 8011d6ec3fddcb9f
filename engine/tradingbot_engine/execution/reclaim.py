"""
The rent of guard accounts comes back: several accounts in one transaction, once nothing of their intents can land any more.

Emptying an account takes the guard away. So only intents that are over are touched, and only when the finalized chain has
passed the last valid height of every one of their attempts: by then no signed bytes of theirs can land, guard or none.

A reclaim is journalled before it is sent and followed to its end, one at a time. That is for the books, not for safety: a
second one of the same accounts finds them empty and fails as a whole, for a fee.

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import TransferWithSeedParams, transfer_with_seed

from tradingbot_engine.clock import Clock
from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.core.proof import Case, prove_expiry
from tradingbot_engine.domain.units import BlockHeight, IntentId, Lamports, Slot
from tradingbot_engine.execution.build import assemble
from tradingbot_engine.execution.evidence import EvidenceGatherer
from tradingbot_engine.execution.guards import wire_carries_guard
from tradingbot_engine.execution.programs import SYSTEM, guard_account
from tradingbot_engine.execution.signer import Signer
from tradingbot_engine.execution.wallet_change import FillUnbalanced, read_change
from tradingbot_engine.ledger.port import GuardDue, GuardRent, Ledger, Ownership, Reclaim, ReclaimEnd
from tradingbot_engine.rpc.errors import RpcError, RpcUnavailable
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool

_log = structlog.get_logger(__name__)

BATCH = 7
"""Guards of one reclaim: as many as surely fit into a packet."""
PATIENCE_MS = 600_000
"""Fewer than a batch wait so long for company; the fee is that of one transaction either way."""
LOOKED_AT = 64
DAY_MS = 86_400_000
UNITS_PER_GUARD = 500
"""Compute units of one transfer by the System program (150), and some more."""


def reclaim_message(accounts: Sequence[tuple[IntentId, Lamports]], *, wallet: Pubkey, blockhash: str) -> bytes:
    """Return the message that moves the guards' lamports, all of them, to the wallet; an account of 0 lamports is gone."""
    moves: list[Instruction] = [
        transfer_with_seed(
            TransferWithSeedParams(
                from_pubkey=guard_account(wallet, intent_id),
                from_base=wallet,
                from_seed=intent_id,
                from_owner=SYSTEM,
                to_pubkey=wallet,
                lamports=lamports,
            )
        )
        for intent_id, lamports in accounts
    ]
    budget = set_compute_unit_limit(UNITS_PER_GUARD * (len(moves) + 1))
    return to_bytes_versioned(MessageV0.try_compile(wallet, [budget, *moves], [], Hash.from_string(blockhash)))


class Reclaimer:
    """Fetches the rent of one wallet's guards. Keeps only how far it has looked: journal and chain say where it stands."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        rpc: RpcPool,
        signer: Signer,
        genesis_hash: str,
        clock: Clock,
        ownerships: Callable[[], Sequence[Ownership]],
        hold: Callable[[], bool],
        fee_budget_lamports: Lamports,
        told: Callable[[GuardRent, bool], None],
        patience_ms: int = PATIENCE_MS,
    ) -> None:
        """
        Besides its collaborators:

        Args:
            genesis_hash: Of the chain that is traded on.
            ownerships: The shards that are held now.
            hold: Whether new signatures must wait (the ledger may be an older copy, or the engine drains).
            fee_budget_lamports: What reclaims that fail may cost per UTC day before no new one is signed on it.
            told: Told at each step where the rent stands, and whether the day's budget is used up.
            patience_ms: How long fewer guards than a batch wait for more.
        """
        self._ledger, self._rpc, self._signer, self._clock = ledger, Rpc(rpc), signer, clock
        self._genesis_hash, self._ownerships, self._hold = genesis_hash, ownerships, hold
        self._fee_budget_lamports, self._told, self._patience_ms = fee_budget_lamports, told, patience_ms
        self._wallet = Pubkey.from_string(signer.address)
        self._evidence = EvidenceGatherer(self._rpc)
        self._since: dict[int, Slot] = {}

    async def step(self) -> None:
        """
        Follow the reclaim that is under way, or begin one if enough is due.

        Raises:
            TemporaryError: A node or the ledger is away; the next step goes on.
            Fenced: Another process holds the shard.
        """
        owned = self._ownerships()
        if not owned:
            return
        under_way = await self._ledger.open_reclaims()
        for reclaim in under_way:
            await self._follow(reclaim, owned[0])
        if await self._used_up() or under_way or self._hold():
            return
        for ownership in owned:
            if await self._begin(ownership):
                return

    async def _used_up(self) -> bool:
        """Say where the rent stands; return whether failed reclaims have cost what they may cost today."""
        now_ms = self._clock.now_ms()
        since = min((self._since.get(o.shard, 0) for o in self._ownerships()), default=0)
        rent = await self._ledger.guard_rent(since=since, since_ms=now_ms - now_ms % DAY_MS)
        used_up = 0 < rent.failed_fee_lamports >= self._fee_budget_lamports
        self._told(rent, used_up)
        return used_up

    async def _begin(self, ownership: Ownership) -> bool:
        """Sign, journal and send a reclaim of what is due in one shard; False if too little is."""
        height = await self._passed_height()
        due, self._since[ownership.shard] = await self._ledger.guards_due(
            ownership=ownership, height=height, since=self._since.get(ownership.shard, 0), limit=LOOKED_AT
        )
        here, none = await self._existing(due)
        if none:
            await self._ledger.guards_gone(none, ownership=ownership)
        ended = {one.intent_id: one.ended_at_ms for one in due}
        patient = all(self._clock.now_ms() - ended[intent_id] < self._patience_ms for intent_id, _ in here)
        if not here or (len(here) < BATCH and patient):
            return False
        batch = here[:BATCH]
        recent = (await self._rpc.get_latest_blockhash("confirmed")).result
        message = reclaim_message(batch, wallet=self._wallet, blockhash=recent.blockhash)
        signature = await self._signer.sign(message, intent_id="", attempt=0, epoch=ownership.epoch)
        reclaim = Reclaim(
            signature=str(signature),
            wire=assemble(message, signature),
            blockhash_slot=recent.context_slot,
            last_valid_block_height=recent.last_valid_block_height,
            intents=tuple(intent_id for intent_id, _ in batch),
            signed_at_ms=self._clock.now_ms(),
        )
        if self._hold():
            return False
        await self._ledger.reclaim(reclaim, ownership=ownership)
        _log.info("reclaiming the rent of guards", guards=len(batch), signature=reclaim.signature)
        await self._send(reclaim)
        return True

    async def _passed_height(self) -> BlockHeight:
        """Return the least finalized height that any node states: one that is ahead of the truth must not count."""
        heights = []
        for name in self._names():
            try:
                heights.append((await self._rpc.pinned(name).get_epoch_info("finalized")).result.block_height)
            except RpcError as error:
                _log.debug("height not read", provider=name, error=str(error))
        if not heights:
            raise RpcUnavailable("no node states its height")
        return min(heights)

    async def _existing(self, due: Sequence[GuardDue]) -> tuple[list[tuple[IntentId, Lamports]], list[IntentId]]:
        """Return the guards that are there with what they hold, and the intents that have none."""
        none = [one.intent_id for one in due if not wire_carries_guard(one.wire, one.intent_id)]
        made = [one.intent_id for one in due if one.intent_id not in none]
        if not made:
            return [], none
        # In a finalized bank that is younger than what made them, those that are not there have been emptied.
        held = await self._held(made, at_slot=max(one.slot for one in due))
        here = [(intent_id, lamports) for intent_id, lamports in zip(made, held, strict=True) if lamports]
        return here, [*none, *(intent_id for intent_id, lamports in zip(made, held, strict=True) if not lamports)]

    async def _held(self, intents: Sequence[IntentId], *, at_slot: Slot) -> list[Lamports]:
        """Return what the guards hold in one finalized bank at `at_slot` or later; 0 for one that is not there."""
        addresses = [str(guard_account(self._wallet, intent_id)) for intent_id in intents]
        answer = await self._rpc.get_multiple_accounts(addresses, "finalized", min_context_slot=at_slot)
        return [0 if account is None else account.lamports for account in answer.result]

    async def _follow(self, reclaim: Reclaim, ownership: Ownership) -> None:
        """Book its end if it has one, else hand the same bytes over again."""
        case = Case(reclaim.blockhash_slot, reclaim.last_valid_block_height, self._genesis_hash, providers_needed=1)
        silent: set[str] = set()
        for name in self._names():
            try:
                answer = await self._evidence.status(reclaim.signature, provider=name)
                if answer.status is not None:
                    if answer.status.commitment == "finalized" and (end := await self._end(reclaim, name)):
                        await self._ledger.reclaim_ended(reclaim.signature, end, ownership=ownership)
                        if end.failed:
                            self._since.clear()
                        _log.info("reclaim has ended", signature=reclaim.signature, lamports=end.lamport_delta)
                        return
                    continue
                piece = await self._evidence.expiry(
                    reclaim.signature, case, provider=name, context_slot=answer.context_slot
                )
                if piece is None or prove_expiry(case, [piece]) is not IntentEvent.EXPIRE:
                    continue
                silent.add(piece.answer.provider)
                voices = {self._rpc.pool.independent(n) for n in self._names()}
                # All or nothing: while one guard is full it has not landed, whatever a node's history may have lost.
                # If all are empty another one may have fetched them; then two nodes must know nothing of this one.
                full = any(await self._held(reclaim.intents, at_slot=piece.height.slot))
                if full or len(silent) >= min(2, len(voices)):
                    await self._ledger.reclaim_ended(reclaim.signature, None, ownership=ownership)
                    self._since.clear()  # its guards are due again
                    return
            except (RpcError, FillUnbalanced) as error:
                _log.debug("reclaim not looked up", provider=name, error=str(error))
        await self._send(reclaim)

    async def _end(self, reclaim: Reclaim, provider: str) -> ReclaimEnd | None:
        """Return what it did to the wallet, from `getTransaction` at finalized; None while the node does not show it."""
        shown = (await self._rpc.pinned(provider).get_transaction(reclaim.signature, "finalized")).result
        if shown is None or shown.get("meta") is None or shown["transaction"]["signatures"][0] != reclaim.signature:
            return None
        change = read_change(shown, wallet=self._signer.address)
        return ReclaimEnd(change.slot, change.lamports, change.base_fee + change.priority_fee, change.failed)

    async def _send(self, reclaim: Reclaim) -> None:
        try:
            await self._rpc.send_transaction(reclaim.wire, skip_preflight=False, preflight_commitment="confirmed")
        except RpcError as error:  # whatever it says, only the chain says how it ended
            _log.debug("reclaim not taken", signature=reclaim.signature, error=str(error))

    def _names(self) -> list[str]:
        return list(self._rpc.pool.names)
