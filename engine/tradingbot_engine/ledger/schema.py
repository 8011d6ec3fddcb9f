"""
The ledger's tables, defined once for SQLite and PostgreSQL.

Money, slots and times are integers of 64 bits; flags are 0 or 1. One database holds one bot. What the independent audit reads
by plain SQL keeps its names:

- ``intents(id, state, side, mint, strategy, purpose, attempt, amount_in)``
- ``attempts(intent_id, n, signature)``: every transaction that was ever signed; ``landed_slot`` and ``fee_lamports`` are set once it
  is finalized, with or without an error.
- ``fills(intent_id, attempt, signature, slot, base_delta, quote_delta, lamport_delta, base_fee_lamports, priority_fee_lamports,
  finalized, paper)``: transactions that *succeeded*; a row with ``finalized = 0`` is provisional and goes away with its fork.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from tradingbot_engine.core.intents import LIVE, OPEN
from tradingbot_engine.domain.intents import IntentState
from tradingbot_engine.domain.portfolio import PositionState, Tier
from tradingbot_engine.domain.signals import Purpose, Side

INT: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
NUMBER: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _one_of(column: str, values: Iterable[object]) -> str:
    """Return a condition; values in a stable order, so that the schema's text is stable."""
    names = sorted(str(v) for v in values)
    return f"{column} IN ({', '.join(repr(n) for n in names)})"


OPEN_SQL = _one_of("state", OPEN)
LIVE_SQL = _one_of("state", LIVE)


def _int(name: str, *, default: int | None = None) -> Column[int]:
    return Column(name, INT, nullable=False, server_default=None if default is None else text(str(default)))


def _text(name: str, *, default: str | None = None) -> Column[str]:
    return Column(name, Text, nullable=False, server_default=None if default is None else text(f"'{default}'"))


def _flag(name: str) -> tuple[Column[int], CheckConstraint]:
    return _int(name, default=0), CheckConstraint(f"{name} IN (0, 1)", name=name)


def _serial(name: str) -> Column[int]:
    return Column(name, INT, Identity(always=True), primary_key=True)


def _table(name: str, *items: SchemaItem, hot: bool = False) -> Table:
    """Return a table; `hot` rows are updated in place, so their pages keep room for new versions."""
    options: dict[str, Any] = {"postgresql_with": {"fillfactor": 20}} if hot else {}
    if any(isinstance(item, Column) and item.identity is not None for item in items):
        options["sqlite_autoincrement"] = True  # a number is never given twice, as on PostgreSQL
    return Table(name, metadata, *items, sqlite_strict=True, **options)


bots = _table(
    "bots",
    Column("bot_id", Text, primary_key=True),
    _int("only_row", default=1),
    CheckConstraint("only_row = 1", name="only_row"),
    UniqueConstraint("only_row"),
    *(_text(n) for n in ("name", "wallet", "genesis_hash", "cluster_id", "quote_mint")),
    _int("shards"),
    *_flag("paper"),
    _int("generation", default=0),
    *_flag("paused"),
    *_flag("latch"),
    _text("live_risk", default=""),
    *(_int(n, default=0) for n in ("settled_slot", "wallet_lamports", "wallet_quote", "wallet_slot")),
    # What open intents hold back: given back at their ends.
    *(_int(n, default=0) for n in ("open_intents", "reserved_quote", "reserved_lamports")),
    CheckConstraint("open_intents >= 0 AND reserved_quote >= 0 AND reserved_lamports >= 0", name="reserves"),
    # Risk.
    *(_int(n) for n in ("capital", "equity_start", "equity", "peak", "day_start")),
    _text("day"),
    _text("tier"),
    CheckConstraint(_one_of("tier", Tier), name="tier"),
    _int("tier_since_ms"),
    _text("tier_reason"),
    _int("realized"),
    _int("marked_at_ms"),
    _text("fees_day"),
    _int("fees_failed"),
    # Closing out: since when (0: it is not), and for whom.
    _int("closing_since_ms", default=0),
    _text("closing_by", default=""),
    hot=True,
)
"""The bot's own row; locked after everything else that a transaction locks, `strategies` excepted."""

shards = _table(
    "shards",
    Column("shard", INT, primary_key=True, autoincrement=False),
    _text("holder", default=""),
    _int("epoch", default=0),
    _int("since_ms", default=0),
    hot=True,
)
"""Who may write what belongs to a shard's tokens; locked first by every claim and transition."""

members = _table(
    "members",
    Column("name", Text, primary_key=True),
    _int("version", default=0),
    _text("holder", default=""),
    _text("incarnation", default=""),
    *_flag("takes_shards"),
    _int("renewed_at_ms", default=0),
    hot=True,
)
"""
Who trades the bot, where no Kubernetes keeps Leases for it: see `cluster.port.Member`. `version` grows with every write.

`renewed_at_ms` is for people; nobody's decision rests on another's clock.
"""

strategies = _table(
    "strategies",
    Column("strategy", Text, primary_key=True),
    *(_int(n, default=0) for n in ("exposure", "realized", "peak")),
    CheckConstraint("peak >= realized AND peak >= 0", name="peak"),
    hot=True,
)
"""One row per strategy instance; `exposure` is the sum of its positions' exposures. Guarded by the bot's row lock."""

intents = _table(
    "intents",
    Column("id", Text, primary_key=True),
    CheckConstraint("length(id) = 32", name="id"),
    _int("shard"),
    _int("epoch"),
    *(_text(n) for n in ("strategy", "mint", "side", "purpose")),
    CheckConstraint(_one_of("side", Side), name="side"),
    CheckConstraint(_one_of("purpose", Purpose), name="purpose"),
    _int("priority"),
    _text("position_id"),
    *(_int(n) for n in ("amount_in", "reserve_quote", "reserve_lamports", "max_slippage_bps")),
    *(_int(n) for n in ("max_priority_fee_lamports", "signal_at_ms", "created_at_ms")),
    CheckConstraint("amount_in > 0 AND reserve_quote >= 0 AND reserve_lamports >= 0", name="amounts"),
    Column("price", NUMBER, nullable=False),
    _text("signal_reason"),
    _text("state"),
    CheckConstraint(_one_of("state", IntentState), name="state"),
    _int("attempt", default=0),
    Column("confirmed_slot", INT),
    _text("reason", default=""),
    _int("updated_at_ms"),
    Index("ix_intents_open", "shard", sqlite_where=text(OPEN_SQL), postgresql_where=text(OPEN_SQL)),
    Index("ix_intents_state", "state"),
    # An entry is found by its id, which is its position's.
    Index(
        "ix_intents_exits",
        "position_id",
        sqlite_where=text("purpose = 'EXIT'"),
        postgresql_where=text("purpose = 'EXIT'"),
    ),
    *(
        Index(name, *columns, unique=True, sqlite_where=text(where), postgresql_where=text(where))
        for name, columns, where in (
            ("ux_intents_open_exit", ("position_id",), f"purpose = 'EXIT' AND {OPEN_SQL}"),
            ("ux_intents_open_entry", ("strategy", "mint"), f"purpose = 'ENTRY' AND {OPEN_SQL}"),
        )
    ),
)
"""One signal, one row, for ever; `epoch` is the epoch under which the row was written last."""

attempts = _table(
    "attempts",
    Column("intent_id", Text, ForeignKey("intents.id"), primary_key=True),
    Column("n", INT, primary_key=True, autoincrement=False),
    Column("signature", Text, nullable=False, unique=True),
    _text("state"),
    CheckConstraint(_one_of("state", LIVE | {IntentState.EXPIRED, IntentState.DONE, IntentState.FAILED}), name="state"),
    CheckConstraint("n >= 1", name="n"),
    Column("wire", LargeBinary, nullable=False),
    _text("blockhash"),
    *(_int(n) for n in ("blockhash_slot", "last_valid_block_height", "epoch", "signed_at_ms", "quoted_out")),
    *(Column(n, INT) for n in ("landed_slot", "lamport_delta", "fee_lamports")),
    Index("ux_attempts_live", "intent_id", unique=True, sqlite_where=text(LIVE_SQL), postgresql_where=text(LIVE_SQL)),
    Index("ix_attempts_state", "state", sqlite_where=text(LIVE_SQL), postgresql_where=text(LIVE_SQL)),
    Index("ix_attempts_landed", "landed_slot"),
)
"""Signed transactions, committed before any byte of them leaves; at most one per intent may still land or has landed."""

fills = _table(
    "fills",
    Column("intent_id", Text, ForeignKey("intents.id"), primary_key=True),
    Column("attempt", INT, primary_key=True, autoincrement=False),
    _text("position_id"),
    Column("signature", Text, nullable=False, unique=True),
    *(_int(n) for n in ("slot", "block_time_ms")),
    _text("side"),
    *(_int(n) for n in ("base_delta", "quote_delta", "lamport_delta", "base_fee_lamports")),
    *(_int(n) for n in ("priority_fee_lamports", "tip_lamports", "rent_lamports")),
    *_flag("finalized"),
    *_flag("paper"),
    Index("ix_fills_position", "position_id"),
    Index("ix_fills_slot", "slot"),
)
"""What succeeded transactions did to the wallet, from the chain."""

positions = _table(
    "positions",
    Column("id", Text, ForeignKey("intents.id"), primary_key=True),
    _int("shard"),
    *(_text(n) for n in ("strategy", "mint", "state")),
    CheckConstraint(_one_of("state", PositionState), name="state"),
    *(_int(n, default=0) for n in ("bought", "sold", "cost", "proceeds", "realized", "exposure")),
    _int("opened_at_ms"),
    Column("entry_price", NUMBER, nullable=False),
    *_flag("exit_open"),
    *(_int(n, default=0) for n in ("exit_failures", "exit_slips", "exit_failed_at_ms")),
    Index(
        "ux_positions_open",
        "strategy",
        "mint",
        unique=True,
        sqlite_where=text("state <> 'CLOSED'"),
        postgresql_where=text("state <> 'CLOSED'"),
    ),
    Index(
        "ix_positions_oversold",
        "mint",
        sqlite_where=text("sold > bought"),
        postgresql_where=text("sold > bought"),
    ),
)
"""One per entry intent; every number follows from the position's intents, attempts, fills and adjustments (`ledger.book`)."""

adjustments = _table(
    "adjustments",
    _serial("id"),
    Column("position_id", Text, ForeignKey("positions.id"), nullable=False),
    _text("kind"),
    CheckConstraint("kind IN ('OVERSOLD', 'SHORT')", name="kind"),
    _text("intent_id"),
    *(_int(n) for n in ("base_delta", "quote_delta", "at_ms")),
    Index("ix_adjustments_position", "position_id"),
)
"""
What a position holds more or less than its own fills say, since all positions of a mint share one token account.

OVERSOLD: what one sold beyond what it had bought was another's: tokens back to the one, for the money to the other; the rows
of a mint add up to nothing. SHORT: tokens that were found gone, lost for nothing. `intent_id`: at whose end it was written.
"""

transitions = _table(
    "transitions",
    _serial("seq"),
    *(_int(n) for n in ("shard", "epoch")),
    _text("event"),
    Column("intent_id", Text),
    Column("attempt", INT),
    Column("from_state", Text),
    Column("to_state", Text),
    _int("at_ms"),
    # A claim, always an intent's first step, is found by its place in the order (`ledger.retention`).
    Index(
        "ix_transitions_steps",
        "intent_id",
        sqlite_where=text("event <> 'CLAIM'"),
        postgresql_where=text("event <> 'CLAIM'"),
    ),
)
"""
Every write under an epoch, in order: claims, moves, and the takes and releases that issue epochs (without an intent).

`seq` is drawn under the shard row's lock, so that within a shard it is the order of commit.
"""

marks = _table(
    "marks",
    Column("shard", INT, primary_key=True, autoincrement=False),
    *(_int(n) for n in ("epoch", "unrealized", "at_ms")),
)
"""What each shard's open positions would gain if sold now."""

bars = _table(
    "bars",
    Column("mint", Text, primary_key=True),
    Column("start_ms", INT, primary_key=True, autoincrement=False),
    *(Column(n, NUMBER, nullable=False) for n in ("open", "high", "low", "close")),
    *(_int(n) for n in ("volume", "quote_reserve")),
)
"""Closed minutes of event time."""

outbox = _table(
    "outbox",
    _serial("id"),
    Column("key", Text, nullable=False, unique=True),
    *(_text(n) for n in ("kind", "payload")),
    _int("at_ms"),
)
"""Side effects still to be done."""

flows = _table(
    "flows",
    _serial("id"),
    *(_int(n) for n in ("slot", "lamports", "quote", "at_ms")),
)
"""Money that others moved in (positive) or out of the wallet."""

tier_journal = _table(
    "tier_journal",
    _serial("id"),
    _int("at_ms"),
    *(_text(n) for n in ("old", "new", "reason", "actor")),
)
"""Who moved the bot from which tier to which, and why."""

reclaims = _table(
    "reclaims",
    Column("signature", Text, primary_key=True),
    _text("state"),
    CheckConstraint("state IN ('SENT', 'DONE', 'FAILED', 'EXPIRED')", name="state"),
    Column("wire", LargeBinary, nullable=False),
    *(_int(n) for n in ("blockhash_slot", "last_valid_block_height")),
    _text("guards"),
    _int("signed_at_ms"),
    *(Column(n, INT) for n in ("landed_slot", "lamport_delta", "fee_lamports")),
)
"""Transactions that fetch the rent of guard accounts, committed before any byte leaves; `guards`: the intents' ids, by commas."""

guards = _table(
    "guards",
    Column("intent_id", Text, ForeignKey("intents.id"), primary_key=True),
    _text("signature"),
    Index("ix_guards_signature", "signature"),
)
"""Intents whose guard is being or has been fetched by the reclaim `signature`, or that have none ("")."""
