"""A protection broken on purpose, and a schedule that must notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from mutants.mutate import mutated

from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.permits import PermitMisused

Schedule = Callable[[], Awaitable[str]]
"""Returns what is wrong after it, "" if nothing is."""


class Mutant(NamedTuple):
    """`owner.function` with each (old, new) text replaced, under a schedule that the sound code passes."""

    name: str
    schedule: Schedule
    owner: Any
    function: str
    changes: tuple[tuple[str, str], ...]


async def wrong_under(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what the schedule finds wrong with the broken code."""
    owner = mutant.owner
    plain = getattr(owner, mutant.function)
    broken: Any
    if isinstance(plain, property):
        assert plain.fget is not None
        broken = property(mutated(plain.fget, ("@property", ""), *mutant.changes))
    else:
        broken = mutated(plain, *mutant.changes)
    monkeypatch.setattr(owner, mutant.function, broken)
    try:
        return await asyncio.wait_for(mutant.schedule(), 40)
    except (PermitMisused, TimeoutError, AssertionError, RpcError) as error:
        return f"{type(error).__name__}: {error}"
