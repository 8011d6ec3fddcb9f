"""
The protocol's rules about chain and driver, broken one at a time in the real code; a directed schedule kills each.

Every schedule runs twice: the code as it is passes it, the mutant violates the property that is named. The schedules are
the shortest traces that the model check found, told to the real driver, the real evidence and a real SQLite ledger.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from mutants.mutate import mutated
from mutants.stage import Crash, Stage, an_order, crash_at, open_stage

from tradingbot_engine.core import proof
from tradingbot_engine.core.intents import TABLE, IntentEvent
from tradingbot_engine.domain.intents import IntentState as S
from tradingbot_engine.execution import trade
from tradingbot_engine.execution.evidence import EvidenceGatherer
from tradingbot_engine.execution.trade import TradeDriver

Patch = Callable[[pytest.MonkeyPatch], None]
Schedule = Callable[[Stage, pytest.MonkeyPatch], Awaitable[None]]


# --- how to break what
def check(name: str, *changes: tuple[str, str]) -> Patch:
    """Change the text of one check of rule E."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        known = dict(proof.EXPIRY_CHECKS)
        changed = mutated(known[name], *changes)
        monkeypatch.setattr(
            proof, "EXPIRY_CHECKS", tuple((n, changed if n == name else f) for n, f in proof.EXPIRY_CHECKS)
        )

    return patch


def without_check(name: str) -> Patch:
    """Leave one check of rule E out."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        assert name in dict(proof.EXPIRY_CHECKS)
        monkeypatch.setattr(proof, "EXPIRY_CHECKS", tuple(c for c in proof.EXPIRY_CHECKS if c[0] != name))

    return patch


def method(owner: type, name: str, *changes: tuple[str, str]) -> Patch:
    """Change the text of a method."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(owner, name, mutated(getattr(owner, name), *changes))

    return patch


def function(where: object, name: str, *changes: tuple[str, str]) -> Patch:
    """Change the text of a function in the module that uses it."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(where, name, mutated(getattr(where, name), *changes))

    return patch


def row(state: S, event: IntentEvent, target: S) -> Patch:
    """Let a row of the state table lead elsewhere."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        assert (state, event) in TABLE
        monkeypatch.setitem(TABLE, (state, event), target)

    return patch


# --- schedules
async def dies_before_the_journal(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies just before SIGNED is committed; its successor signs anew."""
    ownership = await stage.take("first")
    record = await stage.claim(ownership, an_order())
    with monkeypatch.context() as dying:
        crash_at(dying, "signed:before")
        with pytest.raises(Crash):
            await stage.drive(record, ownership)
    stage.chain.land_what_can()
    await stage.resume("second")


async def lands_on_the_fork_that_wins(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processed height passes L on a fork without the transaction; the fork that wins holds it at L + 1."""
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    chain = stage.chain

    def pass_l() -> None:
        chain.make(chain.last_valid[chain.handed[0]] + 2 - chain.height)

    def other_fork() -> None:
        chain.fork(chain.last_valid[chain.handed[0]])
        chain.make(land=[chain.handed[0]])

    stage.acts = [lambda: None, pass_l, lambda: None, lambda: None, other_fork]
    await stage.drive(record, ownership)


async def final_height_stands_at_l(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finalized height is exactly L while the status is null; then a fork puts the transaction into block L + 1."""
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    chain = stage.chain

    def stand_at_l() -> None:
        l_height = chain.last_valid[chain.handed[0]]
        while chain.finalized.height < l_height:
            chain.make()
        assert chain.finalized.height == l_height

    def other_fork() -> None:
        chain.fork(chain.last_valid[chain.handed[0]])
        chain.make(land=[chain.handed[0]])

    stage.acts = [lambda: None, stand_at_l, lambda: None, lambda: None, other_fork]
    await stage.drive(record, ownership)


async def one_backend_sits_on_a_dead_fork(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind one URL, heights and blocks come from a good node, statuses from one that a fork left behind."""
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    chain = stage.chain
    chain.make()
    chain.fork(chain.height - 1, leave_a_node=True)
    chain.make()
    for provider in stage.pool.providers:
        stage.pool.routes[(provider, "getSignatureStatuses")] = "dead"

    def land_and_finish() -> None:
        chain.make(land=[chain.handed[0]])
        chain.make(chain.last_valid[chain.handed[0]] + 6 - chain.height)

    def heal() -> None:
        stage.pool.routes.clear()

    stage.acts = [lambda: None, land_and_finish, lambda: None, lambda: None, heal]
    await stage.drive(record, ownership)


async def l_was_told_too_low(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain is past the L that was told and not past the true one, some slots had no block; then the transaction lands."""
    stage.executor.told_too_low = 20
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    chain = stage.chain

    def pass_what_was_told() -> None:
        chain.slot += 60
        chain.make(chain.last_valid[chain.handed[0]] - 6 - chain.height)

    def last_moment() -> None:
        chain.make(land=[chain.handed[0]])
        chain.make(6)

    stage.acts = [lambda: None, pass_what_was_told, lambda: None, lambda: None, last_moment]
    await stage.drive(record, ownership)


async def l_was_told_too_low_and_a_backend_left_the_chain_there(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Behind one URL, heights come from a good node, blocks and statuses from one that a fork left behind.

    It left between the L that was told and the true one, so what it shows as final is above the one and not above the other.
    The transaction is in the block that it does not have.
    """
    stage.executor.told_too_low = 20
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    chain = stage.chain

    def leave_a_node() -> None:
        chain.make(chain.last_valid[chain.handed[0]] - chain.height - 6)
        chain.fork(chain.height - 1, leave_a_node=True)
        for method_ in ("getBlock", "getSignatureStatuses"):
            stage.pool.routes[("balanced", method_)] = "dead"

    def land_and_finish() -> None:
        chain.make(land=[chain.handed[0]])
        chain.make(chain.last_valid[chain.handed[0]] + 6 - chain.height)

    def heal() -> None:
        stage.pool.routes.clear()

    stage.acts = [lambda: None, leave_a_node, land_and_finish, lambda: None, lambda: None, heal]
    await stage.drive(record, ownership)


async def lands_between_two_questions(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between one question of the evidence and the next, the transaction lands and becomes final."""
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    chain, asked = stage.chain, stage.pool.calls

    def pass_l() -> None:
        chain.make(chain.last_valid[chain.handed[0]] + 2 - chain.height)

    def other_fork_wins() -> None:
        chain.fork(chain.last_valid[chain.handed[0]])
        chain.make(land=[chain.handed[0]])
        chain.make(6)

    def arm() -> None:
        pass_l()
        stage.pool.before[("getEpochInfo", asked["getEpochInfo"] + 1)] = other_fork_wins

    stage.acts = [lambda: None, arm]
    await stage.drive(record, ownership)


async def lands_late(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes take the transaction but the leaders are slow: it lands in the last block that may hold it."""
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    chain = stage.chain

    def last_moment() -> None:
        chain.make(chain.last_valid[chain.handed[0]] - chain.height)
        chain.make(land=[chain.handed[0]])

    stage.acts = [*[chain.make] * 30, last_moment]
    await stage.drive(record, ownership)


async def confirmed_then_forked_then_landed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A confirmed block is abandoned, and the same bytes land on the fork that wins."""
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    chain = stage.chain

    def confirm() -> None:
        chain.make(land=[chain.handed[0]])
        chain.make()

    def fork_away() -> None:
        chain.fork(chain.height - 2)
        chain.make(2)

    stage.acts = [lambda: None, confirm, lambda: None, fork_away, lambda: None, lambda: None]
    await stage.drive(record, ownership)


async def confirmed_then_forked_for_good(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A confirmed block is abandoned, and the transaction can never land again on the fork that wins."""
    ownership = await stage.take("only")
    record = await stage.claim(ownership, an_order())
    chain = stage.chain

    def confirm() -> None:
        chain.make(land=[chain.handed[0]])
        chain.make()

    def fork_away() -> None:
        chain.fork(chain.height - 2)
        chain.make(160)  # empty blocks: what was handed over is dropped, and now it is too old

    stage.acts = [lambda: None, confirm, lambda: None, fork_away, lambda: None]
    await stage.drive(record, ownership)


# --- the mutants
NO_WITNESS = (
    without_check("NoFinalizedWitness"),
    method(EvidenceGatherer, "expiry", ("        if witness is None:\n            return None\n", "")),
)
ONLY_ABOVE_L = check("NoFinalizedWitness", ("height > true_last_height(case, e.anchor)", "True"))


@dataclass(frozen=True)
class Mutant:
    """`also` patches the baseline too: a second line of defence that would hide the rule under test."""

    name: str
    violates: str
    schedule: Schedule
    patches: tuple[Patch, ...]
    also: tuple[Patch, ...] = ()
    providers: tuple[str, ...] = ("a", "b")


MUTANTS = [
    Mutant(
        "send before journal", "doubled", dies_before_the_journal,
        (method(TradeDriver, "_attempt", ('        crashpoint.reached("signed:before")\n', '        await self._executor.send(attempt, first=True)\n        crashpoint.reached("signed:before")\n')),),
    ),
    Mutant(
        "expiry by processed height", "doubled", lands_on_the_fork_that_wins,
        (
            method(EvidenceGatherer, "_height", ('get_epoch_info("finalized")', 'get_epoch_info("processed")')),
            method(EvidenceGatherer, "_witness", ("get_block_signatures(slot)", 'get_block_signatures(slot, "processed")')),
            check("NoFinalizedWitness", ('w.commitment == "finalized"', "True")),
        ),
    ),
    Mutant(
        "height at least L instead of above L", "doubled", final_height_stands_at_l,
        (
            check("HeightNotPast", ("e.height.block_height > case", "e.height.block_height >= case")),
            check("NoFinalizedWitness", ("height > case", "height >= case")),
            method(EvidenceGatherer, "expiry", ("height.block_height <= case", "height.block_height < case")),
            method(EvidenceGatherer, "_witness", ("known.block_height <= above", "known.block_height < above")),
        ),
        also=(without_check("ValidityNotOver"), ONLY_ABOVE_L),
    ),
    Mutant(
        "status without a witness", "doubled", one_backend_sits_on_a_dead_fork, (without_check("NoFinalizedWitness"),),
        providers=("balanced",),
    ),
    Mutant(
        "a witness above the L that was told, not above the true one", "doubled",
        l_was_told_too_low_and_a_backend_left_the_chain_there,
        (ONLY_ABOVE_L,),
        providers=("balanced",),
    ),
    Mutant(
        "L believed as it was told", "doubled", l_was_told_too_low,
        (without_check("ValidityNotOver"), ONLY_ABOVE_L),
    ),
    Mutant(
        "status read before the height", "doubled", lands_between_two_questions,
        (
            without_check("StatusReadBeforeHeight"),
            method(
                EvidenceGatherer, "expiry",
                ("        height = await self._height(rpc)\n", "        early = await self._ask(rpc, signature, None, history=False)\n        height = await self._height(rpc)\n"),
                ("answer = await self._ask(rpc, signature, witness, history=history)", "answer = early"),
            ),
        ),
        also=(*NO_WITNESS, without_check("AnswerOlderThanHeight")), providers=("a",),
    ),
    Mutant(
        "a new attempt after a timeout", "doubled", lands_late,
        (method(TradeDriver, "_establish", ("if answer.status is not None or record.state is IntentState.CONFIRMED or not reading.expiry:\n            return None", "if answer.status is not None or record.state is IntentState.CONFIRMED:\n            return None\n        if course.sends > 20:\n            return await self._journal.move(record, ownership, E.EXPIRE)\n        if not reading.expiry:\n            return None")),),
    ),
    Mutant(
        "a fork treated as expiry", "doubled", confirmed_then_forked_then_landed,
        (row(S.CONFIRMED, IntentEvent.FORK, S.EXPIRED),),
    ),
    Mutant(
        "terminal at confirmed", "phantom", confirmed_then_forked_for_good,
        (function(trade, "read_status", ('if status.commitment == "finalized":', 'if status.commitment in ("confirmed", "finalized"):')),),
    ),
]  # fmt: skip


@pytest.fixture
async def stages(tmp_path: Path) -> AsyncIterator[Callable[[tuple[str, ...]], Awaitable[Stage]]]:
    """Open stages, each over a new ledger."""
    opened: list[Stage] = []

    async def new(providers: tuple[str, ...]) -> Stage:
        directory = tmp_path / str(len(opened))
        directory.mkdir()
        opened.append(await open_stage(directory, providers=providers))
        return opened[-1]

    yield new
    for stage in opened:
        await stage.ledger.close()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
async def test_a_mutant_of_the_trade_path_is_killed_by_its_schedule(
    mutant: Mutant,
    stages: Callable[[tuple[str, ...]], Awaitable[Stage]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The code as it is passes the schedule; broken, it violates the property."""
    for patch in mutant.also:
        patch(monkeypatch)
    sound = await stages(mutant.providers)
    await mutant.schedule(sound, monkeypatch)
    assert not await sound.verdict(), "the code as it is fails the schedule"

    for patch in mutant.patches:
        patch(monkeypatch)
    broken = await stages(mutant.providers)
    await mutant.schedule(broken, monkeypatch)
    verdict = await broken.verdict()
    assert verdict[mutant.violates], f"{mutant.name} survives: {dict(verdict)}"
