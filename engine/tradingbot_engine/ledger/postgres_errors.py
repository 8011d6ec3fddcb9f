"""PostgreSQL's errors in the engine's words: what the caller does next."""

from __future__ import annotations

import asyncpg

from tradingbot_engine.errors import EngineError, LedgerCorrupt, LedgerUnavailable, PermanentError

_AWAY = (
    "08",  # connection
    "25006",  # read-only: a standby, or a primary that was demoted
    "25P03",  # idle in a transaction for too long: this process was stopped
    "40",  # serialization, deadlock
    "53",  # disk full, memory, too many connections
    "55P03",  # lock timeout
    "57",  # cancelled by statement timeout, shut down, starting up, terminated by a successor
    "58",  # I/O
)
_CORRUPT = ("XX001", "XX002")


def translated(error: BaseException) -> EngineError:
    """Return the error that says what the caller does next; no text of it holds the URL."""
    if isinstance(error, EngineError):
        return error
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state in _CORRUPT:
            return LedgerCorrupt(f"PostgreSQL: {error}; restore a backup, then audit")
        if state.startswith(_AWAY):
            return LedgerUnavailable(f"PostgreSQL: {error} ({state})")
        return PermanentError(f"PostgreSQL refuses: {error} ({state})")
    if isinstance(error, ValueError | TypeError):  # asyncpg.DataError among them: a value that no column takes
        return PermanentError(f"the ledger cannot hold this: {error}")
    if isinstance(error, TimeoutError):
        return LedgerUnavailable("PostgreSQL: no answer in time")
    if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return LedgerUnavailable(f"PostgreSQL: {error or type(error).__name__}")
    return PermanentError(f"{type(error).__name__}: {error}")
