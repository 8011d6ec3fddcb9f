# ruff: noqa: S608  (texts are put together from constants of this package; values travel as parameters)
"""The bot's own row: its identity, what it is allowed to do now, and the wallet's balance as the ledger knows it."""

from __future__ import annotations

from collections.abc import Callable

from tradingbot_engine.domain.portfolio import RiskState
from tradingbot_engine.domain.units import SOL_MINT, Lamports, QuoteUnits, Slot, UnixMs
from tradingbot_engine.errors import LedgerInUse, LedgerOfAnother, LedgerUnavailable, WrongGenesis
from tradingbot_engine.ledger.port import BotRecord
from tradingbot_engine.ledger.program import LOCK, Program, each, execute, one
from tradingbot_engine.ledger.riskrow import update_risk
from tradingbot_engine.ledger.rows import BOT_COLUMNS, RISK_COLUMNS, bot_of, placeholders, plain, values

_BOT = f"SELECT {BOT_COLUMNS} FROM bots"
_WIDTH = len(BOT_COLUMNS.split(", "))
_RISK_WIDTH = len(RISK_COLUMNS.split(", "))
CREATE_SQL = f"INSERT INTO bots ({BOT_COLUMNS}, {RISK_COLUMNS}) VALUES ({placeholders(_WIDTH + _RISK_WIDTH)}) ON CONFLICT DO NOTHING"
LIVE_SQL = "UPDATE bots SET generation = $1, paused = $2, live_risk = $3 WHERE generation <= $1 RETURNING 1"


def bot() -> Program[BotRecord]:
    row = yield from one(_BOT)
    if row is None:
        raise LedgerUnavailable("the ledger holds no bot yet")
    return bot_of(row)


def adopt_bot(wanted: BotRecord, *, risk: RiskState, force: bool) -> Program[BotRecord]:
    """See `Ledger.adopt_bot`."""
    yield from execute(CREATE_SQL, *values(wanted), *risk_values(risk))
    row = yield from one(_BOT + LOCK)
    assert row is not None, "it was inserted, or was there before"
    known = bot_of(row)
    if known.genesis_hash != wanted.genesis_hash:
        raise WrongGenesis(f"this ledger's bot trades on chain {known.genesis_hash}, not on {wanted.genesis_hash}")
    if known.name != wanted.name:
        raise LedgerOfAnother(f"this ledger belongs to bot {known.name}, not to {wanted.name}; use another ledger")
    for what, held, asked in (
        ("wallet", known.wallet, wanted.wallet),
        ("quote currency", known.quote_mint, wanted.quote_mint),
        ("number of shards", known.shards, wanted.shards),
    ):
        if held != asked:
            raise LedgerInUse(f"this ledger belongs to {what} {held}, not to {asked}; use another ledger")
    if known.cluster_id != wanted.cluster_id:
        if not force:
            raise LedgerInUse(
                f"this ledger is held from cluster {known.cluster_id}, this is {wanted.cluster_id}: "
                "make sure that nothing runs there any more, then adopt it on purpose"
            )
        yield from execute("UPDATE bots SET cluster_id = $1", wanted.cluster_id)
    yield from each(
        "INSERT INTO shards (shard) VALUES ($1) ON CONFLICT DO NOTHING", [(n,) for n in range(known.shards)]
    )
    return (yield from bot())


def risk_values(risk: RiskState) -> list[object]:
    """Return the risk row's values in the order of its columns; the failed fees are those of its day."""
    return [*(plain(getattr(risk, name)) for name in risk.__dataclass_fields__), risk.day]


def set_live(*, generation: int, paused: bool, risk_json: str) -> Program[bool]:
    return bool((yield from execute(LIVE_SQL, generation, int(paused), risk_json)))


def live_risk() -> Program[str]:
    row = yield from one("SELECT live_risk FROM bots")
    return str(row[0]) if row else ""


def set_latch(latched: bool) -> Program[None]:
    yield from execute("UPDATE bots SET latch = $1", int(latched))


def close_out(*, by: str, at_ms: UnixMs) -> Program[None]:
    """See `Ledger.close_out`; of one that is told twice the first moment stays, since exits are named after it."""
    yield from execute(
        "UPDATE bots SET closing_since_ms = CASE WHEN closing_since_ms > 0 THEN closing_since_ms ELSE $1 END, closing_by = $2",
        max(1, at_ms),
        by,
    )


def reopen() -> Program[None]:
    yield from execute("UPDATE bots SET closing_since_ms = 0, closing_by = ''")


def set_settled_slot(slot: Slot) -> Program[None]:
    yield from execute("UPDATE bots SET settled_slot = $1 WHERE settled_slot < $1", slot)


def observe_wallet(
    *,
    lamports: Lamports,
    quote: QuoteUnits,
    slot: Slot,
    at_ms: UnixMs,
    on_flow: Callable[[RiskState, QuoteUnits], RiskState] | None,
) -> Program[QuoteUnits | None]:
    """See `Ledger.observe_wallet`."""
    row = yield from one("SELECT wallet_lamports, wallet_quote, wallet_slot, quote_mint FROM bots" + LOCK)
    if row is None:
        raise LedgerUnavailable("the ledger holds no bot yet")
    known_lamports, known_quote, known_slot, quote_mint = row
    # A statement of its own, after the lock: ends of trades take the same lock.
    busy = yield from execute(
        "SELECT 1 FROM attempts WHERE state IN ('SIGNED', 'SUBMITTED', 'CONFIRMED') OR landed_slot > $1 "
        "UNION ALL SELECT 1 FROM reclaims WHERE state = 'SENT' OR landed_slot > $1 LIMIT 1",
        slot,
    )
    if busy or slot < known_slot:
        return None
    moved: tuple[int, int] = (lamports - known_lamports, quote - known_quote)
    if any(moved):
        yield from execute(
            "INSERT INTO flows (slot, lamports, quote, at_ms) VALUES ($1, $2, $3, $4)", slot, *moved, at_ms
        )
    yield from execute(
        "UPDATE bots SET wallet_lamports = $1, wallet_quote = $2, wallet_slot = $3", lamports, quote, slot
    )
    flow = moved[0] if quote_mint == SOL_MINT else moved[1]
    if flow and on_flow is not None:
        # Here or never: the balance that was just written hides the flow from every later look.
        yield from update_risk(lambda risk: on_flow(risk, flow), ownership=None, actor="wallet", at_ms=at_ms)
    return flow
