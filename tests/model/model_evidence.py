"""
What an adversarial world may answer, as the very objects that rule E is given in production.

The tasks of the model gather evidence of every kind, good and bad: processed heights, statuses read too early, nodes that lag,
sit on a dead fork, have forgotten, have holes, or serve another chain. Nothing here decides what counts: the engine's
`read_status` and `prove_expiry` do.
"""

from __future__ import annotations

from itertools import product

from tradingbot_engine.core import proof
from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.core.proof import (
    Anchor,
    BlockList,
    Case,
    Commitment,
    ExpiryEvidence,
    HeightReading,
    NodeRange,
    SignatureStatus,
    StatusAnswer,
)
from tradingbot_engine.domain.intents import IntentState
from tradingbot_engine.domain.units import VALID_BLOCKS

GENESIS = "ours"
LAST_VALID = 1_000
"""L of the attempt under test: every height below is this plus the model's distance."""
SLOT_OF_HEIGHT_0 = 50_000
BLOCKHASH_SLOT = SLOT_OF_HEIGHT_0 + LAST_VALID - VALID_BLOCKS
LATE_SLOT = BLOCKHASH_SLOT + proof.STATUS_CACHE_SLOTS + 100
CONFIRMED_SLOT = SLOT_OF_HEIGHT_0 + LAST_VALID

LONG_AGO = 0
"""
The height that every node shows for the blockhash's block where L is no lie: that check must not stand in for others.

Where L was told too low, they show the true one.
"""

Reading = tuple[Commitment, int]
"""Commitment and block height minus L, at most 2."""

NULLS = ("tip", "old", "ghost", "forgot", "short", "hole", "lost", "foreign")
"""
Nodes that show nothing for the signature: at the tip of the living chain (true at that moment), lagging behind the block
that holds it, on a dead fork, beyond its memory, started later than the blockhash, with a hole in its history (any number of
nodes may share it), with every block and the signature missing from its index, of another chain.
"""


def _slot(distance: int) -> int:
    return SLOT_OF_HEIGHT_0 + LAST_VALID + distance


_NO_WITNESS = (None, None)
_LOW = (SignatureStatus(_slot(0), "finalized", False), LAST_VALID)
_UNFINAL = (SignatureStatus(_slot(1), "confirmed", False), LAST_VALID + 1)
_PAST = (SignatureStatus(_slot(1), "finalized", False), LAST_VALID + 1)


class RuleE:
    """The engine's rule E over abstract evidence; answers are remembered, so make a new one after patching a rule."""

    def __init__(self, *, told_too_low: int = 0) -> None:
        """`told_too_low`: how far below the true one the L is that a node gave with the blockhash."""
        self._told = LAST_VALID - told_too_low
        self._blockhash_height = LAST_VALID - VALID_BLOCKS if told_too_low else LONG_AGO
        self._proofs: dict[tuple[Reading, str, bool, bool, bool], bool] = {}
        self._events: dict[tuple[str, str], IntentEvent | None] = {}

    def proves(self, reading: Reading, kind: str, *, past_final: bool, past_tip: bool, after: bool) -> bool:
        """
        Tell whether any evidence of this kind proves expiry.

        Args:
            reading: The height that was read.
            kind: Which node answered: one of `NULLS`, or "shown" for an answer that does show the signature.
            past_final, past_tip: Whether, when the status was asked, the finalized (the newest) block was above L.
            after: Whether the status was asked after the height had been read.
        """
        key = (reading, kind, past_final, past_tip, after)
        known = self._proofs.get(key)
        if known is None:
            known = self._proofs[key] = self._prove(*key)
        return known

    def _prove(self, reading: Reading, kind: str, past_final: bool, past_tip: bool, after: bool) -> bool:
        commitment, distance = reading
        height = HeightReading(_slot(distance), LAST_VALID + distance, 1 if after else 2, commitment)
        witnesses = _witnesses(kind, past_final=past_final, past_tip=past_tip)
        for witness, (context, history), providers in product(witnesses, _contexts(kind, height), _providers(kind)):
            needed = proof.providers_needed(
                blockhash_slot=BLOCKHASH_SLOT, context_slot=context, amount_lamports=1, above_lamports=10, providers=2
            )
            case = Case(BLOCKHASH_SLOT, self._told, GENESIS, needed)
            shown = SignatureStatus(_slot(0), "finalized", False) if kind == "shown" else None
            pieces = [
                ExpiryEvidence(
                    height,
                    StatusAnswer(context, shown, *witness, 2 if after else 1, provider, history),
                    NodeRange(
                        provider,
                        BLOCKHASH_SLOT + 1 if kind == "short" else 0,
                        "theirs" if kind == "foreign" else GENESIS,
                    ),
                    Anchor(provider, BLOCKHASH_SLOT, self._blockhash_height, ""),
                    None,
                    _blocks(kind, provider, height),
                )
                for provider in providers
            ]
            if proof.prove_expiry(case, pieces) is IntentEvent.EXPIRE:
                return True
        return False

    def gives_up(self) -> bool:
        """Tell whether rule E calls an attempt expired without any evidence (a timeout)."""
        case = Case(BLOCKHASH_SLOT, LAST_VALID, GENESIS, 1)
        return proof.prove_expiry(case, ()) is IntentEvent.EXPIRE

    def useful_height(self, reading: Reading) -> bool:
        """Tell whether this height could be part of a proof at all: the best answer follows."""
        return any(self.proves(reading, kind, past_final=True, past_tip=True, after=True) for kind in (*NULLS, "shown"))

    def useful_null(self, kind: str, *, past_final: bool, past_tip: bool) -> bool:
        """Tell whether a status that was read before any height could be part of a proof at all."""
        return any(
            self.proves((commitment, 2), kind, past_final=past_final, past_tip=past_tip, after=False)
            for commitment in ("finalized", "processed")
        )

    def establishes(self, state: IntentState, answer: str) -> IntentEvent | None:
        """Return what the engine reads from one answer: a name in `NULLS`, or "<commitment> ok" / "<commitment> error"."""
        key = (state, answer)
        if key not in self._events:
            self._events[key] = proof.read_status(state, _case_of(state), _answer(answer))
        return self._events[key]


def _witnesses(kind: str, *, past_final: bool, past_tip: bool) -> list[tuple[SignatureStatus | None, int | None]]:
    """A finalized block above L is on no dead fork, and in no bank from before the transaction's block."""
    out: list[tuple[SignatureStatus | None, int | None]] = [_NO_WITNESS, _LOW]
    if kind in ("ghost", "foreign") or (kind != "old" and past_tip):
        out.append(_UNFINAL)
    if kind == "foreign" or (kind not in ("old", "ghost") and past_final):
        out.append(_PAST)
    return out


def _contexts(kind: str, height: HeightReading) -> list[tuple[int, bool]]:
    """Return (context slot, history searched?) that a node of this kind may answer with."""
    inside = height.slot + 1
    match kind:
        case "tip" | "shown" | "foreign":
            return [(inside, False), (inside, True), (LATE_SLOT, True)]
        case "old":
            return [(_slot(0), False), (_slot(0), True)]
        case "ghost":
            return [(inside, False), (height.slot - 1, False), (inside, True), (LATE_SLOT, True)]
        case "forgot":
            return [(LATE_SLOT, False)]
        case _:
            return [(LATE_SLOT, True)]


def _blocks(kind: str, provider: str, height: HeightReading) -> BlockList:
    """The blocks that a node lists from the blockhash's on; one with a hole lacks at least the one with the signature."""
    first = LAST_VALID - VALID_BLOCKS
    count = height.block_height - first + 1 - (kind == "hole")
    return BlockList(provider, count, BLOCKHASH_SLOT, first, BLOCKHASH_SLOT - 1)


def _providers(kind: str) -> list[tuple[str, ...]]:
    """One provider may have a broken index (asked twice, it has it twice); two independent ones have not lost the same."""
    return [("a",), ("a", "a")] if kind == "lost" else [("a",), ("a", "b")]


def _case_of(state: IntentState) -> Case:
    confirmed = CONFIRMED_SLOT if state is IntentState.CONFIRMED else None
    return Case(BLOCKHASH_SLOT, LAST_VALID, GENESIS, 1, confirmed)


def _answer(answer: str) -> StatusAnswer:
    commitment, _, outcome = answer.partition(" ")
    context = CONFIRMED_SLOT - 1 if answer == "old" else LATE_SLOT if answer == "forgot" else CONFIRMED_SLOT + 1
    status = SignatureStatus(CONFIRMED_SLOT, commitment, outcome == "error") if outcome else None  # type: ignore[arg-type]
    return StatusAnswer(context, status, None, None, 1, "a", answer in ("short", "hole", "lost"))
