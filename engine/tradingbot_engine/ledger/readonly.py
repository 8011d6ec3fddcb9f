"""A ledger opened for reading by plain SQL, beside whoever writes it: for reports and for people. It is never migrated, nor made."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Protocol

from tradingbot_engine.errors import LedgerUnavailable
from tradingbot_engine.ledger.program import sqlite_text
from tradingbot_engine.ledger.sqlite_files import connect, translated


class Reader(Protocol):
    """Answers SQL over the tables of `ledger.schema`; parameters are written `$1`, `$2`."""

    async def fetch(self, sql: str, *params: Any) -> Sequence[tuple[Any, ...]]:
        """Return the rows; LedgerUnavailable, LedgerCorrupt, or PermanentError if the statement writes or is wrong."""


@asynccontextmanager
async def open_ledger_readonly(path_or_url: Path | str) -> AsyncIterator[Reader]:
    """
    Open a file (SQLite) or a URL (`postgresql://…`) for reading.

    Raises:
        LedgerUnavailable: There is no such file, or the server is away.
        PermanentError: The server refuses us, or the URL is malformed (no part of it is told).
    """
    if str(path_or_url).startswith(("postgresql://", "postgres://")):
        async with _postgres(str(path_or_url)) as reader:
            yield reader
        return
    with closing(_connect(Path(path_or_url))) as connection:
        yield _SqliteReader(connection, Path(path_or_url))


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise LedgerUnavailable(f"{path}: no such file")
    try:
        return connect(path, read_only=True)
    except sqlite3.Error as error:
        raise translated(error, path) from error


class _SqliteReader:
    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path

    async def fetch(self, sql: str, *params: Any) -> Sequence[tuple[Any, ...]]:
        try:
            return await asyncio.to_thread(
                lambda: self._connection.execute(sqlite_text(sql), params).fetchall()  # one call, one thread at a time
            )
        except sqlite3.Error as error:
            raise translated(error, self._path) from error


@asynccontextmanager
async def _postgres(url: str) -> AsyncIterator[Reader]:
    from tradingbot_engine.ledger.postgres_errors import translated as told
    from tradingbot_engine.ledger.postgres_sessions import open_session

    session = await open_session(url, timeout=5, server_settings={"default_transaction_read_only": "on"})

    class PostgresReader:
        async def fetch(self, sql: str, *params: Any) -> Sequence[tuple[Any, ...]]:
            try:
                return [tuple(row) for row in await session.fetch(sql, *params)]
            except Exception as error:
                raise told(error) from error

    try:
        yield PostgresReader()
    finally:
        await session.close()
