"""
Ledgers for tests, as a pytest plugin: `pytest_plugins = ["support.ledger_fixtures"]`, and never an import.

`ledger` is an open ledger with a bot, on SQLite and on PostgreSQL in turn; `place` is where it is kept, so that a test can open
it a second time as another process would.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support import postgres
from support.ledgers import a_bot, a_risk
from support.places import Place, postgres_place, sqlite_place

from tradingbot_engine.ledger.port import Ledger


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """One private server for the whole session."""
    if postgres.programs() is None:
        pytest.skip(postgres.MISSING)
    with postgres.server() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """An empty ledger's place, in each kind of database."""
    if request.param == "sqlite":
        async with sqlite_place(tmp_path) as found:
            yield found
    else:
        async with postgres_place(request.getfixturevalue("postgres_server")) as found:
            yield found


@pytest.fixture
async def pg_place(postgres_server: postgres.Server) -> AsyncIterator[Place]:
    async with postgres_place(postgres_server) as found:
        yield found


@pytest.fixture
async def ledger(place: Place) -> Ledger:
    """An open ledger with a bot of two shards and 100 SOL."""
    opened = await place.open()
    await opened.adopt_bot(a_bot(), risk=a_risk())
    return opened
