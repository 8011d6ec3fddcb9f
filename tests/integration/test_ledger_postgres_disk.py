"""PostgreSQL's ledger on a disk that is really full, and on pages that are really damaged: named, nothing half written, and on it goes."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import postgres
from support.ledgers import a_bot, a_risk, an_entry, claimed, limits, own, signed, step_of
from support.places import run_sql

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.core.intents import IntentEvent as E
from tradingbot_engine.errors import LedgerCorrupt, LedgerUnavailable
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.postgres import PostgresLedger

pytestmark = pytest.mark.postgres
DISK_FULL = "53100"
"""PostgreSQL's code; its words differ with what is left of a page."""


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    """A server of its own, with so few buffers that it soon asks the disk again."""
    if postgres.programs() is None:
        pytest.skip(postgres.MISSING)
    with postgres.server(shared_buffers="256kB") as running:
        yield running


@pytest.fixture
def small_disk(server: postgres.Server) -> Iterator[Path]:
    """A file system of 24 MiB that belongs to the server's user."""
    place = server.folder / "small"
    place.mkdir()
    owner = server.folder.stat()
    options = f"size=24m,uid={owner.st_uid},gid={owner.st_gid},mode=700"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this user may not mount a small file system: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        place.rmdir()


async def opened(server: postgres.Server, database: str) -> PostgresLedger:
    ledger = PostgresLedger(server.url(database), holder="me", clock=SystemClock(), paper=False)
    await ledger.open()
    await ledger.adopt_bot(a_bot(), risk=a_risk())
    return ledger


async def test_a_full_disk_is_named_undoes_the_whole_batch_and_passes(
    server: postgres.Server, small_disk: Path
) -> None:
    """Claims and moves that find no room were never written; what was answered stays; with room everything goes on by itself."""
    await run_sql(server, f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    await run_sql(server, "CREATE DATABASE cramped TABLESPACE small")
    ledger = await opened(server, "cramped")
    me = await own(ledger)
    first = await claimed(ledger, an_entry("first"), me)
    room = os.statvfs(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - 300_000))

    chance = random.Random(1)
    orders = [an_entry(n, mint=f"mint {n}", reason=chance.randbytes(12_000).hex()) for n in range(40)]
    results = await asyncio.gather(
        *(ledger.claim(order, ownership=me, limits=limits()) for order in orders), return_exceptions=True
    )
    refused = [r for r in results if isinstance(r, BaseException)]
    assert refused
    assert all(isinstance(r, LedgerUnavailable) and DISK_FULL in str(r) for r in refused), refused[0]
    for order, result in zip(orders, results, strict=True):
        assert (await ledger.intent(order.id) is None) == isinstance(result, BaseException)
    assert await violations(ledger) == []
    ballast.write_bytes(bytes(os.path.getsize(ballast) + os.statvfs(small_disk).f_bavail * room.f_frsize))
    step = step_of(first, E.ABANDON, reason=chance.randbytes(100_000).hex())
    with pytest.raises(LedgerUnavailable, match=DISK_FULL):
        await ledger.move(step, ownership=me)
    assert await ledger.intent(first.intent.id) == first
    assert await violations(ledger) == []

    ballast.unlink()
    for order, result in zip(orders, results, strict=True):
        if isinstance(result, BaseException):
            await claimed(ledger, order, me)
    assert await ledger.move(step, ownership=me) is not None
    assert len(await ledger.open_intents()) == len(orders)
    assert ledger.reconnections() == 0
    assert await violations(ledger) == []
    await ledger.close()


async def test_damaged_pages_are_corrupt(server: postgres.Server) -> None:
    """Told as what it is, also while running: no trade goes on from rows that cannot be read."""
    await run_sql(server, "CREATE DATABASE damaged")
    ledger = await opened(server, "damaged")
    me = await own(ledger)
    for n in range(40):
        await signed(ledger, await claimed(ledger, an_entry(n, mint=f"mint {n}"), me), me)
    ((name,),) = await run_sql(server, "SELECT pg_relation_filepath('intents')", database="damaged")
    await run_sql(server, "CHECKPOINT", database="damaged")
    path = server.folder / "data" / name
    path.write_bytes(b"\xab" * path.stat().st_size)
    for table in ("pg_proc", "pg_attribute", "pg_depend", "pg_description"):  # so that no page is in memory any more
        await run_sql(server, f"SELECT count(*) FROM {table} AS t WHERE t::text <> ''", database="damaged")
    with pytest.raises(LedgerCorrupt, match="restore a backup"):
        await ledger.open_intents()
    with pytest.raises(LedgerCorrupt):
        await ledger.claim(an_entry("late", mint="late"), ownership=me, limits=limits())
    assert (await ledger.bot()).name == a_bot().name
    await ledger.close()
