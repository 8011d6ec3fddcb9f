"""
Named places on the trade path where a chaos run may kill the process.

Inert unless `TRADINGBOT_CRASH_AT` is set when the process starts (`name` or `name#n` for the n-th visit); a test shows that
a normal run never reads more than one dictionary entry here.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "claim:before",
    "claim:after",
    "signed:before",
    "signed:after",
    "send:before",
    "send:after",
    "submitted:after",
    "confirmed:before",
    "confirmed:after",
    "expired:before",
    "expired:after",
    "forked:after",
    "done:before",
    "done:after",
    "failed:after",
    "abandoned:after",
    "outbox:before",
    "take:after",
    "release:before",
)
"""Every name that `reached` is called with, in the order of a trade."""


def _parse(text: str | None) -> tuple[str, int] | None:
    if not text:
        return None
    name, _, count = text.partition("#")
    return name, int(count or 1)


_armed = _parse(os.environ.get("TRADINGBOT_CRASH_AT"))
_visits = 0


def reached(name: str) -> None:
    """Kill this process with SIGKILL if a chaos run armed the point `name`; otherwise do nothing."""
    global _visits
    if _armed is None or _armed[0] != name:
        return
    _visits += 1
    if _visits >= _armed[1]:
        os.kill(os.getpid(), signal.SIGKILL)
