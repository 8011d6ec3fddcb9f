# ruff: noqa: S608  (texts are put together from constants of this package; values travel as parameters)
"""The persisted part of risk, the shards' marks, and the bars that strategies are warmed with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.portfolio import RiskState
from tradingbot_engine.domain.units import Mint, QuoteUnits, UnixMs
from tradingbot_engine.errors import LedgerUnavailable
from tradingbot_engine.ledger.owning import fence
from tradingbot_engine.ledger.port import Ownership
from tradingbot_engine.ledger.program import LOCK, Program, each, execute, one
from tradingbot_engine.ledger.rows import BAR_COLUMNS, RISK_COLUMNS, risk_of, values

BARS_KEPT_MS = 25 * 3_600_000
_RISK_NAMES = RISK_COLUMNS.split(", ")
UPDATE_SQL = f"UPDATE bots SET {', '.join(f'{name} = ${n}' for n, name in enumerate(_RISK_NAMES, start=1))}"


def risk() -> Program[RiskState]:
    row = yield from one(f"SELECT {RISK_COLUMNS} FROM bots")
    if row is None:
        raise LedgerUnavailable("the ledger holds no bot yet")
    return risk_of(row)


def update_risk(
    change: Callable[[RiskState], RiskState], *, ownership: Ownership | None, actor: str, at_ms: UnixMs
) -> Program[RiskState]:
    """See `Ledger.update_risk`."""
    if ownership is not None:
        yield from fence(ownership)
    row = yield from one(f"SELECT {RISK_COLUMNS} FROM bots" + LOCK)
    if row is None:
        raise LedgerUnavailable("the ledger holds no bot yet")
    old, fees, fees_day = risk_of(row), row[10], row[12]
    new = change(old)
    if new.fees_failed_today == old.fees_failed_today or new.day != old.day:
        # The budget's day turns with the first failure after midnight, which may come before the risk's day turns.
        fees, fees_day = (fees, fees_day) if fees_day >= new.day else (0, new.day)
    else:
        fees, fees_day = new.fees_failed_today, new.day
    new = replace(new, fees_failed_today=fees)
    if new == old and fees_day == row[12]:
        return new
    numbers = {name: getattr(new, name, None) for name in _RISK_NAMES}
    numbers |= {"tier": str(new.tier), "fees_failed": fees, "fees_day": fees_day}
    yield from execute(UPDATE_SQL, *(numbers[name] for name in _RISK_NAMES))
    if (old.tier, old.tier_since_ms) != (new.tier, new.tier_since_ms):
        yield from execute(
            "INSERT INTO tier_journal (at_ms, old, new, reason, actor) VALUES ($1, $2, $3, $4, $5)",
            *(at_ms, str(old.tier), str(new.tier), new.tier_reason, actor),
        )
    return new


def mark(ownership: Ownership, *, unrealized: QuoteUnits, at_ms: UnixMs) -> Program[QuoteUnits]:
    """See `Ledger.mark`."""
    yield from fence(ownership)
    yield from execute(
        "INSERT INTO marks (shard, epoch, unrealized, at_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (shard) DO UPDATE SET "
        "epoch = excluded.epoch, unrealized = excluded.unrealized, at_ms = excluded.at_ms",
        *(ownership.shard, ownership.epoch, unrealized, at_ms),
    )
    total = yield from one("SELECT sum(unrealized) FROM marks")
    yield from execute("UPDATE bots SET marked_at_ms = $1 WHERE marked_at_ms < $1", at_ms)
    return int(total[0]) if total else 0


def save_bars(bars: Sequence[tuple[Mint, Bar]]) -> Program[None]:
    """See `Ledger.save_bars`."""
    yield from each(
        f"INSERT INTO bars (mint, {BAR_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        # In one order, so that two writers of the same bars never wait for each other in a circle.
        sorted([mint, *values(bar)] for mint, bar in bars),
    )
    yield from each(
        "DELETE FROM bars WHERE mint = $1 AND start_ms < (SELECT max(start_ms) FROM bars WHERE mint = $1) - $2",
        [(mint, BARS_KEPT_MS) for mint in sorted({mint for mint, _ in bars})],
    )


def outbox_done(ids: Sequence[int]) -> Program[None]:
    yield from each("DELETE FROM outbox WHERE id = $1", [(i,) for i in ids])
