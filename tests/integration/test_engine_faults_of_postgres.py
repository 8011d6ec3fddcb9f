"""The PostgreSQL behind an engine stands still while that drains: it ends in time, says what is open, and loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support import postgres
from support.fault_stage import ALL_NODES, PENDING, localnet, rows_of_postgres, stage

TRADE_S, FORCE_S = 3, 9
SLACK_S = 15
"""What closing may take beyond the force timeout, on a busy machine; without an end the engine would stay for ever."""
SESSIONS_SQL = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


@pytest.fixture
def database() -> Iterator[postgres.Server]:
    if postgres.programs() is None:
        pytest.skip(postgres.MISSING)
    with postgres.server() as running:
        yield running


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def standing_still(pids: list[int]) -> Iterator[None]:
    """Stop the processes, and let them go on afterwards.

    A server has short-lived workers: one that had ended before it was stopped is waited for by its parent as soon as that goes on.
    """
    assert pids
    try:
        for pid in pids:
            signalled(pid, signal.SIGSTOP)
        assert any(Path(f"/proc/{pid}").exists() for pid in pids), "nothing stands still"
        yield
    finally:
        for pid in pids:
            signalled(pid, signal.SIGCONT)


def signalled(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@pytest.mark.parametrize("stopped", ["its sessions", "the whole server"])
async def test_a_postgresql_that_stands_still_during_a_drain_costs_no_more_than_the_force_timeout(
    line, tmp_path, database, stopped
):
    """Exit code 3 and the number of open trades in the log; the next engine brings them to their end: 0/0/0."""
    ledger = {"sqlite_path": None, "url": database.url()}
    shutdown = {"trade_timeout_s": TRADE_S, "force_timeout_s": FORCE_S}
    async with stage(line, tmp_path, ledger=ledger, shutdown=shutdown) as bot:
        await bot.start()
        await bot.trading()
        await bot.fault("drop_send", nodes=ALL_NODES)
        await bot.until(lambda s: s["intents"].get("SUBMITTED", 0) + s["intents"].get("SIGNED", 0) > 0)
        assert bot.process is not None
        bot.process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        await bot.until(lambda s: s["phase"] == "DRAINING", every_s=0.02)
        sessions = [row[0] for row in rows_of_postgres(database.url(), SESSIONS_SQL)]
        pids = sessions if stopped == "its sessions" else [database.pid, *children_of(database.pid)]
        with standing_still(pids):
            assert bot.process.returncode is None, "it was gone before anything stood still"
            code = await asyncio.wait_for(bot.process.wait(), FORCE_S + SLACK_S)
            took_s = time.monotonic() - began_s
        assert code == 3
        assert took_s < FORCE_S + SLACK_S
        (told,) = [line["open_intents"] for line in bot.log() if line.get("event") == "drained"]
        left = bot.rows(f"SELECT count(*) FROM intents WHERE state IN {PENDING}")[0][0]
        # A session that woke up still carries out what had reached it: the engine counted as open what it was not told the end of.
        assert told >= left > 0
        proof = await bot.prove()
        assert proof["filled"] > 0
