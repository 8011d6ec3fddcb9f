"""
A transaction as a generator: it yields statements and receives their rows, and knows nothing of drivers.

SQLite runs it in its writer thread, PostgreSQL over asyncpg; both execute the very same steps. Parameters are written `$1`, `$2`.
A generator that raises undoes everything it did.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")
Row: TypeAlias = Sequence[Any]


class Statement(NamedTuple):
    """One statement; `many` holds parameter rows instead of one, and then nothing is returned."""

    sql: str
    params: Sequence[Any] = ()
    many: Sequence[Sequence[Any]] | None = None


Program: TypeAlias = Generator[Statement, Sequence[Row], T]

LOCK = " FOR NO KEY UPDATE"
"""
Ends a SELECT whose rows stay as they are until the transaction's end; on SQLite the one writer's transaction does that.

`FOR SHARE` would starve a take-over, and `FOR KEY SHARE` would not hold it off at all.
"""


@functools.cache
def sqlite_text(sql: str) -> str:
    """Return a statement in SQLite's words: numbered parameters, no row locks."""
    return re.sub(r"\$(\d+)", r"?\1", sql.replace(LOCK, ""))


def run_sqlite(program: Program[T], connection: sqlite3.Connection) -> T:
    """Run a program on a connection; the caller holds the transaction."""
    try:
        statement = next(program)
        while True:
            if statement.many is not None:
                connection.executemany(sqlite_text(statement.sql), statement.many)
                rows: Sequence[Row] = ()
            else:
                rows = connection.execute(sqlite_text(statement.sql), statement.params).fetchall()
            statement = program.send(rows)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        program.close()


def execute(sql: str, *params: Any) -> Program[Sequence[Row]]:
    """Run one statement; return its rows."""
    return (yield Statement(sql, params))


def one(sql: str, *params: Any) -> Program[Row | None]:
    """Run one statement; return its first row, None if there is none."""
    rows = yield Statement(sql, params)
    return rows[0] if rows else None


def each(sql: str, rows: Iterable[Sequence[Any]]) -> Program[None]:
    """Run one statement for many rows of parameters."""
    many = list(rows)
    if many:
        yield Statement(sql, (), many)
