"""What a chaos run reads from the ledger, from outside, without disturbing it."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg

LIVE = ("SIGNED", "SUBMITTED", "CONFIRMED")
OPEN = ("INTENT", "EXPIRED", *LIVE)


class LedgerView(ABC):
    """Reads a ledger; one that is locked, away or not there yet answers with nothing."""

    @abstractmethod
    async def _rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """Return the rows of a statement, none if the ledger cannot be asked."""

    @abstractmethod
    async def is_being_written(self) -> bool:
        """Tell whether the shards' holder is inside a transaction now."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the ledger."""

    async def _number(self, sql: str) -> int:
        rows = await self._rows(sql)
        return int(rows[0][0]) if rows and rows[0][0] is not None else 0

    async def states(self) -> Counter[str]:
        """Return how many intents stand in each state."""
        return Counter(
            {str(state): int(n) for state, n in await self._rows("SELECT state, count(*) FROM intents GROUP BY 1")}
        )

    async def open_attempts(self) -> int:
        """Return how many intents have an attempt that may be alive."""
        states = await self.states()
        return sum(states[s] for s in LIVE)

    async def confirmed_signatures(self) -> set[str]:
        """Return the signatures of attempts whose intent is CONFIRMED."""
        rows = await self._rows(
            "SELECT a.signature FROM attempts a JOIN intents i ON i.id = a.intent_id AND i.attempt = a.n "
            "WHERE i.state = 'CONFIRMED'"
        )
        return {str(row[0]) for row in rows}

    async def retried(self) -> int:
        """Return how many attempts were made after an expired one."""
        return await self._number("SELECT count(*) FROM attempts WHERE n > 1")

    async def attempts(self) -> int:
        """Return how many transactions were ever signed."""
        return await self._number("SELECT count(*) FROM attempts")

    async def events(self, name: str) -> int:
        """Return how many moves by an event the ledger's own order of writes holds."""
        return await self._number(f"SELECT count(*) FROM transitions WHERE event = '{name}'")

    async def epoch(self) -> int:
        """Return the newest epoch of any shard."""
        return await self._number("SELECT max(epoch) FROM shards")

    async def written_under_old_epochs(self) -> int:
        """Return how many rows were written under epoch e after a newer one was issued: the invariant P4."""
        newest: dict[int, int] = {}
        bad = 0
        for shard, epoch in await self._rows("SELECT shard, epoch FROM transitions ORDER BY seq"):
            bad += epoch < newest.get(shard, 0)
            newest[shard] = max(epoch, newest.get(shard, 0))
        return bad


class SqliteView(LedgerView):
    """Reads the file, read-only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def _rows(self, sql: str) -> Sequence[Sequence[Any]]:
        if not self._path.exists():
            return []
        try:
            with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=1.0)) as db:
                return db.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return []

    async def is_being_written(self) -> bool:
        try:
            with closing(sqlite3.connect(self._path, timeout=0.0, isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                db.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            return "locked" in str(error)
        return False

    async def close(self) -> None:
        """Every question has a connection of its own."""


class PostgresView(LedgerView):
    """Reads the database over a session of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: asyncpg.Connection | None = None

    async def _rows(self, sql: str) -> Sequence[Sequence[Any]]:
        try:
            if self._session is None or self._session.is_closed():
                self._session = await asyncpg.connect(self._url, timeout=2)
            rows: Sequence[Sequence[Any]] = await self._session.fetch(sql, timeout=2)
        except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return []
        return rows

    async def is_being_written(self) -> bool:
        sql = (
            "SELECT count(*) FROM pg_stat_activity a JOIN shards s ON s.holder = a.application_name "
            "WHERE a.state IN ('idle in transaction', 'active') AND a.xact_start IS NOT NULL"
        )
        return await self._number(sql) > 0

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
