"""
The ledger in a PostgreSQL database, over asyncpg.

Claims of all tasks share one session and go in batches, one function call and one commit each; other transactions have a few
sessions of their own. Everything is READ COMMITTED: what a statement after a lock sees is what the lock's last holder left.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.errors import EngineError, Fenced, LedgerUnavailable, PermanentError
from tradingbot_engine.ledger import owning
from tradingbot_engine.ledger.base import ProgramLedger
from tradingbot_engine.ledger.checks import claim_values
from tradingbot_engine.ledger.claim_function import NAME, TEXT_VALUES, value_type
from tradingbot_engine.ledger.claiming import VALUE_NAMES, apart, check_intent, claimed, facts, open_twin, refused
from tradingbot_engine.ledger.port import ClaimLimits, ClaimOutcome, ClaimResult, Ownership, ShardRow
from tradingbot_engine.ledger.postgres_errors import translated
from tradingbot_engine.ledger.postgres_open import migrate
from tradingbot_engine.ledger.postgres_sessions import Sessions
from tradingbot_engine.ledger.program import Program, Row
from tradingbot_engine.ledger.retention import KEEP_DAYS

if TYPE_CHECKING:
    from tradingbot_engine.ledger.postgres_sessions import Session

T = TypeVar("T")

BATCH = 32
"""Claims in one transaction at most: it holds the bot's row from its first claim to its commit."""
# Arrays travel as their text: the driver would look at every element several times.
_ARRAYS = ", ".join(f"${n}::text::{value_type(name)}[]" for n, name in enumerate(VALUE_NAMES, start=1))
CLAIM_SQL = f"SELECT * FROM {NAME}({_ARRAYS})"  # noqa: S608  (names of this package)
MAX_WAITING = 20_000
SESSIONS = 8
"""For transactions other than claims."""
TAKE_TRIES = 8
"""How often a take-over meets a lock timeout (0.5 s each) before it gives up; after each it ends the old holder's sessions."""


@dataclass(slots=True)
class _Claim:
    """A claim on its way, and the future that waits for it."""

    intent: OrderIntent
    ownership: Ownership
    limits: ClaimLimits
    future: asyncio.Future[ClaimResult]


class PostgresLedger(ProgramLedger):
    """See `ledger.port.Ledger`."""

    shared = True

    def __init__(self, url: str, *, holder: str, clock: Clock, paper: bool, keep_days: int = KEEP_DAYS) -> None:
        super().__init__(clock=clock, keep_days=keep_days)
        self._url, self._holder, self._paper = url, holder, paper
        self._sessions: Sessions | None = None
        self._claims: asyncio.Queue[_Claim] = asyncio.Queue(MAX_WAITING)
        self._claimer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        sessions = Sessions(
            self._url, holder=self._holder, clock=self._clock, size=SESSIONS + 1, durable=not self._paper
        )
        try:
            async with sessions.session() as session:
                await migrate(session)
        except EngineError:
            await sessions.close()
            raise
        except Exception as error:
            await sessions.close()
            raise translated(error) from error
        self._sessions = sessions
        self._claimer = asyncio.create_task(self._claim_forever(sessions), name="ledger-claims")

    async def close(self) -> None:
        if self._claimer is not None:
            self._claimer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._claimer
            self._claimer = None
        while not self._claims.empty():
            _fail(self._claims.get_nowait(), LedgerUnavailable("PostgreSQL: closed"))
        if self._sessions is not None:
            await self._sessions.close()
            self._sessions = None

    def reconnections(self) -> int:
        return self._sessions.reconnections if self._sessions is not None else 0

    # --- transactions
    async def _write(self, program: Callable[[], Program[T]]) -> T:
        return await self._run(program)

    async def _read(self, program: Callable[[], Program[T]]) -> T:
        return await self._run(program, snapshot=True)

    async def _run(self, program: Callable[[], Program[T]], *, snapshot: bool = False) -> T:
        if self._sessions is None:
            raise LedgerUnavailable("PostgreSQL: not open")
        try:
            async with (
                self._sessions.session() as session,
                _ended(self._sessions, session),
                session.transaction(isolation="repeatable_read" if snapshot else "read_committed", readonly=snapshot),
            ):
                return await run_asyncpg(program(), session)
        except EngineError:
            raise
        except Exception as error:
            raise translated(error) from error

    # --- ownership
    async def take(self, seen: ShardRow, *, holder: str, now_ms: UnixMs) -> Ownership | None:
        for left in reversed(range(TAKE_TRIES)):
            try:
                return await self._write(lambda: owning.take(seen, holder=holder, now_ms=now_ms))
            except LedgerUnavailable:
                if not left:
                    raise
                if seen.holder and seen.holder != self._holder:
                    await self._end_sessions_of(seen.holder)
        raise AssertionError("unreachable")

    async def _end_sessions_of(self, holder: str) -> None:
        """A stopped process may sit on the shard's row in an open transaction; what it had not committed is undone."""
        assert self._sessions is not None
        with contextlib.suppress(Exception):  # not allowed, or gone: then its own timeouts end them
            async with self._sessions.session() as session:
                await session.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = $1 AND pid <> pg_backend_pid()",
                    holder,
                )

    # --- claims
    async def claim(self, intent: OrderIntent, *, ownership: Ownership, limits: ClaimLimits) -> ClaimResult:
        check_intent(intent)
        if self._claimer is None:
            raise LedgerUnavailable("PostgreSQL: not open")
        waiting = _Claim(intent, ownership, limits, asyncio.get_running_loop().create_future())
        try:
            self._claims.put_nowait(waiting)
        except asyncio.QueueFull:
            raise LedgerUnavailable(f"PostgreSQL: {MAX_WAITING} claims wait") from None
        result = await waiting.future
        if result.outcome is ClaimOutcome.KNOWN:
            return ClaimResult(ClaimOutcome.KNOWN, await self.intent(intent.id))
        return result

    async def _claim_forever(self, sessions: Sessions) -> None:
        while True:
            batch = [await self._claims.get()]
            while len(batch) < BATCH and not self._claims.empty():
                batch.append(self._claims.get_nowait())
            try:
                for group in apart(batch, lambda claim: claim.intent):
                    await self._claim_batch(sessions, group)
            except asyncio.CancelledError:
                for claim in batch:
                    _fail(claim, LedgerUnavailable("PostgreSQL: closed"))
                raise
            except Exception as error:
                for claim in batch:
                    _fail(claim, translated(error))

    async def _claim_batch(self, sessions: Sessions, batch: list[_Claim]) -> None:
        """Claim all in one transaction; if one of them cannot be held at all, each in its own."""
        try:
            rows = await self._call(sessions, batch)
        except PermanentError as error:
            if len(batch) == 1:
                _fail(batch[0], error)
            else:
                for claim in batch:
                    await self._claim_batch(sessions, [claim])
            return
        for row in rows:
            _answer(batch[row[0] - 1], row)

    async def _call(self, sessions: Sessions, batch: list[_Claim]) -> list[Row]:
        try:
            rows = [claim_values(claim.intent, claim.limits, claim.ownership) for claim in batch]
            columns = [
                texts_array([values[name] for values in rows])
                if name in TEXT_VALUES
                else f"{{{','.join([str(values[name]) for values in rows])}}}"
                for name in VALUE_NAMES
            ]
            async with sessions.session() as session, _ended(sessions, session):
                return [tuple(row) for row in await session.fetch(CLAIM_SQL, *columns)]
        except EngineError:
            raise
        except Exception as error:
            raise translated(error) from error


async def run_asyncpg(program: Program[T], session: Session) -> T:
    """Run a program on a session; the caller holds the transaction."""
    try:
        statement = next(program)
        while True:
            rows: list[Any] = []
            if statement.many is not None:
                await session.executemany(statement.sql, statement.many)
            else:
                rows = await session.fetch(statement.sql, *statement.params)
            statement = program.send(rows)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        program.close()


def texts_array(texts: list[str]) -> str:
    """Return PostgreSQL's text of an array of texts: within quotes only quotes and backslashes mean something."""
    escaped = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
    return '{"' + '","'.join(escaped) + '"}'


@contextlib.asynccontextmanager
async def _ended(sessions: Sessions, session: Session) -> Any:
    """A task that is cancelled, or gets no answer, leaves a session in an unknown state: end it."""
    try:
        yield
    except (asyncio.CancelledError, TimeoutError, OSError):
        sessions.drop(session)
        raise


def _answer(claim: _Claim, row: Row) -> None:
    outcome = row[1]
    if claim.future.done():
        return
    if outcome == "FENCED":
        _fail(claim, Fenced(f"shard {claim.ownership.shard} is no longer ours under epoch {claim.ownership.epoch}"))
    elif outcome == "NO_BOT":
        _fail(claim, LedgerUnavailable("the ledger holds no bot yet"))
    elif outcome == "KNOWN":
        claim.future.set_result(ClaimResult(ClaimOutcome.KNOWN))
    elif outcome == "CLAIMED":
        claim.future.set_result(claimed(claim.intent, ownership=claim.ownership, limits=claim.limits))
    else:
        told = row[2] if outcome == "REFUSED" else open_twin(claim.intent)
        values = claim_values(claim.intent, claim.limits, claim.ownership)
        claim.future.set_result(refused(told, values, facts(row[3:])))


def _fail(claim: _Claim, error: EngineError) -> None:
    if not claim.future.done():
        claim.future.set_exception(error)
