"""The ledger that the settings name."""

from __future__ import annotations

from tradingbot_engine.clock import Clock
from tradingbot_engine.ledger.port import Ledger
from tradingbot_engine.settings import LedgerSettings


def open_ledger(settings: LedgerSettings, *, holder: str, clock: Clock, paper: bool) -> Ledger:
    """
    Return the ledger, still closed (`await ledger.open()`).

    Args:
        holder: Random id of this process incarnation; on PostgreSQL its sessions bear it as their name.
        paper: Trades on paper may live with a database that could forget a commit.
    """
    # Each driver is loaded only where it is used: an engine on SQLite has no need of asyncpg, nor the reverse.
    if settings.sqlite_path is not None:
        from tradingbot_engine.ledger.sqlite import SqliteLedger

        return SqliteLedger(settings.sqlite_path, clock=clock, keep_days=settings.keep_days)
    assert settings.url is not None, "the settings' own rule: exactly one of the two"
    from tradingbot_engine.ledger.postgres import PostgresLedger

    return PostgresLedger(
        settings.url.get_secret_value(), holder=holder, clock=clock, paper=paper, keep_days=settings.keep_days
    )
