"""
Nodes that started from a snapshot, with the same hole where a trade landed: rule E beyond the status cache.

The real driver, executor, ledger and nodes; the process dies while its trade lands, and comes back when only history can
still tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from trade_rig import TradeRig, World, a_bot, a_world, an_intent

from tradingbot_engine.core import proof
from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.core.proof import STATUS_CACHE_SLOTS, Case, prove_expiry
from tradingbot_engine.core.steps import case_of
from tradingbot_engine.domain.intents import IntentRecord, IntentState
from tradingbot_engine.execution.port import Reading

S = IntentState
pytestmark = pytest.mark.asyncio(loop_scope="module")
LOOKS = 8
"""So often the driver looks: every order in which it asks three nodes comes up twice."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with a_world(slot_ms=10) as world:
        yield world


async def landed_unseen(rig: TradeRig, name: str) -> tuple[IntentRecord, int]:
    """Let a trade land while nobody sees it and its process dies; return it when it has left every status cache, and its slot."""
    blind = rig.fault(kind="status_blind", nodes=[0, 1, 2])
    intent = an_intent(name)
    driving = asyncio.create_task(rig.trade(intent))
    sent = await rig.until(intent, {S.SUBMITTED})
    assert sent.current is not None
    while not (await rig.landed())[intent.id]:
        await asyncio.sleep(0.02)
    driving.cancel()
    with suppress(asyncio.CancelledError):
        await driving
    await rig.finalize()
    bank = rig.cluster.bank
    while bank.slot <= sent.current.blockhash_slot + STATUS_CACHE_SLOTS + 20:
        await asyncio.sleep(0.02)
    rig.cluster.faults.remove(blind)
    record = await rig.ledger.intent(intent.id)
    assert record is not None
    (row,) = [r for r in bank.history.of_address(rig.wallet.pubkey()) if str(r.signature) == sent.current.signature]
    return record, row.slot


def a_hole(rig: TradeRig, slot: int, *, nodes: list[int], said: bool) -> None:
    """Take the blocks around `slot` from some nodes; `said`: their first available block tells so."""
    first = {"first_available_block": slot + 6} if said else {}
    rig.fault(kind="snapshot", nodes=nodes, first_slot=slot - 5, last_slot=slot + 5, **first)


async def look_often(rig: TradeRig, record: IntentRecord) -> tuple[Case, list[Reading]]:
    """Look as the driver does, once for each order of nodes and more."""
    assert record.current is not None
    case = case_of(record, record.current, genesis_hash=await rig.executor.genesis_hash())
    return case, [await rig.executor.look(record, case) for _ in range(LOOKS)]


def proofs(case: Case, readings: list[Reading]) -> list[bool]:
    """Return of each reading whether it would end the attempt."""
    return [bool(r.expiry) and prove_expiry(_strict(case, r), r.expiry) is IntentEvent.EXPIRE for r in readings]


def _strict(case: Case, reading: Reading) -> Case:
    return replace(case, providers_needed=reading.providers_needed)


async def test_all_nodes_with_the_same_hole_prove_nothing_while_they_tell_where_they_begin(
    world: World, tmp_path: Path
) -> None:
    """Every node is silent about a trade that landed; not one silence counts, and the trade is DONE once a node knows it."""
    async with a_bot(world, tmp_path) as rig:
        record, slot = await landed_unseen(rig, "begins later")
        a_hole(rig, slot, nodes=[0, 1, 2], said=True)
        case, readings = await look_often(rig, record)
        assert [r.answer is not None and r.answer.status for r in readings] == [None] * LOOKS, "the hole hides nothing"
        assert proofs(case, readings) == [False] * LOOKS
        driving = asyncio.create_task(rig.drive(record))
        await asyncio.sleep(1)
        assert not driving.done()
        assert S.EXPIRED not in rig.path_of(record.intent)
        rig.cluster.faults.clear()
        done = await driving
        assert (done.state, done.attempt) == (S.DONE, 1)
        assert (await rig.landed())[record.intent.id] == 1


@pytest.mark.parametrize("whole", [0, 1, 2])
async def test_a_whole_node_outranks_the_silence_of_as_many_as_must_agree(
    world: World, tmp_path: Path, whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Two nodes have the same hole and hide it, and two must agree; the third says what happened, whichever it is.

    Their lists of blocks would give them away: that check is left out, so that only asking every node can help.
    """
    kept = tuple(check for check in proof.EXPIRY_CHECKS if check[0] != "HistoryHasHoles")
    monkeypatch.setattr(proof, "EXPIRY_CHECKS", kept)
    async with a_bot(world, tmp_path) as rig:
        record, slot = await landed_unseen(rig, "one knows")
        a_hole(rig, slot, nodes=[n for n in range(3) if n != whole], said=False)
        case, readings = await look_often(rig, record)
        assert proofs(case, readings) == [False] * LOOKS
        done = await rig.drive(record)
        assert (done.state, done.attempt) == (S.DONE, 1)
        assert S.EXPIRED not in rig.path_of(record.intent)
        rig.cluster.faults.clear()
        assert (await rig.landed())[record.intent.id] == 1


async def test_all_nodes_with_one_hidden_hole_prove_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is silent and says that it has everything; each one's list of blocks is shorter than the chain grew high."""
    async with a_bot(world, tmp_path) as rig:
        record, slot = await landed_unseen(rig, "nobody knows")
        a_hole(rig, slot, nodes=[0, 1, 2], said=False)
        case, readings = await look_often(rig, record)
        assert [r.answer is not None and r.answer.status for r in readings] == [None] * LOOKS, "the hole hides nothing"
        assert proofs(case, readings) == [False] * LOOKS
        with monkeypatch.context() as broken:
            kept = tuple(check for check in proof.EXPIRY_CHECKS if check[0] != "HistoryHasHoles")
            broken.setattr(proof, "EXPIRY_CHECKS", kept)
            _, readings = await look_often(rig, record)
            assert proofs(case, readings) == [True] * LOOKS, "the check is not what stood between them and the trade"
        driving = asyncio.create_task(rig.drive(record))
        await asyncio.sleep(1)
        assert not driving.done()
        assert S.EXPIRED not in rig.path_of(record.intent)
        rig.cluster.faults.clear()
        done = await driving
        assert (done.state, done.attempt) == (S.DONE, 1)
        assert (await rig.landed())[record.intent.id] == 1


async def test_an_old_attempt_that_never_landed_expires_by_nodes_that_have_every_block(
    world: World, tmp_path: Path
) -> None:
    """What is asked beyond the bank's memory can be answered, also over slots that leaders skipped and forks emptied."""
    async with a_bot(world, tmp_path, entry_max_age_s=120) as rig:
        rig.fault(kind="drop_send", nodes=[0, 1, 2])
        intent = an_intent("never landed")
        driving = asyncio.create_task(rig.trade(intent))
        sent = await rig.until(intent, {S.SUBMITTED})
        driving.cancel()
        with suppress(asyncio.CancelledError):
            await driving
        assert sent.current is not None
        bank = rig.cluster.bank
        rig.fault(kind="fork", slots=3)
        while bank.slot <= sent.current.blockhash_slot + STATUS_CACHE_SLOTS + 40:
            await asyncio.sleep(0.02)
        rig.cluster.faults.clear()
        record = await rig.ledger.intent(intent.id)
        assert record is not None
        done = await rig.drive(record)
        assert (done.state, done.attempt) == (S.DONE, 2)
        assert S.EXPIRED in rig.path_of(intent)
        await rig.finalize()
        assert (await rig.landed())[intent.id] == 1
