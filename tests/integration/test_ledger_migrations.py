"""The schema: from empty and from every older revision to the newest, and equal to what the code believes, on both databases."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateIndex, CreateTable
from support.places import run_sql
from support.postgres import Server

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.errors import LedgerCorrupt
from tradingbot_engine.ledger.claim_function import claim_function
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.migrate import HEAD, LedgerTooNew, revisions, upgrade_script
from tradingbot_engine.ledger.schema import metadata
from tradingbot_engine.ledger.sqlite_files import migrate, open_durable, revision_of, statements
from tradingbot_engine.settings import LedgerSettings

pytest_plugins = ["support.ledger_fixtures"]
STARTS = [None, *revisions()]
"""An empty ledger, and every revision that was ever released."""


def at_revision(path: Path, revision: str | None) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    if revision is not None:
        for statement in statements(upgrade_script("sqlite", since=None, to=revision)):
            connection.execute(statement)
    return connection


def sqlite_schema(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    return {name: re.sub(r"\s+", " ", sql).strip() for name, sql in rows if name != "alembic_version"}


def test_the_code_knows_the_newest_revision() -> None:
    """`HEAD` lets an engine start without loading Alembic; a new revision must raise it."""
    assert revisions()[-1] == HEAD
    assert sorted(revisions()) == revisions()


@pytest.mark.parametrize("start", STARTS)
def test_sqlite_gets_from_every_revision_to_the_schema_of_the_code(tmp_path: Path, start: str | None) -> None:
    """The migrated file equals one that was made from the metadata, constraint by constraint."""
    connection = at_revision(tmp_path / "ledger.db", start)
    migrate(connection, tmp_path / "ledger.db")
    assert revision_of(connection, tmp_path) == HEAD
    fresh = sqlite3.connect(":memory:")
    metadata.create_all(create_engine("sqlite://", creator=lambda: fresh, poolclass=StaticPool))
    assert sqlite_schema(connection) == sqlite_schema(fresh)
    connection.close()
    fresh.close()


def test_autogenerate_finds_no_difference(tmp_path: Path) -> None:
    """Alembic's own comparison of a migrated ledger with the metadata."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    open_durable(tmp_path / "ledger.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it in one transaction."""
    path = tmp_path / "ledger.db"
    connection = at_revision(path, None)
    script = upgrade_script("sqlite", since=None)
    monkeypatch.setattr(
        "tradingbot_engine.ledger.sqlite_files.upgrade_script", lambda *_, **__: script + "\nCREATE NONSENSE;\n"
    )
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, path)
    assert sqlite_schema(connection) == {}
    monkeypatch.undo()
    migrate(connection, path)
    assert revision_of(connection, path) == HEAD
    connection.close()


async def test_a_ledger_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    """An older engine must not write what it does not understand."""
    path = tmp_path / "ledger.db"
    connection = open_durable(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(LedgerTooNew, match="9999"):
        await open_ledger(LedgerSettings(sqlite_path=path), holder="me", clock=ManualClock(), paper=False).open()


async def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    """Its tables are not ours to touch."""
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE songs (title TEXT)")
    other.commit()
    other.close()
    with pytest.raises(LedgerCorrupt, match="songs"):
        await open_ledger(LedgerSettings(sqlite_path=path), holder="me", clock=ManualClock(), paper=False).open()


def test_tables_are_strict() -> None:
    """SQLite would otherwise keep a text where money belongs."""
    connection = sqlite3.connect(":memory:")
    for statement in statements(upgrade_script("sqlite", since=None)):
        connection.execute(statement)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO flows (slot, lamports, quote, at_ms) VALUES (1, 'much', 2, 3)")
    connection.close()


def test_the_released_claim_function_is_the_one_the_code_expects() -> None:
    """The function is frozen in its revision; a change of a check needs a new revision and a new name."""
    found = list((Path(migrate.__code__.co_filename).parent / "migrations" / "versions").glob("*claim*.sql"))
    assert claim_function() in [path.read_text(encoding="utf-8") for path in found]


def dumped(server: Server, database: str) -> str:
    """Return a database's schema as pg_dump tells it, without what only a migrated one has."""
    if not (server.bin / "pg_dump").exists():
        pytest.skip("no pg_dump beside the server")
    text = subprocess.run(
        [
            str(server.bin / "pg_dump"),
            "--schema-only",
            "--no-owner",
            "-T",
            "alembic_version",
            "-d",
            server.url(database),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return "\n".join(line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


@pytest.mark.postgres
async def test_postgres_gets_from_every_revision_to_the_schema_of_the_code(postgres_server: Server) -> None:
    """Compared by pg_dump: columns, defaults, checks, indexes with their conditions, storage options, functions."""
    await run_sql(postgres_server, "CREATE DATABASE from_metadata")
    connection = await asyncpg.connect(postgres_server.url("from_metadata"))
    for table in metadata.sorted_tables:
        await connection.execute(str(CreateTable(table).compile(dialect=postgresql.dialect())))
        for index in table.indexes:
            await connection.execute(str(CreateIndex(index).compile(dialect=postgresql.dialect())))
    await connection.execute(claim_function())
    await connection.close()
    expected = dumped(postgres_server, "from_metadata")
    assert "ux_attempts_live" in expected
    for number, start in enumerate(STARTS):
        name = f"migrated_{number}"
        await run_sql(postgres_server, f"CREATE DATABASE {name}")
        if start is not None:
            connection = await asyncpg.connect(postgres_server.url(name))
            await connection.execute(upgrade_script("postgresql", since=None, to=start))
            await connection.close()
        settings = LedgerSettings.model_validate({"url": postgres_server.url(name)})
        ledger = open_ledger(settings, holder="me", clock=ManualClock(), paper=False)
        await ledger.open()
        await ledger.close()
        assert dumped(postgres_server, name) == expected, f"from {start}"
