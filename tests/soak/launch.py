"""
The engine's own command line with a strategy more that trades all the time, and leaks on purpose where a test asks for them.

What has a bound is made small where no setting does it, so that it is full when the warm-up ends: what grows then, leaks.

SOAK_LEAK names what is lost every second, several with commas between: `task`, `memory`, `socket`, `file`, `thread`. A soak
that does not notice would be worth nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from chaos.metronome import Metronome

from tradingbot_engine import redact, tally
from tradingbot_engine.__main__ import main
from tradingbot_engine.core.strategies import registry
from tradingbot_engine.engine import Engine
from tradingbot_engine.ledger import sqlite_files

PAGE_CACHE_KIB = 256
"""Of each connection to SQLite, instead of 8 MiB, which take tens of thousands of trades to fill."""
REMEMBERED = 100
LEAKED_BYTES = 100_000
"""Kept every second by the leak of memory."""
_kept: list[Any] = []
_never = threading.Event()


def _thread() -> threading.Thread:
    thread = threading.Thread(target=_never.wait, daemon=True)
    thread.start()
    return thread


LEAKS: dict[str, Callable[[], Any]] = {
    "task": lambda: asyncio.create_task(asyncio.Event().wait()),
    "memory": lambda: bytearray(os.urandom(LEAKED_BYTES)),
    "socket": socket.socket,
    "file": lambda: os.open("/dev/null", os.O_RDONLY),
    "thread": _thread,
}


def leak(names: list[str]) -> None:
    """Lose one of each whenever the engine sets its gauges, which it does once a second."""
    gauge = Engine._gauge

    async def leaking(self: Engine) -> None:
        await gauge(self)
        _kept.extend(LEAKS[name]() for name in names)

    Engine._gauge = leaking  # type: ignore[method-assign]


def make_small() -> None:
    """Make caches small whose bound no setting states."""
    assert sqlite_files.CACHE_KIB > PAGE_CACHE_KIB
    assert tally._MEMORY > REMEMBERED
    sqlite_files.CACHE_KIB, tally._MEMORY = PAGE_CACHE_KIB, REMEMBERED
    redact._is_key = lru_cache(REMEMBERED)(redact._is_key.__wrapped__)


registry.STRATEGIES[Metronome.name] = Metronome  # type: ignore[index]

if __name__ == "__main__":
    make_small()
    if asked := os.environ.get("SOAK_LEAK"):
        leak(asked.split(","))
    main()
