"""
The engine's own command line with a strategy more that trades all the time, and leaks on purpose where a test asks for them.

SOAK_LEAK names what is lost every second, several with commas between: `task`, `memory`, `socket`, `file`, `thread`. A soak
that does not notice would be worth nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from chaos.metronome import Metronome

from tradingbot_engine.__main__ import main
from tradingbot_engine.core.strategies import registry
from tradingbot_engine.engine import Engine

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


registry.STRATEGIES[Metronome.name] = Metronome  # type: ignore[index]

if __name__ == "__main__":
    if asked := os.environ.get("SOAK_LEAK"):
        leak(asked.split(","))
    main()
