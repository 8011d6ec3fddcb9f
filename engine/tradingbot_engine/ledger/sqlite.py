"""
The ledger in one SQLite file: one writer thread, WAL, `synchronous=FULL`, group commit.

Operations queue up while the disk is busy with a commit, and share the next one. One that fails does not undo its neighbours, and
none is answered before the commit that holds it is durable.

A file that is moved, deleted or replaced while it is open ends the ledger for good: every call raises LedgerCorrupt. It is never opened
anew under way, since beside another file lies this one's log (`-wal`), and nobody but a person knows which of them is the newest.
The same holds for a file that is overwritten in place, or found with a log that is not its own (`sqlite_log`).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.errors import EngineError, LedgerCorrupt, LedgerUnavailable, PermanentError
from tradingbot_engine.ledger import claiming
from tradingbot_engine.ledger.base import ProgramLedger
from tradingbot_engine.ledger.claiming import Wanted, apart, check_intent, claim_all
from tradingbot_engine.ledger.port import ClaimLimits, ClaimResult, Ownership
from tradingbot_engine.ledger.program import Program, run_sqlite
from tradingbot_engine.ledger.retention import KEEP_DAYS
from tradingbot_engine.ledger.sqlite_files import (
    check_same,
    connect,
    file_id,
    is_about_the_file,
    log_of,
    open_durable,
    set_log_aside,
    translated,
)
from tradingbot_engine.ledger.sqlite_log import MAX_VERSION, LogKeeper, check_log, seq_of_file

T = TypeVar("T")

BATCH = 128
"""Operations in one commit at most."""
MAX_WAITING = 20_000
"""Operations that may wait for the writer; more are refused, so that nothing grows without bound."""


@dataclass(slots=True)
class _Job:
    """A program on its way through the writer, and the future that waits for it."""

    program: Callable[[], Program[Any]]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    claim: Wanted | None = None
    """What the program claims, if it does: claims beside each other are judged and written together."""
    result: Any = None
    error: BaseException | None = None


class SqliteLedger(ProgramLedger):
    """See `ledger.port.Ledger`."""

    def __init__(self, path: Path, *, clock: Clock, batch: int = BATCH, keep_days: int = KEEP_DAYS) -> None:
        super().__init__(clock=clock, keep_days=keep_days)
        self._path = path
        self._batch = batch
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._gathered: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        self._writer: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._reading: sqlite3.Connection | None = None
        self._keeper: LogKeeper | None = None
        self._log_begins: int | None = None
        self._file: tuple[int, int] | None = None
        self._log: tuple[int, int] | None = None
        self._gone: LedgerCorrupt | None = None

    async def open(self) -> None:
        try:
            self._connection = await asyncio.to_thread(self._open)
            self._reading = await asyncio.to_thread(connect, self._path, read_only=True)
            self._keeper = await asyncio.to_thread(LogKeeper, self._path, whole=self._log_begins is not None)
            self._check_file()  # all connections lead to the file that was identified before them
        except BaseException as error:
            await self.close()
            if isinstance(error, sqlite3.Error):
                raise translated(error, self._path) from error
            if isinstance(error, OSError):
                raise LedgerUnavailable(f"{self._path}: {error.strerror}") from error
            raise
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-reader")
        self._writer = threading.Thread(target=self._write_forever, name="ledger-writer", daemon=True)
        self._writer.start()

    async def close(self) -> None:
        if self._writer is not None:
            self._hand_over(asyncio.get_running_loop())
            self._jobs.put(None)
            await asyncio.to_thread(self._writer.join)
            self._writer = None
        if self._readers is not None:
            await asyncio.to_thread(self._readers.shutdown)
            self._readers = None
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.close)
            self._keeper = None
        # The last one to close carries the log over, unless it only reads: into a file that is no longer ours nothing must go.
        ours = (self._reading, self._connection)
        for connection in ours if self._gone is None else reversed(ours):
            if connection is not None:
                await asyncio.to_thread(connection.close)
        self._reading = self._connection = None

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        self._gone, self._file = None, file_id(self._path)
        check_log(self._path)
        connection = open_durable(self._path)
        _, pages, carried = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._log_begins = seq_of_file(self._path) if pages == carried else None
        log = log_of(self._path)
        self._log = file_id(log) if log.exists() else None
        return connection

    def reconnections(self) -> int:
        return int(self._gone is not None)

    def _check_file(self) -> None:
        """Some microseconds, before and after each transaction; once it was another file, nothing makes it good again."""
        if self._gone is None:
            try:
                check_same(self._path, self._file)
                if self._keeper is not None:
                    self._keeper.file_changed()
            except LedgerCorrupt as error:
                self._gone = error
                set_log_aside(self._path, self._log)
        if self._gone is not None:
            raise LedgerCorrupt(str(self._gone))

    # --- writing
    async def claim(self, intent: OrderIntent, *, ownership: Ownership, limits: ClaimLimits) -> ClaimResult:
        check_intent(intent)
        wanted = Wanted(intent, ownership, limits)
        return await self._write(lambda: claiming.claim(intent, ownership=ownership, limits=limits), claim=wanted)

    async def _write(self, program: Callable[[], Program[T]], *, claim: Wanted | None = None) -> T:
        if self._writer is None:
            raise LedgerUnavailable(f"{self._path}: not open")
        if self._jobs.qsize() >= MAX_WAITING:
            raise LedgerUnavailable(f"{self._path}: {MAX_WAITING} operations wait for the disk")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        gathered = self._gathered.get(loop)
        if gathered is None:
            # What this turn of the loop asks for goes to the writer together: one by one, the first would get a commit of its own.
            gathered = self._gathered[loop] = []
            loop.call_soon(self._hand_over, loop)
        gathered.append(_Job(program, loop, future, claim))
        return await future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        for job in self._gathered.pop(loop, ()):
            self._jobs.put(job)

    def _write_forever(self) -> None:
        assert self._connection is not None
        stopping = False
        while not stopping:
            waiting = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while waiting[-1] is not None and len(waiting) < self._batch:
                    waiting.append(self._jobs.get_nowait())
            stopping = waiting[-1] is None
            jobs = [job for job in waiting if job is not None]
            if jobs:
                self._commit(self._connection, jobs)
                _answer(jobs)
                self._keep_log(self._connection, len(jobs))

    def _keep_log(self, connection: sqlite3.Connection, operations: int) -> None:
        """What fails here concerns no operation, and is met by the next one."""
        assert self._keeper is not None
        with contextlib.suppress(sqlite3.Error, LedgerCorrupt, OSError):
            begins = self._keeper.wrote(operations, connection)
            self._log_begins = begins if begins is not None else self._log_begins

    def _commit(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        """
        Run all jobs in one transaction; if the file fails them, none of them happened.

        Failing operations are rare: savepoints, a third of the cost of a small operation, are used only when one has failed.
        """
        assert self._keeper is not None
        try:
            self._check_file()
            restarts, changes = self._keeper.whole, connection.total_changes
            connection.execute("BEGIN IMMEDIATE")
            if not _run_all(connection, jobs):
                connection.execute("ROLLBACK")
                connection.execute("BEGIN IMMEDIATE")
                for job in jobs:
                    self._run(connection, job)
            if self._log_begins is not None:  # with the first of the log's transactions, not before: see `sqlite_log`
                connection.execute(f"PRAGMA user_version = {min(self._log_begins, MAX_VERSION)}")
            connection.execute("COMMIT")
            if restarts and connection.total_changes > changes:
                self._keeper.whole = False
            self._log_begins = None
            self._check_file()  # a commit that went into a file that is no longer the ledger was none
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            told = translated(error, self._path) if isinstance(error, sqlite3.Error) else error
            for job in jobs:
                job.error = told

    def _run(self, connection: sqlite3.Connection, job: _Job) -> None:
        """Run one job between savepoints: if it fails, its neighbours do not notice."""
        connection.execute("SAVEPOINT operation")
        try:
            job.result = run_sqlite(job.program(), connection)
        except Exception as error:
            if is_about_the_file(error) or not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO operation")
            job.error = translated(error, self._path) if isinstance(error, sqlite3.Error) else error
        connection.execute("RELEASE operation")

    # --- reading
    async def _read(self, program: Callable[[], Program[T]]) -> T:
        if self._readers is None:
            raise LedgerUnavailable(f"{self._path}: not open")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, program)

    def _look(self, program: Callable[[], Program[T]]) -> T:
        connection = self._reading
        if connection is None:
            raise LedgerUnavailable(f"{self._path}: not open")
        try:
            self._check_file()
            connection.execute("BEGIN")  # one state for all statements of the program
            try:
                return run_sqlite(program(), connection)
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise translated(error, self._path) from error


def _run_all(connection: sqlite3.Connection, jobs: list[_Job]) -> bool:
    """Run the jobs in their order; False if one of them failed, so that all must be undone and run one by one."""
    try:
        for claims, neighbours in groupby(jobs, lambda job: job.claim is not None):
            if claims:
                for group in apart(neighbours, _intent_of):
                    wanted = [job.claim for job in group if job.claim is not None]
                    for job, result in zip(group, run_sqlite(claim_all(wanted), connection), strict=True):
                        job.result = result
            else:
                for job in neighbours:
                    job.result = run_sqlite(job.program(), connection)
    except Exception as error:
        if is_about_the_file(error) or not connection.in_transaction:
            raise
        return False
    return True


def _intent_of(job: _Job) -> OrderIntent:
    assert job.claim is not None, "only claims are set apart"
    return job.claim.intent


def _answer(jobs: list[_Job]) -> None:
    """Resolve the futures in their loops, one call per loop and batch."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, mine in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue  # the caller gave up waiting; what was written stays written
        if job.error is None:
            job.future.set_result(job.result)
        elif isinstance(job.error, EngineError):
            job.future.set_exception(job.error)
        else:
            job.future.set_exception(PermanentError(f"{type(job.error).__name__}: {job.error}"))
