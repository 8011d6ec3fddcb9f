"""Crash points are inert unless a chaos run arms one before the process starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tradingbot_engine import crashpoint

ENGINE = Path(crashpoint.__file__).parent
CALL = re.compile(r"crashpoint\.reached\(\"([^\"]+)\"\)")
TABLE = re.compile(r"\"([a-z]+:(?:before|after))\"")


def test_without_the_switch_no_point_does_anything() -> None:
    """A normal process passes every point any number of times."""
    assert "TRADINGBOT_CRASH_AT" not in os.environ
    for name in crashpoint.POINTS:
        for _ in range(100):
            crashpoint.reached(name)
    assert crashpoint._armed is None
    assert crashpoint._visits == 0


@pytest.mark.parametrize(("switch", "survives"), [("", 3), ("send:before", 0), ("send:before#3", 2)])
def test_the_switch_kills_at_the_named_visit_of_the_named_point(switch: str, survives: int) -> None:
    """An armed process dies by SIGKILL at that visit and at no other point; an empty switch is no switch."""
    program = (
        "from tradingbot_engine import crashpoint\n"
        "for n in range(3):\n"
        "    [crashpoint.reached(p) for p in crashpoint.POINTS if p != 'send:before']\n"
        "    crashpoint.reached('send:before')\n"
        "    print(n, flush=True)\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "TRADINGBOT_CRASH_AT"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env | {"TRADINGBOT_CRASH_AT": switch}, capture_output=True, check=False
    )
    assert len(done.stdout.split()) == survives
    assert done.returncode == (0 if survives == 3 else -signal.SIGKILL)


def test_every_point_is_on_the_trade_path_and_every_visit_is_a_known_point() -> None:
    """A chaos run that arms a name can reach it; a name that nobody calls would be coverage on paper."""
    used: set[str] = set()
    for path in ENGINE.rglob("*.py"):
        if path.name == "crashpoint.py":
            continue
        text = path.read_text(encoding="utf-8")
        used |= set(CALL.findall(text))
        if "crashpoint.reached(_POINT" in text:
            used |= set(TABLE.findall(text))
    assert used == set(crashpoint.POINTS)


def test_only_the_crash_point_module_reads_the_switch() -> None:
    """No other line of the engine knows of chaos runs."""
    readers = [p.name for p in ENGINE.rglob("*.py") if "TRADINGBOT_CRASH_AT" in p.read_text(encoding="utf-8")]
    assert readers == ["crashpoint.py"]
