"""What a chaos run reads from the ledger, from outside, without disturbing it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

LIVE = ("SIGNED", "SUBMITTED", "CONFIRMED")
OPEN = ("INTENT", "EXPIRED", *LIVE)


class LedgerView:
    """Reads a SQLite ledger; a ledger that is locked or not there yet answers with nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        if not self._path.exists():
            return []
        try:
            with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=1.0)) as db:
                return db.execute(sql, values).fetchall()
        except sqlite3.OperationalError:
            return []

    def states(self) -> Counter[str]:
        """Return how many intents stand in each state."""
        return Counter(
            {str(state): int(str(n)) for state, n in self._rows("SELECT state, count(*) FROM intents GROUP BY 1")}
        )

    def open_attempts(self) -> int:
        """Return how many intents have an attempt that may be alive."""
        states = self.states()
        return sum(states[s] for s in LIVE)

    def confirmed_signatures(self) -> set[str]:
        """Return the signatures of attempts whose intent is CONFIRMED."""
        rows = self._rows(
            "SELECT a.signature FROM attempts a JOIN intents i ON i.id = a.intent_id AND i.attempt = a.n "
            "WHERE i.state = 'CONFIRMED'"
        )
        return {str(row[0]) for row in rows}

    def retried(self) -> int:
        """Return how many attempts were made after an expired one."""
        rows = self._rows("SELECT count(*) FROM attempts WHERE n > 1")
        return int(str(rows[0][0])) if rows else 0

    def attempts(self) -> int:
        """Return how many transactions were ever signed."""
        rows = self._rows("SELECT count(*) FROM attempts")
        return int(str(rows[0][0])) if rows else 0

    def epoch(self) -> int:
        """Return the newest epoch of any shard."""
        rows = self._rows("SELECT max(epoch) FROM shards")
        return int(str(rows[0][0])) if rows and rows[0][0] is not None else 0

    def is_being_written(self) -> bool:
        """Tell whether some connection is inside a writing transaction now."""
        try:
            with closing(sqlite3.connect(self._path, timeout=0.0, isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                db.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            return "locked" in str(error)
        return False
