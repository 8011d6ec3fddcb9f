"""
The shard row's lock, taken away: on PostgreSQL a write that compared the epoch commits after the next one was issued.

SQLite has one writer at a time, so this mutant lives on PostgreSQL alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from mutants.mutate import mutated_text
from mutants.stage import LIMITS, NOW_MS, adopt, an_order
from support.postgres import MISSING, Server, programs, server

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.domain.intents import IntentState
from tradingbot_engine.errors import Fenced, LedgerUnavailable
from tradingbot_engine.ledger import owning
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.port import Ledger, Move, Ownership
from tradingbot_engine.ledger.program import LOCK
from tradingbot_engine.settings import LedgerSettings

pytestmark = [pytest.mark.postgres, pytest.mark.skipif(programs() is None, reason=MISSING)]
TRIES = 5
"""On a busy machine a statement may run into the ledger's lock timeout of 0.5 s before the schedule is through: try again."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


async def _writes_under_old_epochs(postgres: Server, database: str) -> list[tuple[int, str]]:
    """
    Let the old owner compare the epoch, hold its write up on the intent's row, and let the successor take the shard meanwhile.

    Returns the writes that follow a newer epoch in the ledger's own order of writes.
    """
    admin = await asyncpg.connect(postgres.url())
    await admin.execute(f"CREATE DATABASE {database}")
    await admin.close()
    async with AsyncExitStack() as opened:
        url = postgres.url(database)

        async def engine(holder: str) -> Ledger:
            ledger = open_ledger(
                LedgerSettings.model_validate({"url": url}), holder=holder, clock=SystemClock(), paper=False
            )
            await ledger.open()
            opened.push_async_callback(ledger.close)
            return ledger

        old, new = await engine("old"), await engine("new")
        await adopt(old)
        ownership = await old.take((await old.shards())[0], holder="old", now_ms=NOW_MS)
        assert ownership is not None
        claim = await old.claim(an_order(), ownership=ownership, limits=LIMITS)
        assert claim.record is not None, claim.message

        row = (await new.shards())[0]
        watch = await asyncpg.connect(url)
        opened.push_async_callback(watch.close)
        third = await asyncpg.connect(url)
        opened.push_async_callback(third.close)
        async with third.transaction():
            await third.execute("SELECT 1 FROM intents FOR UPDATE")
            late = asyncio.create_task(_abandon(old, ownership, claim.record.intent.id))
            await _until(
                lambda: _waits(watch, "old"), late
            )  # it has compared the epoch, and waits for the intent's row
            take = asyncio.create_task(new.take(row, holder="new", now_ms=NOW_MS))
            await _until(lambda: _waits(watch, "new"), take)  # it has taken the shard, or waits for the shard's row
        await late
        assert (await take) is not None, "the successor must get the shard in any case"

        rows = await third.fetch("SELECT epoch, event FROM transitions ORDER BY seq")
    newest, bad = 0, []
    for epoch, event in rows:
        if epoch < newest:
            bad.append((epoch, event))
        newest = max(newest, epoch)
    return bad


async def _until(holds: Callable[[], Awaitable[bool]], task: asyncio.Task[Any]) -> None:
    """Wait until a condition holds, or the task is done anyway."""
    while not task.done() and not await holds():
        await asyncio.sleep(0.005)


async def _waits(watch: asyncpg.Connection, holder: str) -> bool:
    """Tell whether a session of that holder waits for a lock now."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'"
    return bool(await watch.fetchval(sql, holder))


async def _abandon(ledger: Ledger, ownership: Ownership, intent_id: str) -> None:
    move = Move(intent_id, IntentState.INTENT, 0, IntentEvent.ABANDON, NOW_MS)
    with contextlib.suppress(Fenced, LedgerUnavailable):
        await ledger.move(move, ownership=ownership)


async def test_without_the_shard_rows_lock_a_write_commits_after_the_next_epoch(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the lock the take-over waits for the write; without it, a row is written under epoch e after e + 1 was issued."""
    assert await _writes_under_old_epochs(postgres, "sound") == []

    monkeypatch.setattr(owning, "FENCE_SQL", mutated_text(owning.FENCE_SQL, LOCK, "", where="FENCE_SQL"))
    for n in range(TRIES):
        if found := await _writes_under_old_epochs(postgres, f"broken_{n}"):
            break
    assert found == [(1, "ABANDON")], "shard row not locked survives"
