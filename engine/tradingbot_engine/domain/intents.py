"""An approved order, its signed attempts, and what the chain made of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tradingbot_engine.domain.signals import Priority, Purpose, Side
from tradingbot_engine.domain.units import (
    BaseUnits,
    BlockHeight,
    Bps,
    Epoch,
    IntentId,
    Lamports,
    Mint,
    QuoteUnits,
    Signature,
    Slot,
    UnixMs,
)


class IntentState(StrEnum):
    """Where an intent stands; `core.intents.TABLE` says how it moves."""

    INTENT = "INTENT"
    SIGNED = "SIGNED"
    SUBMITTED = "SUBMITTED"
    CONFIRMED = "CONFIRMED"
    EXPIRED = "EXPIRED"
    DONE = "DONE"
    FAILED = "FAILED"
    ABANDONED = "ABANDONED"


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """
    A signal that passed risk; only `core.risk` makes one, and only a claimed one can be sent.

    `amount_in` is what is spent: quote base units for a BUY, token base units for a SELL. `reserve_quote` and
    `reserve_lamports` (fees and rent) are held back from claim to the terminal state.
    """

    id: IntentId
    strategy: str
    mint: Mint
    side: Side
    purpose: Purpose
    priority: Priority
    position_id: IntentId
    """The position that it opens (its own id) or closes."""
    amount_in: int
    reserve_quote: QuoteUnits
    reserve_lamports: Lamports
    max_slippage_bps: Bps
    max_priority_fee_lamports: Lamports
    signal_at_ms: UnixMs
    """Event time of the signal."""
    created_at_ms: UnixMs
    """Wall time of the decision; an entry older than 30 s is not attempted again."""
    price: float
    reason: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction of an intent, as it is journalled before any byte of it leaves."""

    intent_id: IntentId
    n: int
    """1 for the first attempt."""
    signature: Signature
    wire: bytes
    blockhash: str
    blockhash_slot: Slot
    last_valid_block_height: BlockHeight
    """L: the transaction can land while the parent's block height is at most L."""
    epoch: Epoch
    signed_at_ms: UnixMs
    quoted_out: int
    """What the quote promised, in units of the output token; for slippage figures only, never for a fill."""


@dataclass(frozen=True, slots=True)
class IntentRecord:
    """An intent as the ledger holds it; `attempt` is the number of the newest attempt, 0 before the first."""

    intent: OrderIntent
    shard: int
    epoch: Epoch
    state: IntentState
    attempt: int
    attempts: tuple[Attempt, ...] = ()
    confirmed_slot: Slot | None = None
    reason: str = ""
    """Why it was abandoned, or how it failed."""
    updated_at_ms: UnixMs = 0

    @property
    def current(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None


@dataclass(frozen=True, slots=True)
class Fill:
    """
    What the chain says a transaction did to the wallet, from `getTransaction`; exact, to the lamport.

    For the wallet: lamport_delta = swap's lamports - base fee - priority fee - tip - rent locked (+ rent freed).
    `base_delta` is the change of the token in base units, `quote_delta` that of the quote currency by the swap alone.
    """

    intent_id: IntentId
    attempt: int
    signature: Signature
    slot: Slot
    block_time_ms: UnixMs
    side: Side
    base_delta: BaseUnits
    quote_delta: QuoteUnits
    lamport_delta: Lamports
    base_fee_lamports: Lamports
    priority_fee_lamports: Lamports
    tip_lamports: Lamports
    rent_lamports: Lamports
    finalized: bool
    paper: bool = False
