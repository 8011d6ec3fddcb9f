"""
Sessions with a PostgreSQL server: opened with the timeouts that keep a stopped process from blocking its successor, reused, and opened
again with backoff after they were lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from tradingbot_engine.clock import Clock
from tradingbot_engine.errors import LedgerUnavailable
from tradingbot_engine.ledger.postgres_errors import translated

if TYPE_CHECKING:
    from asyncpg import Connection, Record

    Session = Connection[Record]

SESSION_SETTINGS = {
    "lock_timeout": "500",
    "statement_timeout": "2000",
    "idle_in_transaction_session_timeout": "1000",
    "tcp_user_timeout": "3000",  # a client that was stopped while it received a result is ended by nothing else
    "default_transaction_isolation": "read committed",
    "synchronous_commit": "on",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",  # one row is looked up each time: planning anew would cost more than running
}
"""Milliseconds."""
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 5.0
"""Longer than any statement may take: beyond it the server or the network is gone."""
BACKOFF_S = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Sessions:
    """
    A few sessions for transactions of their own; `holder` names them, so that a successor can tell and end them.

    While the server is away, attempts to reach it are spaced by a growing backoff; in between the answer is
    LedgerUnavailable at once.
    """

    def __init__(self, url: str, *, holder: str, clock: Clock, size: int) -> None:
        self._url, self._holder, self._clock = url, holder, clock
        self._free: list[Session] = []
        self._all: set[Session] = set()
        self._slots = asyncio.Semaphore(size)
        self._faults = 0
        self._retry_at_s = 0.0
        self._why = ""
        self._closed = False

    async def connect(self) -> Session:
        """
        Return a new session.

        Raises:
            LedgerUnavailable: The server is away, or was a moment ago.
            PermanentError: It refuses us (password, database).
        """
        if self._clock.monotonic_s() < self._retry_at_s:
            raise LedgerUnavailable(self._why)
        try:
            session = await asyncpg.connect(
                self._url,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=ANSWER_TIMEOUT_S,
                server_settings={**SESSION_SETTINGS, "application_name": self._holder},
                target_session_attrs=SessionAttribute.primary,
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            self._faults += 1
            self._retry_at_s = self._clock.monotonic_s() + BACKOFF_S[min(self._faults, len(BACKOFF_S) - 1)]
            told = translated(error)
            self._why = str(told)
            raise told from error
        self._faults = 0
        self._all.add(session)
        return session

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Lend a session; it comes back only if its transaction ended in order."""
        async with self._slots:
            if self._closed:
                raise LedgerUnavailable("PostgreSQL: not open")
            session = self._usable() or await self.connect()
            try:
                yield session
            finally:
                if session.is_closed() or session.is_in_transaction() or self._closed:
                    self.drop(session)
                else:
                    self._free.append(session)

    def drop(self, session: Session) -> None:
        """End a session whose state is not known: the server undoes what it had not committed."""
        self._all.discard(session)
        session.terminate()

    async def close(self) -> None:
        self._closed = True
        for session in list(self._all):
            try:
                await session.close(timeout=1.0)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                session.terminate()
        self._all.clear()
        self._free.clear()

    def _usable(self) -> Session | None:
        while self._free:
            session = self._free.pop()
            if not session.is_closed():
                return session
            self._all.discard(session)
        return None
