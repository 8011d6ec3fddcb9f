"""What one node's word is enough for, broken on purpose: real comparisons over localnet's nodes, all but one of them silent."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from execution_cases import intent, record
from mutants.protections import Mutant, wrong_under
from support.one_node import ALONE_AFTER_S, Scene, a_bad_witness, pool, silence
from trade_rig import TradeRig, a_bot, a_world

from tradingbot_engine import comparison, recovery
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.comparison import Comparison
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.lifecycle import ONE_NODE, Lifecycle
from tradingbot_engine.recovery import ChainUnread, TooFewNodes

pytestmark = pytest.mark.asyncio(loop_scope="module")

OnRig = Callable[[TradeRig], Awaitable[str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot(tmp_path_factory) -> AsyncIterator[TradeRig]:
    """A bot whose ledger was compared with the chain some blocks ago."""
    async with a_world() as world, a_bot(world, tmp_path_factory.mktemp("bot")) as rig:
        async with pool(rig) as rpc:
            await recovery.compare_with_chain(rig.ledger, rpc, await rig.ledger.bot())
        await rig.finalize()
        yield rig


@pytest_asyncio.fixture(loop_scope="module")
async def rig(bot, monkeypatch) -> AsyncIterator[TradeRig]:
    """The same, with nodes that are not waited for long."""
    monkeypatch.setattr(recovery, "ASK_AGAIN_S", (0.01,))
    yield bot
    bot.cluster.faults.clear()


async def refused(scene: Scene, *, after_s: float = 0.0) -> bool:
    try:
        await scene.compare(after_s=after_s)
    except TooFewNodes:
        return True
    return False


async def two_of_three_nodes_die(rig: TradeRig) -> str:
    """After its time the one that is left is enough for exits, and for nothing else, until a second one answers."""
    silence(rig, [0, 2])
    async with pool(rig) as rpc:
        scene = Scene(rig, rpc)
        life = scene.lifecycle
        before = (await rig.ledger.bot()).settled_slot
        wrong = [] if await refused(scene) else ["one was heard at once"]
        wrong += [] if await refused(scene, after_s=ALONE_AFTER_S - 5) else ["one was heard before its time"]
        wrong += ["one was never heard"] if await refused(scene, after_s=6) else []
        wrong += [] if life.has(ONE_NODE) else ["it was not told"]
        wrong += ["entries are taken"] if life.may_trade else []
        wrong += [] if life.may_exit else ["exits are held"]
        wrong += ["one node settled something"] if (await rig.ledger.bot()).settled_slot != before else []
        with contextlib.suppress(TooFewNodes):
            await scene.comparison.again()
        wrong += [] if life.has(ONE_NODE) else ["one node took the reason back"]
    told = Lifecycle(clock=SystemClock())
    told.tell(ONE_NODE, "node1 alone vouches")
    why = comparison.entries_wait_for_two(told, lambda _: None)
    entry, leaving = why(record()), why(record(intent=intent(purpose=Purpose.EXIT)))
    wrong += ["an entry that was claimed goes on"] if entry != ONE_NODE else []
    wrong += ["an exit that was claimed is given up"] if leaving is not None else []
    return "; ".join(wrong)


async def one_provider_has_two_names(rig: TradeRig) -> str:
    """It is one voice."""
    first = rig.settings.rpc.endpoints[0]
    names = [first, first.model_copy(update={"name": "again"}), rig.settings.rpc.endpoints[1]]
    silence(rig, [1])
    async with pool(rig, names=names) as rpc:
        return "" if await refused(Scene(rig, rpc)) else "two names passed for two nodes"


async def the_only_node_is_no_witness(rig: TradeRig, kind: str) -> str:
    """Its history has a hole, begins too late, or ends too early."""
    async with a_bad_witness(rig, kind) as scene:
        try:
            await scene.wait_for_one()
        except ChainUnread as error:
            return "" if kind != "snapshot" or "has blocks from" in str(error) else f"only noticed as: {error}"
    return f"a node whose history is a {kind} was believed"


HOLE, SNAPSHOT, STALE = (partial(the_only_node_is_no_witness, kind=kind) for kind in ("hole", "snapshot", "stale"))
BLOCKING = "not self._reasons.keys() & _BLOCKING"

MUTANTS: tuple[tuple[str, OnRig, Any, str, tuple[tuple[str, str], ...]], ...] = (
    ("one node heard at once", two_of_three_nodes_die, Comparison, "compare", (("now_s - self._silent_since_s < self._alone_after_s", "False"),)),
    ("one node heard too early", two_of_three_nodes_die, Comparison, "compare", (("< self._alone_after_s", "< self._alone_after_s - 10"),)),
    ("one node never heard", two_of_three_nodes_die, Comparison, "compare", (("now_s - self._silent_since_s < self._alone_after_s", "True"),)),
    ("one node is enough for entries", two_of_three_nodes_die, Lifecycle, "may_trade", ((BLOCKING, f"{BLOCKING.replace('_BLOCKING', '(_BLOCKING - {ONE_NODE})')}"),)),
    ("one node is not enough for exits", two_of_three_nodes_die, Lifecycle, "may_exit", ((", ONE_NODE}", "}"),)),
    ("a claimed entry goes on", two_of_three_nodes_die, comparison, "entries_wait_for_two", (("record.intent.purpose is Purpose.ENTRY and", "False and"),)),
    ("a claimed exit is given up", two_of_three_nodes_die, comparison, "entries_wait_for_two", (("record.intent.purpose is Purpose.ENTRY and", ""),)),
    ("it is not told", two_of_three_nodes_die, Comparison, "compare", (("self._lifecycle.tell(", "str.format("),)),
    ("one node settles", two_of_three_nodes_die, comparison, "compare_with_one", (("    return await _compare(", "    await ledger.set_settled_slot(tip.slot)\n    return await _compare("),)),
    ("one node takes the reason back", two_of_three_nodes_die, Comparison, "again", (("await self._by_two(", "self._lifecycle.clear(ONE_NODE) or await self._by_two("),)),
    ("two names are two nodes", one_provider_has_two_names, comparison, "compare_with_chain", (("voices = {rpc.independent(name) for name in answered}", "voices = set(answered)"),)),
    ("holes do not matter", HOLE, comparison, "compare_with_one", (("if blocks is None or not has_every_block(", "if False and has_every_block("),)),
    ("how far back it reaches does not matter", SNAPSHOT, comparison, "compare_with_one", (("if first > bot.settled_slot:", "if False:"),)),
    ("its age does not matter", STALE, comparison, "compare_with_one", (("if made_s is None or now_ms / 1000 - made_s > BEHIND_S:", "if False:"),)),
)  # fmt: skip


@pytest.mark.parametrize(
    "schedule",
    [two_of_three_nodes_die, one_provider_has_two_names, HOLE, SNAPSHOT, STALE],
    ids=["two dead", "two names", "hole", "snapshot", "stale"],
)
async def test_the_sound_comparison_passes_every_schedule(rig, schedule: OnRig) -> None:
    """Else a mutant would be caught by what is no fault of its own."""
    assert await schedule(rig) == ""


@pytest.mark.parametrize(("name", "schedule", "owner", "function", "changes"), MUTANTS, ids=[m[0] for m in MUTANTS])
async def test_a_comparison_that_believes_too_much_or_too_little_is_caught(
    rig, monkeypatch, name: str, schedule: OnRig, owner: Any, function: str, changes: tuple[tuple[str, str], ...]
) -> None:
    """Each rule is worth what its absence would show."""
    mutant = Mutant(name, partial(schedule, rig), owner, function, changes)
    assert await wrong_under(mutant, monkeypatch), f"{name} survives"
