"""What a ledger is asked with and what it answers: plain values, the same for every database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.domain.intents import Attempt, Fill, IntentRecord, IntentState
from tradingbot_engine.domain.money import Currency
from tradingbot_engine.domain.units import (
    Address,
    BaseUnits,
    BlockHeight,
    Epoch,
    IntentId,
    Lamports,
    Mint,
    QuoteUnits,
    Slot,
    UnixMs,
)


@dataclass(frozen=True, slots=True)
class BotRecord:
    """The bot's own row: who it is, which chain and wallet it trades, and what it is allowed to do now."""

    bot_id: str
    """32 hexadecimal characters, made once."""
    name: str
    wallet: Address
    genesis_hash: str
    cluster_id: str
    """Where its processes run (a Kubernetes cluster's id, or a laptop's state directory); another one is refused until adopted."""
    quote_mint: Mint
    shards: int
    paper: bool
    generation: int = 0
    """Generation of the live settings (`paused`, risk numbers) that were applied last."""
    paused: bool = False
    latch: bool = False
    """Paused by hand; cleared only by resume."""
    settled_slot: Slot = 0
    """Finalized slot up to which the wallet's marked transactions are known to be in the ledger."""
    wallet_lamports: Lamports = 0
    """The wallet's balance as of `wallet_slot`, moved on by every fill since."""
    wallet_quote: QuoteUnits = 0
    """The same for the quote currency; equals `wallet_lamports` when that is SOL."""
    wallet_slot: Slot = 0
    closing_since_ms: UnixMs = 0
    """Wall time at which it was told to sell everything and open nothing any more; 0: it was not."""
    closing_by: str = ""
    """Who told it, in the words that came with it."""


@dataclass(frozen=True, slots=True)
class ShardRow:
    """One row of the `shards` table; holder "" means free."""

    shard: int
    holder: str
    epoch: Epoch
    since_ms: UnixMs


@dataclass(frozen=True, slots=True)
class Ownership:
    """Proof that this process incarnation took `shard` and was issued `epoch`; carried by every task that writes."""

    shard: int
    holder: str
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class ClaimLimits:
    """
    Limits that hold for the whole bot, checked inside the claiming transaction.

    Amounts in quote base units unless named lamports; ages in milliseconds of wall time.
    """

    quote: Currency
    """What the bot trades in, for the words of a refusal."""
    now_ms: UnixMs
    today: str
    """UTC date (ISO), for the daily budget of failed fees."""
    max_strategy_quote: QuoteUnits
    """What one strategy may hold in open positions and reserves together, this intent included."""
    max_open_intents: int
    fee_reserve_lamports: Lamports
    """What an entry must leave in the wallet so that exits can always pay."""
    failed_fee_budget_lamports: Lamports
    """What failed transactions may cost per UTC day before entries stop."""
    marks_max_age_ms: int
    strategy_max_drawdown_quote: QuoteUnits
    """A strategy whose realized result lies this far below its own peak opens nothing."""


class ClaimOutcome(StrEnum):
    """How a claim ended; only CLAIMED may be sent."""

    CLAIMED = "CLAIMED"
    KNOWN = "KNOWN"
    """The id is in the ledger already: this signal had its intent."""
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """`reason` (CamelCase) and `message` say why a claim was refused; `record` is the new or known intent."""

    outcome: ClaimOutcome
    record: IntentRecord | None = None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Holding:
    """
    What an exit has to know of its position before an attempt is signed.

    `entry_open`: a fork can still take the purchase back. `troubled`: an exit of it failed, was given up or sold only a part.
    `newest_slot`: where its newest fill is; a balance of the wallet from before that says nothing.
    """

    held: BaseUnits
    entry_open: bool
    troubled: bool
    newest_slot: Slot


@dataclass(frozen=True, slots=True)
class Shortage:
    """At finalized `slot` the wallet's token account held `left` base units: not worth selling, or nothing."""

    left: BaseUnits
    slot: Slot


@dataclass(frozen=True, slots=True)
class Move:
    """
    One step of one intent: from (`state`, `attempt`) by `event`.

    SIGN carries the new attempt (number `attempt` + 1). CONFIRM carries the provisional fill and its slot. FINALIZE and
    FAIL carry the final fill (FAIL: only the fee moved). EXPIRE, FORK, SEND and ABANDON carry a reason at most.
    """

    intent_id: IntentId
    state: IntentState
    attempt: int
    event: IntentEvent
    at_ms: UnixMs
    new_attempt: Attempt | None = None
    fill: Fill | None = None
    confirmed_slot: Slot | None = None
    reason: str = ""
    failed: Fill | None = None
    """
    Only with a FINALIZE whose fill is an earlier attempt's (an on-chain guard showed that it had succeeded after all): the
    fee that the current attempt paid for being refused, if it landed; without it, it never landed and is EXPIRED.
    """
    short: Shortage | None = None
    """
    Only with the ABANDON of an exit: the position's tokens are gone, and it is closed with the rest as a loss; unless its
    entry is not final, an attempt of the mint is alive, or a fill of the mint is newer than the reading.
    """


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A side effect that must happen at least once after its commit; consumers deduplicate by `key`."""

    id: int
    key: str
    kind: str
    payload: str
    """JSON."""
    at_ms: UnixMs


@dataclass(frozen=True, slots=True)
class FillRow:
    """A fill with what a person wants to see beside it, for status and the audit."""

    fill: Fill
    strategy: str
    mint: Mint
    quoted_out: int
    created_at_ms: UnixMs
    signed_at_ms: UnixMs
    purpose: str


@dataclass(frozen=True, slots=True)
class GuardDue:
    """A finished intent whose transaction may have left a guard account: the bytes that succeeded tell."""

    intent_id: IntentId
    wire: bytes
    slot: Slot
    ended_at_ms: UnixMs


@dataclass(frozen=True, slots=True)
class Reclaim:
    """A signed transaction that fetches the rent of the guards of `intents`; journalled before any byte of it leaves."""

    signature: str
    wire: bytes
    blockhash_slot: Slot
    last_valid_block_height: BlockHeight
    intents: tuple[IntentId, ...]
    signed_at_ms: UnixMs


@dataclass(frozen=True, slots=True)
class ReclaimEnd:
    """What a finalized reclaim did to the wallet: rent less fee, or the fee alone."""

    slot: Slot
    lamport_delta: Lamports
    fee_lamports: Lamports
    failed: bool


@dataclass(frozen=True, slots=True)
class GuardRent:
    """Where the rent of guard accounts stands: landed trades whose guard is still full, or on its way to be emptied."""

    outstanding: int
    """Trades that landed and whose guard no reclaim has named yet."""
    under_way: int
    """Reclaims that have not ended."""
    failed_fee_lamports: Lamports
    """What reclaims paid that failed, of those signed since the asked time."""


@dataclass(frozen=True, slots=True)
class TierChange:
    """One row of the tier journal: who moved the bot from which tier to which, and why."""

    at_ms: UnixMs
    old: str
    new: str
    reason: str
    actor: str
