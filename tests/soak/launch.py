"""
The engine's own command line with a strategy more that trades all the time, and leaks on purpose where a test asks for them.

What has a bound is made small where no setting does it, so that it is full when the warm-up ends: what grows then, leaks.

SOAK_LEAK names what is lost every second, several with commas between: `task`, `memory`, `socket`, `file`, `thread`;
`socket/60` is lost once a minute. A soak that does not notice would be worth nothing.

It also tells what a soak cannot see from outside: how many connections the pools of HTTP clients hold, in use and for later
use. They come and go by the dozen with the load, and would hide a socket a minute; what they do not hold is always the same.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from weakref import WeakSet

import aiohttp
from chaos.metronome import Metronome
from prometheus_client import Gauge
from soak.sample import descriptors as descriptors_of

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
_connectors: WeakSet[aiohttp.BaseConnector] = WeakSet()
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
    """Lose one of each, at its pace, when the engine sets its gauges, which it does once a second."""
    gauge, began_s = Engine._gauge, time.monotonic()
    paces_s = {name: float(every or 0) for name, _, every in (spec.partition("/") for spec in names)}
    due_s = {name: began_s + pace_s for name, pace_s in paces_s.items()}

    async def leaking(self: Engine) -> None:
        await gauge(self)
        now_s = time.monotonic()
        for name in [name for name, at_s in due_s.items() if at_s <= now_s]:
            due_s[name] += paces_s[name]
            _kept.append(LEAKS[name]())

    Engine._gauge = leaking  # type: ignore[method-assign]


def tell_connections() -> None:
    """Put into the engine's metrics what its HTTP clients hold, and what is open beside that, counted at one moment."""
    gauge, make = Engine._gauge, aiohttp.BaseConnector.__init__
    gauges: dict[str, Gauge] = {}

    def remembered(self: aiohttp.BaseConnector, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        _connectors.add(self)

    async def telling(self: Engine) -> None:
        await gauge(self)
        if not gauges:
            for name in ("soak_connections", "soak_sockets_unpooled", "soak_descriptors_unpooled"):
                gauges[name] = Gauge(name, "For the soak.", registry=self._metrics.registry)
        pooled = sum(len(c._acquired) + sum(map(len, c._conns.values())) for c in _connectors)
        descriptors, sockets = descriptors_of(os.getpid())
        gauges["soak_connections"].set(pooled)
        gauges["soak_sockets_unpooled"].set(sockets - pooled)
        gauges["soak_descriptors_unpooled"].set(descriptors - pooled)

    aiohttp.BaseConnector.__init__ = remembered  # type: ignore[method-assign]
    Engine._gauge = telling  # type: ignore[method-assign]


def make_small() -> None:
    """Make caches small whose bound no setting states."""
    assert sqlite_files.CACHE_KIB > PAGE_CACHE_KIB
    assert tally._MEMORY > REMEMBERED
    sqlite_files.CACHE_KIB, tally._MEMORY = PAGE_CACHE_KIB, REMEMBERED
    redact._is_key = lru_cache(REMEMBERED)(redact._is_key.__wrapped__)


registry.STRATEGIES[Metronome.name] = Metronome  # type: ignore[index]

if __name__ == "__main__":
    make_small()
    tell_connections()
    if asked := os.environ.get("SOAK_LEAK"):
        leak(asked.split(","))
    main()
