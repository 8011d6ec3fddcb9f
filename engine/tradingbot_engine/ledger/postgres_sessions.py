"""
Sessions with a PostgreSQL server: opened with the timeouts that keep a stopped process from blocking its successor, reused, and opened
again with backoff after they were lost.

A session that is opened again may lead to another server (a promoted standby, a restored backup) that has forgotten commits: each new
one is checked before its first use, and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from tradingbot_engine.clock import Clock
from tradingbot_engine.errors import EngineError, LedgerNotDurable, LedgerUnavailable, PermanentError
from tradingbot_engine.ledger.postgres_errors import translated
from tradingbot_engine.ledger.postgres_open import check_durable, identity_of
from tradingbot_engine.ledger.postgres_url import MALFORMED, check_url

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
DURABLE_EVERY_S = 10.0
"""How long a server that was found durable is believed to be: standbys come and go while sessions live."""


class Sessions:
    """
    A few sessions for transactions of their own; `holder` names them, so that a successor can tell and end them.

    While the server is away, attempts to reach it are spaced by a growing backoff; in between the answer is
    LedgerUnavailable at once.

    Args:
        durable: Refuse sessions with a server that might forget an answered commit.
    """

    def __init__(self, url: str, *, holder: str, clock: Clock, size: int, durable: bool) -> None:
        self._url, self._holder, self._clock, self._durable = url, holder, clock, durable
        self._free: list[Session] = []
        self._all: set[Session] = set()
        self._slots = asyncio.Semaphore(size)
        self._faults = 0
        self._retry_at_s = 0.0
        self._why = ""
        self._closed = False
        self._server: str | None = None
        self._lost = False
        self._reconnections = 0
        self._durable_until_s = 0.0

    @property
    def reconnections(self) -> int:
        """How often a session was opened after others had been lost, or with another server than those before."""
        return self._reconnections

    async def connect(self) -> Session:
        """
        Return a new session; if it stands for a lost one, it is counted before anything can be done over it.

        Raises:
            LedgerUnavailable: The server is away, or was a moment ago.
            LedgerNotDurable: It might forget an answered commit.
            PermanentError: It refuses us (password, database), or the URL is malformed.
        """
        if self._clock.monotonic_s() < self._retry_at_s:
            raise LedgerUnavailable(self._why)
        try:
            session = await open_session(
                self._url,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=ANSWER_TIMEOUT_S,
                server_settings={**SESSION_SETTINGS, "application_name": self._holder},
                target_session_attrs=SessionAttribute.primary,
            )
        except EngineError as error:
            self._faults += 1
            self._retry_at_s = self._clock.monotonic_s() + BACKOFF_S[min(self._faults, len(BACKOFF_S) - 1)]
            self._why = str(error)
            raise
        try:
            if self._durable:
                await self._check_durable(session)
            server = await identity_of(session)
        except EngineError:
            session.terminate()
            raise
        except BaseException as error:
            session.terminate()
            if isinstance(error, Exception):
                raise translated(error) from error
            raise
        self._faults = 0
        if self._server is not None and (self._lost or server != self._server):
            self._reconnections += 1
            if server != self._server:
                for old in self._all:  # with a server that is no longer the one: nothing it still says may be used
                    old.terminate()
        self._server, self._lost = server, False
        self._all.add(session)
        session.add_termination_listener(self._on_end)
        return session

    async def _check_durable(self, session: Session) -> None:
        await check_durable(session)
        self._durable_until_s = self._clock.monotonic_s() + DURABLE_EVERY_S

    async def _still_durable(self, session: Session) -> None:
        if not self._durable or self._clock.monotonic_s() < self._durable_until_s:
            return
        try:
            await self._check_durable(session)
        except LedgerNotDurable:
            raise  # the session itself is in order, and the next one who asks is told the same
        except BaseException:
            self.drop(session)
            raise

    def _on_end(self, session: object) -> None:
        """Note that a session ended, by us or by the world: what stands for it later may be another server's."""
        self._lost = self._lost or not self._closed

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Lend a session; it comes back only if its transaction ended in order."""
        async with self._slots:
            if self._closed:
                raise LedgerUnavailable("PostgreSQL: not open")
            session = self._usable() or await self.connect()
            try:
                await self._still_durable(session)
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


async def open_session(url: str, **options: Any) -> Session:
    """
    Connect, saying nothing of the URL when it fails.

    Raises:
        LedgerUnavailable: The server is away.
        PermanentError: It refuses us, or the URL is malformed.
    """
    check_url(url)
    try:
        return await asyncpg.connect(url, **options)
    except ValueError:  # ClientConfigurationError among them; its text quotes the URL
        pass
    except Exception as error:
        raise translated(error) from error
    raise PermanentError(MALFORMED)  # outside of the handler: the driver's error must not hang on as its context either
