"""
What the engine asks of a ledger; SQLite and PostgreSQL answer alike (one contract suite runs over both).

Every write that moves an intent names the shard's ownership under which the task read, the state that it believes the
intent to be in, and the number of the attempt that its evidence is about. The epoch fences other processes; state and
attempt fence other tasks. Both are compared inside the writing transaction, under the shard row's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.intents import IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.portfolio import Position, RiskState
from tradingbot_engine.domain.units import (
    BlockHeight,
    IntentId,
    Lamports,
    Mint,
    QuoteUnits,
    Slot,
    UnixMs,
)
from tradingbot_engine.ledger.records import (
    BotRecord,
    ClaimLimits,
    ClaimOutcome,
    ClaimResult,
    FillRow,
    GuardDue,
    GuardRent,
    Holding,
    Move,
    OutboxRow,
    Ownership,
    Reclaim,
    ReclaimEnd,
    ShardRow,
    Shortage,
    TierChange,
)

__all__ = [
    "BotRecord",
    "ClaimLimits",
    "ClaimOutcome",
    "ClaimResult",
    "FillRow",
    "GuardDue",
    "GuardRent",
    "Holding",
    "Ledger",
    "Move",
    "OutboxRow",
    "Ownership",
    "Reclaim",
    "ReclaimEnd",
    "ShardRow",
    "Shortage",
    "TierChange",
]


class Ledger(Protocol):
    """
    Raises, everywhere: LedgerUnavailable (try again; nothing was half done), LedgerCorrupt, Fenced (writes under an
    ownership whose epoch or holder is no longer the row's), LedgerNotDurable (after a reconnection, or when an
    asynchronous standby appears: what is written might be forgotten).
    """

    async def open(self) -> None:
        """Connect, check durability (LedgerNotDurable), migrate the schema to the newest revision."""

    async def close(self) -> None:
        """Finish what was queued and let go of files and connections."""

    def reconnections(self) -> int:
        """
        Return how often the ledger has come back since it was opened, so that what it holds may be an older copy.

        PostgreSQL: sessions opened after others were lost, or with another server (a failover, a restart). SQLite: 1 once
        the file was replaced while it was open; every call after that raises LedgerCorrupt. The number has grown before
        anything is read or written over the new connection: a caller who looks *after* a signature was journalled and
        *before* it is sent, and compares with the chain if it grew, sends nothing from a ledger behind the chain.
        """

    # --- the bot's row
    async def adopt_bot(self, wanted: BotRecord, *, risk: RiskState, force: bool = False) -> BotRecord:
        """
        Return the bot's row, making it (and its shards, free at epoch 0) on first use.

        Raises:
            LedgerInUse: The row is for another wallet or name, or another cluster id and `force` is False.
            WrongGenesis: The row is for another chain.
        """

    async def bot(self) -> BotRecord:
        """Return the bot's row as it stands."""

    async def set_live(self, *, generation: int, paused: bool, risk_json: str) -> bool:
        """Keep live settings if `generation` is not older than the stored one; return whether they were kept."""

    async def live_risk(self) -> str:
        """Return the `risk_json` kept by `set_live`, "" if none."""

    async def set_latch(self, latched: bool) -> None:
        """Keep or clear the pause by hand."""

    async def close_out(self, *, by: str) -> None:
        """
        Keep the wish that every position be sold and none be opened; from its commit on `claim` refuses entries.

        Told again, the moment of the first time stays and `by` is the newest.
        """

    async def reopen(self) -> None:
        """Take that wish back."""

    async def set_settled_slot(self, slot: Slot) -> None:
        """Remember up to which finalized slot the chain was compared with the ledger (never goes back)."""

    async def observe_wallet(
        self,
        *,
        lamports: Lamports,
        quote: QuoteUnits,
        slot: Slot,
        on_flow: Callable[[RiskState, QuoteUnits], RiskState] | None = None,
    ) -> QuoteUnits | None:
        """
        Compare a finalized balance with the ledger's own; take it over and return what others moved (0: nothing).

        Returns None, changing nothing, while an attempt is alive or a fill is newer than `slot`: then the difference
        could be our own trade. A difference is journalled as an external flow (lamports when quote is SOL, else quote).

        `on_flow` gives the risk row after such a flow, in the same transaction: capital and peak take it over together with
        the balance, or neither does. Like `update_risk`'s `change` it is pure and quick, and may be called again.
        """

    # --- ownership
    async def shards(self) -> Sequence[ShardRow]:
        """Return all shard rows by number."""

    async def take(self, seen: ShardRow, *, holder: str, now_ms: UnixMs) -> Ownership | None:
        """Take a shard by compare-and-set on (holder, epoch); None if it changed since it was seen."""

    async def release(self, ownership: Ownership, *, now_ms: UnixMs) -> bool:
        """Free a shard by the same compare; False if it was taken meanwhile."""

    # --- intents
    async def claim(self, intent: OrderIntent, *, ownership: Ownership, limits: ClaimLimits) -> ClaimResult:
        """
        Write a new intent if the shard is ours, the id is new and every bot-wide limit allows it; all or nothing.

        Entries: not closing out, tier below HALT, not paused, marks fresh (StaleEquity), no open entry or position of the same strategy and
        mint, strategy exposure and drawdown, wallet money beyond reserves and fee reserve, failed-fee budget.
        Exits: the position is OPEN, no other exit of it is open, amount at most what is held. Never refused for limits.
        """

    async def move(self, move: Move, *, ownership: Ownership) -> IntentRecord | None:
        """
        Execute one row of the state table with everything that belongs to it in one transaction.

        Reserve given back at terminal states, position opened / updated / closed, strategy totals, wallet balance, failed
        fees, outbox row. What a position sold beyond what it bought goes to the other positions of its mint as soon as all of
        it is final; the record's reason says so (`Oversold: …`). Returns the new record, or None if (state, attempt) was not
        what the row holds: read again.

        Raises:
            PermanentError: The table has no such row, or the move lacks what its event must carry.
        """

    async def intent(self, intent_id: IntentId) -> IntentRecord | None:
        """Return one intent with its attempts."""

    async def open_intents(self, shard: int | None = None) -> Sequence[IntentRecord]:
        """Return the intents that are not terminal, oldest first, on the primary, in a statement of its own."""

    async def holding(self, position_id: IntentId) -> Holding | None:
        """Return what a position holds now, None if it is unknown."""

    async def intent_counts(self) -> Mapping[IntentState, int]:
        """Return how many intents stand in each state."""

    # --- the rent of guard accounts
    async def guards_due(
        self, *, ownership: Ownership, height: BlockHeight, since: Slot, limit: int
    ) -> tuple[Sequence[GuardDue], Slot]:
        """
        Return intents of the shard that are over and none of whose attempts can land at a block height above `height`.

        Oldest first, of those that landed at slot `since` or later; without those that a reclaim names or that are known to
        have no guard. Also returns from which slot on to ask the next time: a long history is gone through once.
        """

    async def guards_gone(self, intents: Sequence[IntentId], *, ownership: Ownership) -> None:
        """Remember that these intents have no guard account (any more)."""

    async def reclaim(self, wanted: Reclaim, *, ownership: Ownership) -> None:
        """Journal a signed reclaim: its intents are due no more, and the wallet counts as in motion until it has ended."""

    async def open_reclaims(self) -> Sequence[Reclaim]:
        """Return the reclaims that have not ended, oldest first."""

    async def reclaim_ended(self, signature: str, end: ReclaimEnd | None, *, ownership: Ownership) -> bool:
        """
        Book what a reclaim did, once; None: it expired. False if it had ended already.

        The rent is no gain and no deposit: it moves the wallet's balance alone; the fee is a loss. The intents of one that
        failed or expired are due again.
        """

    async def guard_rent(self, *, since: Slot, since_ms: UnixMs) -> GuardRent:
        """Return where the rent stands: trades from slot `since` on, failed reclaims signed at `since_ms` or later."""

    # --- portfolio and risk
    async def positions(self, *, shard: int | None = None, closed: bool = False) -> Sequence[Position]:
        """Return positions that are not closed (or, with `closed`, all)."""

    async def closed_since(self, since_ms: UnixMs) -> Sequence[Position]:
        """Return positions that a sale closed at `since_ms` of event time or later, with `closed_at_ms`, oldest sale first."""

    async def risk(self) -> RiskState:
        """Return the bot's risk row."""

    async def update_risk(
        self, change: Callable[[RiskState], RiskState], *, ownership: Ownership | None, actor: str
    ) -> RiskState:
        """
        Replace the risk row by `change` of it, under the row's lock, journalling a change of tier with its reason.

        `change` is pure and quick; it may be called again with newer numbers. `ownership` None is for a person's act.
        """

    async def mark(self, *, ownership: Ownership, unrealized: QuoteUnits, at_ms: UnixMs) -> QuoteUnits:
        """Write this shard's mark; return the sum of all shards' marks."""

    async def tier_changes(self, limit: int = 100) -> Sequence[TierChange]:
        """Return the tier journal, newest first."""

    # --- bars
    async def save_bars(self, bars: Sequence[tuple[Mint, Bar]]) -> None:
        """
        Keep closed bars (a bar that is known already is left as it is) and drop those older than 25 h before the newest.

        Afterwards a batch of what the ledger may forget goes as well, see `forget`.
        """

    async def forget(self) -> int:
        """Remove a batch of the journal's rows that are older than the settings' `keep_days`; return how many went."""

    async def bars(self, mint: Mint, *, since_ms: UnixMs) -> Sequence[Bar]:
        """Return closed bars from `since_ms` on, oldest first."""

    # --- side effects and reading
    async def outbox(self, limit: int = 100) -> Sequence[OutboxRow]:
        """Return side effects that are still to be done, oldest first."""

    async def outbox_done(self, ids: Sequence[int]) -> None:
        """Forget side effects that have been done."""

    async def fills(self, *, limit: int = 50) -> Sequence[FillRow]:
        """Return final and provisional fills, newest first."""

    async def signatures_known(self, signatures: Sequence[str]) -> set[str]:
        """Return those of the signatures that are an attempt's or a reclaim's in this ledger."""
