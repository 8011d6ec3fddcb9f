"""Where tests keep ledgers: a SQLite file, or a database of a private server that is copied from a migrated template."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from support import postgres
from support.ledgers import NOW_MS

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.port import Ledger
from tradingbot_engine.ledger.schema import metadata
from tradingbot_engine.settings import LedgerSettings

_numbers = itertools.count(1)
TEMPLATE = "ledger_template"


@dataclass
class Place:
    """Where a ledger is kept."""

    settings: LedgerSettings
    kind: str
    opened: list[Ledger] = field(default_factory=list)
    server: postgres.Server | None = None

    def ledger(self, holder: str = "me", *, paper: bool = False, now_ms: int = NOW_MS) -> Ledger:
        """Return a ledger in this place, not open yet."""
        return open_ledger(self.settings, holder=holder, clock=ManualClock(now_ms=now_ms), paper=paper)

    async def open(self, holder: str = "me", *, now_ms: int = NOW_MS) -> Ledger:
        """Open the ledger once more; it is closed after the test."""
        ledger = self.ledger(holder, now_ms=now_ms)
        await ledger.open()
        self.opened.append(ledger)
        return ledger

    @property
    def url(self) -> str:
        assert self.settings.url is not None
        return self.settings.url.get_secret_value()

    @property
    def path(self) -> Path:
        assert self.settings.sqlite_path is not None
        return self.settings.sqlite_path

    async def close(self) -> None:
        for ledger in self.opened:
            await ledger.close()


async def run_sql(server: postgres.Server, *statements: str, database: str = "postgres") -> list[asyncpg.Record]:
    """Run statements as the server's owner; return the last one's rows."""
    connection = await asyncpg.connect(server.url(database))
    try:
        rows: list[asyncpg.Record] = []
        for statement in statements:
            rows = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()


async def new_database(server: postgres.Server) -> str:
    """Return a new database with a ledger of the newest revision, copied from one that was migrated."""
    if not await run_sql(server, f"SELECT 1 FROM pg_database WHERE datname = '{TEMPLATE}'"):
        await run_sql(server, f"CREATE DATABASE {TEMPLATE}")
        settings = LedgerSettings.model_validate({"url": server.url(TEMPLATE)})
        ledger = open_ledger(settings, holder="template", clock=ManualClock(), paper=False)
        await ledger.open()
        await ledger.close()
    name = f"ledger_{next(_numbers)}"
    await run_sql(server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return name


@asynccontextmanager
async def sqlite_place(folder: Path) -> AsyncIterator[Place]:
    place = Place(LedgerSettings(sqlite_path=folder / f"ledger-{next(_numbers)}.db"), "sqlite")
    try:
        yield place
    finally:
        await place.close()


_spare: dict[int, list[str]] = {}
_WIPE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    *(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)),
)


@asynccontextmanager
async def postgres_place(server: postgres.Server) -> AsyncIterator[Place]:
    """An empty ledger's database; emptied afterwards for the next test, which is far quicker than a new one."""
    spare = _spare.setdefault(server.pid, [])
    name = spare.pop() if spare else await new_database(server)
    place = Place(LedgerSettings.model_validate({"url": server.url(name)}), "postgres", server=server)
    try:
        yield place
    finally:
        await place.close()
        await run_sql(server, *_WIPE, database=name)
        spare.append(name)
