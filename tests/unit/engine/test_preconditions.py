"""What a start waits for, what it tells meanwhile, and what ends the waiting."""

from __future__ import annotations

import asyncio

import pytest

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.errors import (
    EngineError,
    LedgerBehindChain,
    LedgerUnavailable,
    PermanentError,
    TemporaryError,
    WalletEmpty,
)
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.preconditions import Preconditions


class Step:
    """Fails with one error after the other, then succeeds."""

    def __init__(self, *errors: EngineError) -> None:
        self.errors = list(errors)
        self.tries = 0

    async def __call__(self) -> str:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_what_is_missing_is_told_one_at_a_time_until_nothing_is() -> None:
    """A reason that is over must not stand beside the next; an engine without its ledger is not ready, one without nodes is."""
    clock = ManualClock()
    life = Lifecycle(clock=clock)
    start = Preconditions(lifecycle=life, clock=clock)
    assert not start.able
    step = Step(LedgerUnavailable("away"), TemporaryError("no node answers"), WalletEmpty("0 SOL"))
    meeting = asyncio.create_task(start.met(step))
    seen = []
    for pause_s in (0.0, 1.0, 1.5, 2.25):
        await clock.advance(pause_s)
        seen.append(([reason.type for reason in life.reasons], start.able, step.tries))
    assert seen == [
        (["LedgerUnavailable"], False, 1),
        (["NoEndpoint"], True, 2),
        (["WalletEmpty"], True, 3),
        ([], True, 4),
    ]
    async with asyncio.timeout(5):
        assert await meeting == "done"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LedgerBehindChain("an old copy"), "LedgerBehindChain"),
        (PermanentError("no such mint"), "BadConfiguration"),
    ],
)
async def test_a_fatal_finding_is_told_and_never_tried_again(error: EngineError, reason: str) -> None:
    """Going on could lose or double a trade; the process stays up and says why."""
    clock = ManualClock()
    life = Lifecycle(clock=clock)
    step = Step(error)
    async with asyncio.timeout(5):
        assert await Preconditions(lifecycle=life, clock=clock).met(step) is None
    assert life.fatal is not None
    assert (life.fatal.type, life.fatal.message) == (reason, str(error))
    assert step.tries == 1
