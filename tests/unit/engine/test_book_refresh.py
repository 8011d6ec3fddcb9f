"""Fifty trades that end together read the positions once or twice, and none of them reads too early."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tradingbot_engine.book import Book


class Rows:
    """A ledger whose reading takes a moment, and shows what was committed when it began."""

    def __init__(self) -> None:
        self.committed, self.readings, self.fails = 0, 0, False

    async def positions(self) -> list[Any]:
        self.readings += 1
        now = self.committed
        await asyncio.sleep(0.01)
        if self.fails:
            raise OSError("away")
        return [SimpleNamespace(id="p", version=now)]


def book_on(rows: Rows) -> Book:
    return Book(
        ledger=rows,  # type: ignore[arg-type]
        bot=None,  # type: ignore[arg-type]
        risk=None,  # type: ignore[arg-type]
        emit=lambda _: None,
        event_time_ms=lambda: 0,
    )


async def test_whoever_asks_while_another_reads_sees_what_was_committed_before_it_asked() -> None:
    """A reading that began before the question is no answer to it; those who wait share the next one."""
    rows = Rows()
    book = book_on(rows)

    async def trade_ends(n: int) -> None:
        await asyncio.sleep(n / 5000)
        rows.committed = n
        await book.refresh()
        assert book.positions["p"].version >= n  # type: ignore[attr-defined]

    await asyncio.gather(*(trade_ends(n) for n in range(1, 51)))
    assert book.positions["p"].version == 50  # type: ignore[attr-defined]
    assert rows.readings <= 8


async def test_a_reading_that_failed_answers_nobody_who_waited() -> None:
    """The next in the queue reads for itself."""
    rows = Rows()
    book = book_on(rows)
    rows.fails = True
    first = asyncio.create_task(book.refresh())
    await asyncio.sleep(0)
    others = [asyncio.create_task(book.refresh()) for _ in range(3)]
    with pytest.raises(OSError, match="away"):
        await first
    rows.fails = False
    await asyncio.gather(*others, return_exceptions=True)
    assert rows.readings >= 2
    assert "p" in book.positions
