"""The schema: from empty and from every older revision to the newest, and equal to what the code believes, on both databases."""

from __future__ import annotations

import asyncio
import json
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
from support.ledgers import a_bot, a_risk, an_entry, limits, own
from support.places import Place, run_sql
from support.postgres import Server

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.errors import LedgerCorrupt
from tradingbot_engine.ledger import claiming, moving, retention
from tradingbot_engine.ledger.book import position_view
from tradingbot_engine.ledger.checks import claim_values
from tradingbot_engine.ledger.claim_function import claim_function
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.migrate import HEAD, LedgerTooNew, revisions, upgrade_script
from tradingbot_engine.ledger.moving import intent_view
from tradingbot_engine.ledger.program import sqlite_text
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


FAILED_EXITS = [
    # created, ended, state, reason: a slip, one that sold something, another error, two slips, and two that say nothing of the price
    (1000, 1500, "FAILED", '{"InstructionError":[3,{"Custom":6001}]}'),
    (2000, 2500, "DONE", ""),
    (3000, 3500, "FAILED", '{"InstructionError":[3,{"Custom":16001}]}'),
    (4000, 4500, "FAILED", '{"InstructionError":[3,{"Custom":6001}]}'),
    (5000, 5500, "FAILED", '{"InstructionError": [3, {"Custom": 6001}]}'),
    (6000, 9000, "ABANDONED", "expired"),
]


def with_exits() -> list[str]:
    """Return SQL that writes, at revision 0001 or 0002, a position with the exits above."""
    order = "id, shard, epoch, strategy, mint, side, purpose, priority, position_id, amount_in, reserve_quote, reserve_lamports, "
    order += "max_slippage_bps, max_priority_fee_lamports, signal_at_ms, created_at_ms, price, signal_reason, state, attempt, reason, updated_at_ms"
    entry = "e" * 32
    found = [
        f"INSERT INTO intents ({order}) VALUES ('{entry}', 0, 1, 'm', 'x', 'BUY', 'ENTRY', 2, '{entry}', 9, 9, 0, 1, 1, 90, 90, 1.0, "
        "'', 'ABANDONED', 0, '', 95)",
        "INSERT INTO positions (id, shard, strategy, mint, state, opened_at_ms, entry_price, exit_failures) "
        f"VALUES ('{entry}', 0, 'm', 'x', 'OPEN', 90, 1.0, 5)",
    ]
    for n, (created, ended, state, reason) in enumerate(FAILED_EXITS):
        name = f"{n:032d}"
        found.append(
            f"INSERT INTO intents ({order}) VALUES ('{name}', 0, 1, 'm', 'x', 'SELL', 'EXIT', 1, '{entry}', 9, 0, 0, 1, 1, "
            f"{created - 100}, {created}, 1.0, '', '{state}', 1, '{reason}', {ended})"
        )
    found.append(
        "INSERT INTO fills (intent_id, attempt, position_id, signature, slot, block_time_ms, side, base_delta, quote_delta, "
        "lamport_delta, base_fee_lamports, priority_fee_lamports, tip_lamports, rent_lamports, finalized) "
        f"VALUES ('{1:032d}', 1, '{entry}', 's', 1, 1, 'SELL', -1, 1, 1, 0, 0, 0, 0, 1)"
    )
    return found


def of_the_code() -> tuple[int, int, int]:
    """Return what the code makes of the same exits."""
    entry = ("ENTRY", "ABANDONED", 9, 0, 0, 0, 0, 0, "", 90, 90, 95)
    rows = [
        ("EXIT", state, 0, 0, 0, 0, int(state == "DONE"), int(state == "DONE"), reason, created - 100, created, ended)
        for created, ended, state, reason in FAILED_EXITS
    ]
    view = position_view([intent_view(row) for row in (entry, *rows)], quote_is_sol=True)
    return view.exit_failures, view.exit_slips, view.exit_failed_at_ms


SLIPS_SQL = "SELECT exit_failures, exit_slips, exit_failed_at_ms FROM positions"


@pytest.mark.parametrize("start", ["0001", "0002"])
def test_sqlite_finds_out_how_often_the_exits_of_old_positions_slipped(tmp_path: Path, start: str) -> None:
    """As the code counts: only program error 6001, only since the last sale; all else about the position stays."""
    connection = at_revision(tmp_path / "ledger.db", start)
    connection.execute("PRAGMA foreign_keys = ON")
    for statement in with_exits():
        connection.execute(statement)
    migrate(connection, tmp_path / "ledger.db")
    assert connection.execute(SLIPS_SQL).fetchall() == [of_the_code()] == [(5, 2, 8900)]
    assert connection.execute("SELECT id, state, exit_open FROM positions").fetchall() == [("e" * 32, "OPEN", 0)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


@pytest.mark.postgres
@pytest.mark.parametrize("start", ["0001", "0002"])
async def test_postgres_finds_out_how_often_the_exits_of_old_positions_slipped(
    postgres_server: Server, start: str
) -> None:
    """The same."""
    await run_sql(postgres_server, f"CREATE DATABASE slips_{start}")
    connection = await asyncpg.connect(postgres_server.url(f"slips_{start}"))
    await connection.execute(upgrade_script("postgresql", since=None, to=start))
    for statement in with_exits():
        await connection.execute(statement)
    await connection.execute(upgrade_script("postgresql", since=start))
    assert [tuple(row) for row in await connection.fetch(SLIPS_SQL)] == [of_the_code()]
    await connection.close()


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
    assert claim_function() == claim_functions()[-1].read_text(encoding="utf-8")


def claim_functions() -> list[Path]:
    """Return the files of all released claim functions, oldest first."""
    return sorted((Path(migrate.__code__.co_filename).parent / "migrations" / "versions").glob("*claim*.sql"))


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
    for path in claim_functions():
        if path.read_text(encoding="utf-8") != claim_function():
            await connection.execute(path.read_text(encoding="utf-8"))  # stays for engines of the release before
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


@pytest.mark.postgres
async def test_an_engine_of_the_release_before_claims_beside_a_new_one(pg_place: Place) -> None:
    """The old function is still there, and judges by what the new one wrote, as the new one does by what it wrote."""
    ledger = await pg_place.open()
    await ledger.adopt_bot(a_bot(), risk=a_risk())
    me = await own(ledger)
    session = await asyncpg.connect(pg_place.url)

    async def old(*orders: OrderIntent) -> list[tuple[str, str]]:
        items = [claim_values(order, limits(), me) | {"ord": n, "quote": 0} for n, order in enumerate(orders)]
        rows = await session.fetch("SELECT * FROM claim_batch_v2($1)", json.dumps(items))
        return [(row["r_outcome"], row["r_reason"]) for row in rows]

    async def new(*orders: OrderIntent) -> list[tuple[str, str]]:
        results = await asyncio.gather(*(ledger.claim(order, ownership=me, limits=limits()) for order in orders))
        return [(result.outcome.value, result.reason) for result in results]

    first, second = (an_entry(n, mint=f"mint {n}") for n in range(2))
    assert await new(first) == await old(second) == [("CLAIMED", "")]
    for ask in (old, new):
        twins = [an_entry(f"{ask} {n}", mint=f"mint {n}") for n in range(2)]
        assert await ask(first, second, *twins) == [("KNOWN", "")] * 2 + [("REFUSED", "EntryOpen")] * 2
    await session.close()
    assert len(await ledger.open_intents()) == 2
    assert await violations(ledger) == []


def test_what_a_trade_asks_of_the_ledger_reads_no_table_from_end_to_end(tmp_path: Path) -> None:
    """An index that only some rows are in serves the statements that need it; the bot's own row is the only one of its table."""
    connection = open_durable(tmp_path / "ledger.db")
    asked = [claiming.VERDICT_SQL, claiming.FACTS_SQL, moving.INTENTS_OF_POSITION_SQL]
    asked += [
        retention.STEPS_SQL.format("$1, $2"),
        "SELECT signal_at_ms FROM intents WHERE position_id = $1 AND purpose = 'EXIT'",
    ]
    for sql in asked:
        values = [0] * max(int(number) for number in re.findall(r"\$(\d+)", sql))
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sqlite_text(sql)}", values).fetchall()
        assert [row[3] for row in plan if row[3].startswith("SCAN") and row[3] != "SCAN b"] == [], sql
    connection.close()
