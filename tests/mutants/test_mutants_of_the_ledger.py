"""
The ledger's compares, locks and indexes, broken one at a time in the real SQL; a directed schedule kills each.

Tasks are played by hand: what a task would ask of the ledger after its evidence, in the order that the model check found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from mutants.mutate import MutationMissing, mutated_text
from mutants.stage import LIMITS, NOW_MS, Stage, an_exit, an_order, open_stage

from tradingbot_engine.core.intents import TABLE, IntentEvent
from tradingbot_engine.domain.intents import IntentRecord
from tradingbot_engine.domain.intents import IntentState as S
from tradingbot_engine.errors import EngineError, Fenced
from tradingbot_engine.ledger import checks, claiming, moving, owning
from tradingbot_engine.ledger.port import ClaimOutcome, Move, Ownership

E = IntentEvent
Patch = Callable[[pytest.MonkeyPatch], None]
Schedule = Callable[["Played"], Awaitable[None]]


# --- how to break what
def sql(module: object, name: str, old: str, new: str) -> Patch:
    """Change the text of a statement."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, name, mutated_text(getattr(module, name), old, new, where=name))

    return patch


def without_claim_check(reason: str) -> Patch:
    """Leave one check of an exit's claim out."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        if reason not in dict(checks.EXIT_CHECKS):
            raise MutationMissing(f"the claim of an exit does not check {reason}")
        monkeypatch.setattr(checks, "EXIT_CHECKS", tuple(c for c in checks.EXIT_CHECKS if c[0] != reason))
        names = claiming.VERDICT_NAMES
        verdict = checks.verdict_sql(lambda name: f"${names.index(name) + 1}")
        assert reason not in verdict
        monkeypatch.setattr(claiming, "VERDICT_SQL", verdict)

    return patch


def row(state: S, event: IntentEvent, target: S) -> Patch:
    """Add a row to the state table that must not be there."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        assert (state, event) not in TABLE
        monkeypatch.setitem(TABLE, (state, event), target)

    return patch


# --- playing a task
@dataclass
class Played:
    """A stage, its ledger file, and indexes that are gone."""

    stage: Stage
    path: Path

    async def signed(self, record: IntentRecord, ownership: Ownership) -> IntentRecord | None:
        """Journal the next attempt of `record`, and let its bytes leave if that was committed."""
        quote = await self.stage.executor.quote(record.intent)
        attempt = await self.stage.executor.prepare(record, quote, epoch=ownership.epoch, now_ms=NOW_MS)
        moved = await self.move(record, ownership, E.SIGN, new_attempt=attempt)
        if moved is not None:
            await self.stage.executor.send(attempt, first=True)
        return moved

    async def move(
        self, record: IntentRecord, ownership: Ownership, event: IntentEvent, **what: object
    ) -> IntentRecord | None:
        """Ask for one move on the strength of what `record` says, as a task does that read it then."""
        step = Move(record.intent.id, record.state, record.attempt, event, NOW_MS, **what)  # type: ignore[arg-type]
        return await self.stage.ledger.move(step, ownership=ownership)

    def late(self) -> None:
        """Make blocks until nothing that was handed over can land any more."""
        self.stage.chain.make(160)

    def drop_index(self, name: str) -> None:
        with closing(sqlite3.connect(self.path)) as db:
            found = db.execute(
                "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name = ?", (name,)
            ).fetchone()
            if found != (1,):
                raise MutationMissing(f"the ledger has no index {name}")
            db.execute(f"DROP INDEX {name}")

    async def verdict(self) -> set[str]:
        """Return the names of the promises that chain and ledger break together."""
        found = set(await self.stage.verdict())
        if self.written_under_old_epochs():
            found.add("old epoch")
        return found

    def written_under_old_epochs(self) -> int:
        """Return how many rows were written under epoch e after e + 1 was issued, from the ledger's own order of writes."""
        with closing(sqlite3.connect(self.path)) as db:
            rows = db.execute("SELECT shard, epoch FROM transitions ORDER BY seq").fetchall()
        newest: dict[int, int] = {}
        bad = 0
        for shard, epoch in rows:
            bad += epoch < newest.get(shard, 0)
            newest[shard] = max(epoch, newest.get(shard, 0))
        return bad


# --- schedules
async def two_tasks_prove_the_same_attempt(played: Played) -> None:
    """Both tasks prove attempt 1 expired; one goes on to attempt 2 before the other writes."""
    stage = played.stage
    ownership = await stage.take("only")
    first = await played.signed(await stage.claim(ownership, an_order()), ownership)
    assert first is not None
    played.late()
    expired = await played.move(first, ownership, E.EXPIRE)
    assert expired is not None
    second = await played.signed(expired, ownership)
    assert second is not None
    again = await played.move(first, ownership, E.EXPIRE)  # the other task's proof is about attempt 1
    if again is not None:
        await played.move(again, ownership, E.ABANDON)
    stage.chain.make(land=[second.current.signature] if second.current else [])
    await stage.resume("next")


async def a_task_gives_up_what_another_has_sent(played: Played) -> None:
    """One task read the row before it was signed, and abandons it after the other has sent it."""
    stage = played.stage
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    assert await played.signed(record, ownership) is not None
    await played.move(record, ownership, E.ABANDON)
    await stage.resume("next")


async def a_second_attempt_beside_a_living_one(played: Played) -> None:
    """A task wants to sign again although the first attempt may still land."""
    stage = played.stage
    ownership = await stage.take("only")
    first = await played.signed(await stage.claim(ownership, an_order()), ownership)
    assert first is not None
    with suppress(EngineError):
        await played.signed(first, ownership)
    await stage.resume("next")


async def a_zombie_writes_after_the_take_over(played: Played) -> None:
    """The shard is taken by a successor; the old process wakes up and writes what it was about to write."""
    stage = played.stage
    old = await stage.take("old")
    record = await stage.claim(old, an_order())
    await stage.take("new")
    with suppress(Fenced):
        await played.move(record, old, E.ABANDON)


async def a_zombie_proves_an_attempt_that_its_successor_replaced(played: Played) -> None:
    """The old process wakes up with proof about attempt 1, when its successor has sent attempt 2."""
    stage = played.stage
    old = await stage.take("old")
    first = await played.signed(await stage.claim(old, an_order()), old)
    assert first is not None
    played.late()
    new = await stage.take("new")
    expired = await played.move(first, new, E.EXPIRE)
    assert expired is not None
    second = await played.signed(expired, new)
    assert second is not None
    with suppress(Fenced):
        again = await played.move(first, old, E.EXPIRE)
        if again is not None:
            await played.move(again, old, E.ABANDON)
    await stage.resume("third")


async def two_exits_of_one_position(played: Played) -> None:
    """Two events ask for the sale of the same position before either is done."""
    stage = played.stage
    ownership = await stage.take("only")
    await stage.drive(await stage.claim(ownership, an_order("a")), ownership)
    one = await stage.claim(ownership, an_exit("b", "a"))
    two = await stage.ledger.claim(an_exit("c", "a"), ownership=ownership, limits=LIMITS)
    assert await played.signed(one, ownership) is not None
    if two.outcome is ClaimOutcome.CLAIMED and two.record is not None:
        await played.signed(two.record, ownership)
    stage.chain.land_what_can()
    await stage.resume("next")


async def exits_that_landed(played: Played) -> set[str]:
    sold = [s for b in played.stage.chain.blocks for s in b.landed if s[0] in "bc"]
    return {"two exits"} if len(sold) > 1 else set()


# --- the mutants
STATE_AND_ATTEMPT = sql(moving, "COMPARE_SQL", "AND state = $8 AND attempt = $9", "AND length($8) > 0 AND $9 >= 0")
NO_EPOCH = sql(owning, "FENCE_SQL", "AND holder = $2 AND epoch = $3", "AND length($2) > 0 AND $3 >= 0")


@dataclass(frozen=True)
class Mutant:
    """`also` and `also_without_index` break the baseline too: a second line of defence that would hide the rule under test."""

    name: str
    violates: str
    schedule: Schedule
    patches: tuple[Patch, ...] = ()
    without_index: str = ""
    also: tuple[Patch, ...] = ()
    also_without_index: str = ""


MUTANTS = [
    Mutant(
        "attempt left out of the compare", "lost", two_tasks_prove_the_same_attempt,
        (sql(moving, "COMPARE_SQL", "AND attempt = $9", "AND $9 >= 0"),),
    ),
    Mutant("state and attempt left out of the compare", "lost", a_task_gives_up_what_another_has_sent, (STATE_AND_ATTEMPT,)),
    Mutant(
        "unique index on living attempts removed", "doubled", a_second_attempt_beside_a_living_one,
        without_index="ux_attempts_live", also=(row(S.SIGNED, E.SIGN, S.SIGNED),),
    ),
    Mutant("epoch comparison removed", "old epoch", a_zombie_writes_after_the_take_over, (NO_EPOCH,)),
    Mutant(
        "epoch and attempt left out", "lost", a_zombie_proves_an_attempt_that_its_successor_replaced,
        (NO_EPOCH, sql(moving, "COMPARE_SQL", "AND attempt = $9", "AND $9 >= 0")),
    ),
    Mutant(
        "claim that does not check the open exit", "two exits", two_exits_of_one_position,
        (without_claim_check("ExitOpen"),), also_without_index="ux_intents_open_exit",
    ),
    Mutant(
        "unique index on open exits removed", "two exits", two_exits_of_one_position,
        without_index="ux_intents_open_exit", also=(without_claim_check("ExitOpen"),),
    ),
]  # fmt: skip


@pytest.fixture
async def new_stage(tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Played]]]:
    """Open stages, each over a new ledger."""
    opened: list[Stage] = []

    async def new() -> Played:
        directory = tmp_path / str(len(opened))
        directory.mkdir()
        opened.append(await open_stage(directory))
        return Played(opened[-1], directory / "ledger.sqlite")

    yield new
    for stage in opened:
        await stage.ledger.close()


async def _play(mutant: Mutant, played: Played) -> set[str]:
    if mutant.also_without_index:
        played.drop_index(mutant.also_without_index)
    await mutant.schedule(played)
    return await played.verdict() | await exits_that_landed(played)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
async def test_a_mutant_of_the_ledger_is_killed_by_its_schedule(
    mutant: Mutant, new_stage: Callable[[], Awaitable[Played]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger as it is passes the schedule; broken, it violates the property."""
    for patch in mutant.also:
        patch(monkeypatch)
    verdict = await _play(mutant, await new_stage())
    assert not verdict, f"the ledger as it is fails the schedule: {verdict}"

    for patch in mutant.patches:
        patch(monkeypatch)
    played = await new_stage()
    if mutant.without_index:
        played.drop_index(mutant.without_index)
    verdict = await _play(mutant, played)
    assert mutant.violates in verdict, f"{mutant.name} survives: {verdict or 'nothing is violated'}"
