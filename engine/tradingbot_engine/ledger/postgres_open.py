"""What must hold before a PostgreSQL server keeps a ledger: durable commits, and the newest revision of the schema."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tradingbot_engine.errors import LedgerNotDurable
from tradingbot_engine.ledger.migrate import HEAD, upgrade_script

if TYPE_CHECKING:
    from tradingbot_engine.ledger.postgres_sessions import Session

_ONE_MIGRATES = 7_164_920_013
"""Key of the advisory lock under which a ledger is migrated."""
_PATIENT = (
    "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 10000; "
    "SET LOCAL idle_in_transaction_session_timeout = 60000"
)
_DURABLE_SQL = (
    "SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes, "
    "current_setting('synchronous_commit') AS level, current_setting('synchronous_standby_names') AS names, "
    "(SELECT count(*) FROM pg_stat_replication r WHERE coalesce(r.state, 'streaming') = 'streaming' "
    # A base backup streams its own log for as long as it runs; nobody promotes it as it is.
    "AND coalesce(r.application_name, '') <> 'pg_basebackup' AND NOT EXISTS "
    "(SELECT 1 FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')) AS standbys"
)
_IDENTITY_SQL = (
    "SELECT pg_postmaster_start_time()::text, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), "
    "(SELECT oid::text FROM pg_database WHERE datname = current_database())"
)


async def check_durable(session: Session) -> None:
    """
    Make sure that an answered commit stays, also on the standby that may be promoted.

    Raises:
        LedgerNotDurable: It might not, and why.
    """
    row = await session.fetchrow(_DURABLE_SQL)
    assert row is not None, "it selects one row"
    for name in ("fsync", "full_page_writes"):
        if row[name] != "on":
            raise LedgerNotDurable(f"PostgreSQL runs with {name} = off: a crash may lose answered commits")
    if row["level"] not in ("on", "remote_apply"):
        raise LedgerNotDurable(
            f"PostgreSQL answers commits before they are durable (synchronous_commit = {row['level']})"
        )
    if row["standbys"] and not str(row["names"]).strip():
        raise LedgerNotDurable(
            f"PostgreSQL has {row['standbys']} asynchronous standby(s): a promotion may lose answered commits; "
            "set synchronous_standby_names"
        )


async def identity_of(session: Session) -> str:
    """Return what differs between a server and the one that takes its place: its start, its timeline, its database."""
    row = await session.fetchrow(_IDENTITY_SQL)
    assert row is not None, "it selects one row"
    return "/".join(str(value) for value in row)


async def migrate(session: Session) -> None:
    """Bring the schema to the newest revision, in one transaction; of several processes one does it."""
    since = await revision_of(session)
    if since == HEAD:
        return
    # Rendered outside of the transaction: loading Alembic may take longer than a session may be idle in one.
    script = await asyncio.to_thread(upgrade_script, "postgresql", since=since)
    async with session.transaction():
        await session.execute(_PATIENT)
        await session.execute(f"SELECT pg_advisory_xact_lock({_ONE_MIGRATES})")
        now = await revision_of(session)
        if now != since:  # another process was first
            script = upgrade_script("postgresql", since=now)
        if script:
            await session.execute(script, timeout=60)


async def revision_of(session: Session) -> str | None:
    """Return the revision of the ledger that the session sees, None if there is none yet."""
    if await session.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None
    found = await session.fetchval("SELECT version_num FROM alembic_version")
    return None if found is None else str(found)
