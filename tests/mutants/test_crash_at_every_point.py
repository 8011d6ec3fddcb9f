"""
The process dies at each named point of a trade, whatever the chain makes of the attempt; its successor finishes the trade.

The table "the process dies / on chain? / what recovery does", row by row, on a scripted chain and a real ledger.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from mutants.stage import Crash, Stage, an_order, crash_at, open_stage

from tradingbot_engine.domain.intents import IntentState as S

NewStage = Callable[[], Awaitable[Stage]]
TRADE_POINTS = (
    "signed:before", "signed:after", "send:before", "send:after", "submitted:after", "confirmed:before",
    "confirmed:after", "expired:before", "expired:after", "forked:after", "done:before", "done:after", "failed:after",
    "abandoned:after",
)  # fmt: skip
BASIC = {"signed:before", "signed:after", "send:before", "send:after", "submitted:after"}
CONFIRMED = {"confirmed:before", "confirmed:after", "done:before", "done:after"}


def lands(stage: Stage) -> None:
    """Every attempt lands in the next block."""


def fails(stage: Stage) -> None:
    """The attempt lands with an error."""

    def fail() -> None:
        stage.chain.make(land=[s for s in dict.fromkeys(stage.chain.handed) if not stage.chain.where(s)], failed=True)
        stage.chain.make(6)

    stage.acts = [*[stage.chain.make] * 2, *[fail] * 1]


def is_dropped(stage: Stage) -> None:
    """No leader ever hears of the first attempt; the second one lands."""
    stage.acts = [lambda: stage.chain.make(40)] * 5


def is_dropped_for_good(stage: Stage) -> None:
    """No leader hears of any attempt."""
    stage.acts = [lambda: stage.chain.make(40)] * 60


def is_forked_away(stage: Stage) -> None:
    """Confirmed blocks are abandoned twice; then the same bytes land for good."""
    chain = stage.chain

    def confirm() -> None:
        chain.land_what_can()
        chain.make()

    def fork() -> None:
        chain.fork(chain.height - 2)
        chain.make(2)

    stage.acts = [confirm, lambda: None, lambda: None, fork, lambda: None] * 2


FATES = {
    lands: (BASIC | CONFIRMED, {S.DONE}),
    fails: (BASIC | {"failed:after"}, {S.FAILED, S.DONE}),
    is_dropped: (BASIC | CONFIRMED | {"expired:before", "expired:after"}, {S.DONE}),
    is_dropped_for_good: (BASIC | {"expired:before", "expired:after", "abandoned:after"}, {S.ABANDONED}),
    is_forked_away: (BASIC | CONFIRMED | {"forked:after"}, {S.DONE}),
}
"""What the chain does → (points that the trade passes, how it may end)."""


@pytest.fixture
async def new_stage(tmp_path: Path) -> AsyncIterator[NewStage]:
    opened: list[Stage] = []

    async def new() -> Stage:
        directory = tmp_path / str(len(opened))
        directory.mkdir()
        opened.append(await open_stage(directory))
        return opened[-1]

    yield new
    for stage in opened:
        await stage.ledger.close()


async def _trade(stage: Stage, monkeypatch: pytest.MonkeyPatch, *points: str) -> list[str]:
    """Trade once, dying at each of the points in turn; return the points at which it died."""
    died = []
    ownership = await stage.take("pod-0")
    record = await stage.claim(ownership, an_order())
    for n, point in enumerate(points):
        with monkeypatch.context() as dying:
            crash_at(dying, point)
            try:
                if n == 0:
                    await stage.drive(record, ownership)
                else:
                    await stage.resume(f"pod-{n}")
            except Crash:
                died.append(point)
    await stage.resume("last")
    return died


@pytest.mark.parametrize("fate", FATES, ids=lambda f: f.__name__)
async def test_a_trade_survives_the_death_of_its_process_at_every_point(
    fate: Callable[[Stage], None], new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing doubled, lost or phantom, nothing left open, whichever point it was; and each point really was passed."""
    wanted, ends = FATES[fate]
    died: set[str] = set()
    for point in TRADE_POINTS:
        stage = await new_stage()
        fate(stage)
        died |= set(await _trade(stage, monkeypatch, point))
        record = await stage.ledger.intent("a" * 32)
        assert record is not None
        assert record.state in ends, point
        assert not await stage.verdict(), point
    assert died == wanted


@pytest.mark.slow
@pytest.mark.parametrize("fate", FATES, ids=lambda f: f.__name__)
async def test_a_trade_survives_two_deaths_at_any_two_points(
    fate: Callable[[Stage], None], new_stage: NewStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The successor may die as well."""
    wanted, ends = FATES[fate]
    for first, second in itertools.product(sorted(wanted), repeat=2):
        stage = await new_stage()
        fate(stage)
        await _trade(stage, monkeypatch, first, second)
        record = await stage.ledger.intent("a" * 32)
        assert record is not None
        assert record.state in ends, (first, second)
        assert not await stage.verdict(), (first, second)
