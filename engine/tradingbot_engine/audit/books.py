"""What the ledger claims, read by the audit's own SQL, in one snapshot and without the right to write."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from tradingbot_engine.domain.units import Address, IntentId, Lamports, Mint, Signature, Slot
from tradingbot_engine.errors import PermanentError

OPEN_STATES = frozenset({"INTENT", "SIGNED", "SUBMITTED", "CONFIRMED", "EXPIRED"})
LIVE_STATES = frozenset({"SIGNED", "SUBMITTED", "CONFIRMED"})
"""States in which the current attempt may land, or has."""


class LedgerUnreadable(PermanentError):
    """There is no ledger of ours where it was said to be; the text never holds a URL."""


@dataclass(frozen=True, slots=True)
class ClaimedIntent:
    """An intent as the ledger has it; `attempt` is the number of its newest attempt."""

    id: IntentId
    state: str
    side: str
    mint: Mint
    strategy: str
    attempt: int


@dataclass(frozen=True, slots=True)
class ClaimedAttempt:
    """
    A signed transaction that the ledger knows of; the last three are set once it is finalized, with or without an error.

    `fee` is what it paid, base and priority together.
    """

    intent_id: IntentId
    n: int
    signature: Signature
    state: str
    blockhash_slot: Slot
    landed_slot: Slot | None
    lamport_delta: Lamports | None
    fee: Lamports | None


@dataclass(frozen=True, slots=True)
class ClaimedFill:
    """What the ledger says a successful transaction did to the wallet; amounts as in `domain.intents.Fill`."""

    intent_id: IntentId
    attempt: int
    signature: Signature
    slot: Slot
    base_delta: int
    quote_delta: int
    lamport_delta: Lamports
    base_fee: Lamports
    priority_fee: Lamports
    tip: Lamports
    rent: Lamports
    finalized: bool
    paper: bool


@dataclass(frozen=True, slots=True)
class Books:
    """One bot's ledger."""

    bot: str
    wallet: Address
    genesis_hash: str
    quote_mint: Mint
    paper: bool
    intents: Mapping[IntentId, ClaimedIntent]
    attempts: Mapping[Signature, ClaimedAttempt]
    fills: Mapping[Signature, ClaimedFill]

    @property
    def oldest_slot(self) -> Slot | None:
        """The slot from which on the chain's history is needed: that of the oldest attempt's blockhash."""
        return min((attempt.blockhash_slot for attempt in self.attempts.values()), default=None)

    def slot_of(self, signature: Signature) -> Slot:
        """Return the slot in which the ledger says a transaction landed; 0 if it does not say."""
        fill, attempt = self.fills.get(signature), self.attempts.get(signature)
        return fill.slot if fill is not None else (attempt.landed_slot or 0) if attempt is not None else 0


_BOT = "SELECT name, wallet, genesis_hash, quote_mint, paper FROM bots"
_INTENTS = "SELECT id, state, side, mint, strategy, attempt FROM intents"
_ATTEMPTS = (
    "SELECT intent_id, n, signature, state, blockhash_slot, landed_slot, lamport_delta, fee_lamports FROM attempts"
)
_FILLS = (
    "SELECT intent_id, attempt, signature, slot, base_delta, quote_delta, lamport_delta, base_fee_lamports,"
    " priority_fee_lamports, tip_lamports, rent_lamports, finalized, paper FROM fills"
)


async def read_books(location: str | Path) -> Books:
    """
    Read a ledger: a path of an SQLite file, or a postgresql:// URL.

    Raises:
        LedgerUnreadable: See there.
    """
    text = str(location)
    if text.startswith(("postgresql://", "postgres://")):
        rows = await _postgresql(text)
    else:
        rows = await asyncio.to_thread(_sqlite, Path(location))
    return _books(*rows)


def _sqlite(path: Path) -> tuple[Sequence[Any], ...]:
    if not path.is_file():
        raise LedgerUnreadable(f"there is no ledger at {path}")
    try:
        connection = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, timeout=5, isolation_level=None)
        try:
            connection.execute("BEGIN")  # one snapshot for all tables, also while an engine writes
            return tuple(connection.execute(sql).fetchall() for sql in (_BOT, _INTENTS, _ATTEMPTS, _FILLS))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise LedgerUnreadable(f"{path} cannot be read as a ledger: {error}") from error


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


async def _postgresql(url: str) -> tuple[Sequence[Any], ...]:
    try:
        connection = await asyncpg.connect(url, timeout=10, command_timeout=120)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return tuple([await connection.fetch(sql) for sql in (_BOT, _INTENTS, _ATTEMPTS, _FILLS)])
        finally:
            await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        # The text of some of these repeats the URL, which holds a password.
        raise LedgerUnreadable(f"the PostgreSQL ledger cannot be read ({type(error).__name__})") from None


def _books(bots: Sequence[Any], intents: Sequence[Any], attempts: Sequence[Any], fills: Sequence[Any]) -> Books:
    if not bots:
        raise LedgerUnreadable(
            "nothing to audit: the bot of this ledger was never ready to trade, so it has sent nothing"
        )
    if len(bots) != 1:
        raise LedgerUnreadable(f"the ledger holds {len(bots)} bots, one is expected")
    name, wallet, genesis_hash, quote_mint, paper = bots[0]
    claimed = [ClaimedFill(*row[:11], *map(bool, row[11:])) for row in map(tuple, fills)]
    return Books(
        bot=name,
        wallet=wallet,
        genesis_hash=genesis_hash,
        quote_mint=quote_mint,
        paper=bool(paper),
        intents={row[0]: ClaimedIntent(*row) for row in map(tuple, intents)},
        attempts={row[2]: ClaimedAttempt(*row) for row in map(tuple, attempts)},
        # A finalized fill outranks a provisional one of the same transaction.
        fills={fill.signature: fill for fill in sorted(claimed, key=lambda f: f.finalized)},
    )
