"""
Rule E: when may the chain's silence be believed?

Pure: evidence in, an event of the state table out. A missing status is no proof of expiry; only all of the checks below
together are. Any doubt leaves the intent where it is.

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.domain.intents import IntentState
from tradingbot_engine.domain.units import VALID_BLOCKS, BlockHeight, Slot

STATUS_CACHE_SLOTS = 300
"""How long nodes answer for a signature from their bank, without searching history."""

Commitment: TypeAlias = Literal["processed", "confirmed", "finalized"]


@dataclass(frozen=True, slots=True)
class SignatureStatus:
    """One entry of `getSignatureStatuses`; `failed` tells that the transaction landed with an error."""

    slot: Slot
    commitment: Commitment
    failed: bool
    error: str = ""
    """The transaction's error as the node words it (JSON), for people and counters; empty if it succeeded."""


@dataclass(frozen=True, slots=True)
class HeightReading:
    """Answer of `getEpochInfo` at `commitment`; `order` is its place in the sequence of this process's readings."""

    slot: Slot
    block_height: BlockHeight
    order: int
    commitment: Commitment = "finalized"


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """
    One answer of `getSignatureStatuses([ours, witness])`.

    `witness` is the status of a signature from a finalized block of height `witness_height`, shown by the same answer;
    `order` is its place in the sequence of readings (asked after the height reading has returned, if greater);
    `provider` names who answered, `history` tells whether the node was asked to search beyond its status cache.
    """

    context_slot: Slot
    status: SignatureStatus | None
    witness: SignatureStatus | None
    witness_height: BlockHeight | None
    order: int
    provider: str
    history: bool


@dataclass(frozen=True, slots=True)
class NodeRange:
    """What the answering provider holds: its first available block, and the genesis hash that it serves."""

    provider: str
    first_available_block: Slot
    genesis_hash: str


@dataclass(frozen=True, slots=True)
class BlockList:
    """
    The finalized blocks that the answering provider lists, from the blockhash's slot up to the slot of the height reading.

    `count` is how many they are; the other three are the oldest one's slot, height and parent's slot.
    """

    provider: str
    count: int
    first_slot: Slot
    first_height: BlockHeight
    first_parent: Slot


@dataclass(frozen=True, slots=True)
class Anchor:
    """The finalized block at the blockhash's slot as the answering provider shows it, or the first one after it."""

    provider: str
    slot: Slot
    block_height: BlockHeight
    blockhash: str


@dataclass(frozen=True, slots=True)
class GuardReading:
    """
    Answer about the intent's guard account: whether it is there in the bank of `commitment` at `context_slot`.

    `min_context_slot` is what the question asked for, `order` as in `StatusAnswer`.
    """

    exists: bool
    context_slot: Slot
    min_context_slot: Slot
    order: int
    commitment: Commitment = "finalized"


@dataclass(frozen=True, slots=True)
class Case:
    """The attempt that the evidence is about, and how strict the proof must be."""

    blockhash_slot: Slot
    last_valid_block_height: BlockHeight
    genesis_hash: str
    providers_needed: int
    """Independent providers that must agree: 1 normally, more for old attempts and large amounts (see `providers_needed`)."""
    confirmed_slot: Slot | None = None
    blockhash: str = ""
    """Which the attempt is signed with."""
    guarded: bool = False
    """The attempt makes the intent's guard account: its absence must be shown, and then stands for further providers."""


@dataclass(frozen=True, slots=True)
class ExpiryEvidence:
    """
    Everything that one provider said, in order: height first, then status with witness, guard, then its range.

    `blocks` only where history was asked: in a young attempt's case the bank answers.
    """

    height: HeightReading
    answer: StatusAnswer
    node: NodeRange
    anchor: Anchor | None = None
    guard: GuardReading | None = None
    blocks: BlockList | None = None


@dataclass(frozen=True, slots=True)
class Unproven:
    """The attempt may still land or have landed; `reason` says what is missing."""

    reason: str


def height_is_past(case: Case, e: ExpiryEvidence) -> bool:
    """Strictly: validators compare the parent's height, so the block at L + 1 may still hold the transaction."""
    return e.height.commitment == "finalized" and e.height.block_height > case.last_valid_block_height


def true_last_height(case: Case, anchor: Anchor) -> BlockHeight:
    """
    Return the greatest height whose child may still hold the attempt, as the chain itself tells.

    L is one node's word, given with the blockhash; were it too low, the attempt could still land. If the finalized block at
    the blockhash's slot has our blockhash, its height tells exactly; the next block, where the provider shows none at that
    slot, is higher. If it has another blockhash, a fork undid ours (and the attempt can be in no final block), or the node
    named a wrong slot: then as many blocks again must pass.
    """
    contradicts = anchor.slot == case.blockhash_slot and anchor.blockhash != case.blockhash
    return anchor.block_height + VALID_BLOCKS * (2 if contradicts else 1)


def validity_is_over(case: Case, e: ExpiryEvidence) -> bool:
    """The provider itself shows the block that the blockhash is of, or the next one, and what that allows is past."""
    a = e.anchor
    if a is None or a.provider != e.answer.provider or a.slot < case.blockhash_slot:
        return False
    return e.height.block_height > true_last_height(case, a)


def asked_after_height(case: Case, e: ExpiryEvidence) -> bool:
    """A status read before the height was known could have become true in between."""
    return e.answer.order > e.height.order


def answer_is_null(case: Case, e: ExpiryEvidence) -> bool:
    return e.answer.status is None


def witness_is_finalized(case: Case, e: ExpiryEvidence) -> bool:
    """
    Nodes answer from their processed bank, which may be on a dead fork; the witness shows that it is the finalized chain.

    It shows so much of it as is below the witness: a bank may have left the chain right above. So it must be higher than
    every block that may hold the attempt, and for that L is not enough. With an L that was told too low, a node which took
    another fork between L and the true height would show a witness above L and no attempt, while the attempt is final.
    (Without an anchor nothing is proven anyway, see `validity_is_over`.)
    """
    w, height = e.answer.witness, e.answer.witness_height
    return (
        w is not None
        and w.commitment == "finalized"
        and height is not None
        and height > case.last_valid_block_height
        and (e.anchor is None or height > true_last_height(case, e.anchor))
    )


def context_reaches_height(case: Case, e: ExpiryEvidence) -> bool:
    return e.answer.context_slot >= e.height.slot


def one_bank_answered(case: Case, e: ExpiryEvidence) -> bool:
    """Inside the window the negative answer must come from the bank itself; beyond it, only history can know."""
    inside = e.answer.context_slot - case.blockhash_slot <= STATUS_CACHE_SLOTS
    return e.answer.history != inside


def history_reaches_back(case: Case, e: ExpiryEvidence) -> bool:
    return e.node.provider == e.answer.provider and e.node.first_available_block <= case.blockhash_slot


def has_every_block(blocks: BlockList, *, since: Slot, last_height: BlockHeight) -> bool:
    """
    Tell whether a list of the blocks from slot `since` up to the one of `last_height` has no hole.

    Between the oldest block of the list and the height that was read, one block stands at every height; and what is before
    the oldest is older than `since`.
    """
    reaches_back = blocks.first_slot == since or blocks.first_parent < since
    return reaches_back and blocks.count == last_height - blocks.first_height + 1


def history_is_whole(case: Case, e: ExpiryEvidence) -> bool:
    """
    A node that started from a snapshot may lack blocks in the middle of what it says it has; then its list is too short.

    The heights are the chain's own: a fork that the blockhash was taken from may have counted otherwise. Of a guarded
    attempt the guard account tells, and no history.
    """
    if case.guarded or not e.answer.history:
        return True
    blocks = e.blocks
    return (
        blocks is not None
        and blocks.provider == e.answer.provider
        and has_every_block(blocks, since=case.blockhash_slot, last_height=e.height.block_height)
    )


def chain_is_ours(case: Case, e: ExpiryEvidence) -> bool:
    return e.node.genesis_hash == case.genesis_hash


def guard_is_absent(case: Case, e: ExpiryEvidence) -> bool:
    """
    An attempt that succeeded left the account behind, in every finalized bank from then on; holes in history hide no account.

    Only the finalized bank counts (a confirmed one may be of a fork), and only one that has reached the height's slot: a
    node that stays on a dead fork, or another one behind the same name, has not finalized that slot and must refuse.
    """
    if not case.guarded:
        return True
    g = e.guard
    return (
        g is not None
        and not g.exists
        and g.commitment == "finalized"
        and g.order > e.height.order
        and min(g.min_context_slot, g.context_slot) >= e.height.slot
    )


EXPIRY_CHECKS: tuple[tuple[str, Callable[[Case, ExpiryEvidence], bool]], ...] = (
    ("HeightNotPast", height_is_past),
    ("ValidityNotOver", validity_is_over),
    ("StatusKnown", answer_is_null),
    ("StatusReadBeforeHeight", asked_after_height),
    ("NoFinalizedWitness", witness_is_finalized),
    ("AnswerOlderThanHeight", context_reaches_height),
    ("WrongMemory", one_bank_answered),
    ("HistoryTooShort", history_reaches_back),
    ("HistoryHasHoles", history_is_whole),
    ("WrongGenesis", chain_is_ours),
    ("GuardNotAbsent", guard_is_absent),
)
"""In order; the first that fails names what is missing."""


def deserves_doubt(*, blockhash_slot: Slot, context_slot: Slot, amount_lamports: int, above_lamports: int) -> bool:
    """Tell whether only history can still know of the attempt, or much money moved: then every provider is asked."""
    return context_slot - blockhash_slot > STATUS_CACHE_SLOTS or amount_lamports > above_lamports


def providers_needed(
    *, blockhash_slot: Slot, context_slot: Slot, amount_lamports: int, above_lamports: int, providers: int
) -> int:
    """Return how many independent providers must agree: history can be incomplete in ways no list tells, and large sums deserve doubt."""
    doubted = deserves_doubt(
        blockhash_slot=blockhash_slot,
        context_slot=context_slot,
        amount_lamports=amount_lamports,
        above_lamports=above_lamports,
    )
    return providers if doubted else 1


def prove_expiry(case: Case, evidence: Sequence[ExpiryEvidence]) -> IntentEvent | Unproven:
    """
    Return EXPIRE if the evidence proves that the attempt can never land, else what is missing.

    Args:
        case: The attempt.
        evidence: At most one per provider is counted; every piece must pass every check, or nothing is proven.

    Of a guarded attempt one provider is enough, however old it is or however much it moves: what further providers are
    asked for is a success that this one's history has lost, and the guard account is no history. (A landing that *failed*
    leaves no account: lost with its history, its fee would be unknown, but nothing was traded.)
    """
    if not evidence:
        return Unproven("NoEvidence")
    for piece in evidence:
        for reason, holds in EXPIRY_CHECKS:
            if not holds(case, piece):
                return Unproven(reason)
    if not case.guarded and len({piece.answer.provider for piece in evidence}) < case.providers_needed:
        return Unproven("TooFewProviders")
    return IntentEvent.EXPIRE


def read_status(state: IntentState, case: Case, answer: StatusAnswer) -> IntentEvent | None:
    """
    Return what a status answer establishes on its own; None if nothing new.

    A null is never expiry here. It is a fork only for a confirmed attempt, and only if the answering bank has passed the
    slot at which it was confirmed (an answer from further back has simply not seen it yet).
    """
    status = answer.status
    if status is None:
        if state is not IntentState.CONFIRMED or case.confirmed_slot is None:
            return None
        remembers = answer.history or answer.context_slot - case.confirmed_slot < STATUS_CACHE_SLOTS
        return IntentEvent.FORK if remembers and answer.context_slot >= case.confirmed_slot else None
    if status.commitment == "finalized":
        return IntentEvent.FAIL if status.failed else IntentEvent.FINALIZE
    if status.commitment == "confirmed" and not status.failed and state is not IntentState.CONFIRMED:
        return IntentEvent.CONFIRM
    return None  # a confirmed error waits for finality: a fork could still turn it into success
