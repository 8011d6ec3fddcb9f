"""Of several nodes only one answers: after a while it is enough to leave positions by, and for nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from support.one_node import ALONE_AFTER_S, Scene, a_bad_witness, pool, silence
from trade_rig import TradeRig, a_bot, a_world, an_intent, old_copy

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.comparison import entries_wait_for_two
from tradingbot_engine.domain.intents import IntentState
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.errors import LedgerBehindChain, TemporaryError
from tradingbot_engine.lifecycle import ONE_NODE, Lifecycle
from tradingbot_engine.recovery import ChainUnread, TooFewNodes, compare_with_chain

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot(tmp_path_factory) -> AsyncIterator[tuple[TradeRig, Path]]:
    """A bot, and the folder of its ledger."""
    folder = tmp_path_factory.mktemp("bot")
    async with a_world() as world, a_bot(world, folder) as rig:
        yield rig, folder


@pytest_asyncio.fixture(loop_scope="module")
async def rig(bot) -> AsyncIterator[TradeRig]:
    """The bot, its ledger compared with the chain some blocks ago."""
    rig, _ = bot
    async with pool(rig) as rpc:
        await compare_with_chain(rig.ledger, rpc, await rig.ledger.bot())
    await rig.finalize()
    yield rig
    rig.cluster.faults.clear()


async def test_after_two_minutes_one_node_is_enough_for_exits_and_the_reason_says_so(rig):
    """A stop loss must not hang on a second provider; whatever is bought must. When a second one agrees all goes on."""
    silence(rig, [0, 2])
    async with pool(rig) as rpc:
        scene = Scene(rig, rpc)
        settled = (await rig.ledger.bot()).settled_slot
        with pytest.raises(TooFewNodes, match="1 of 3 nodes"):
            await scene.compare()
        with pytest.raises(TooFewNodes):
            await scene.compare(after_s=ALONE_AFTER_S - 5)
        assert scene.lifecycle.reasons == ()
        await scene.compare(after_s=6)
        (told,) = scene.lifecycle.reasons
        assert told.type == ONE_NODE
        assert "node1 alone" in told.message
        assert (scene.lifecycle.may_trade, scene.lifecycle.may_exit) == (False, True)
        assert (await rig.ledger.bot()).settled_slot == settled, "one node settles nothing: two will compare it all"
        with pytest.raises(TooFewNodes):
            await scene.comparison.again()
        assert scene.lifecycle.has(ONE_NODE)
        rig.cluster.faults.clear()
    async with pool(rig) as rpc:  # a pool that has not learned to avoid them
        scene.comparison._rpc = rpc
        await scene.comparison.again()
        assert scene.lifecycle.may_trade
        assert (await rig.ledger.bot()).settled_slot > settled
        silence(rig, [0, 2])
        await scene.comparison.again()  # nothing stands that a second node could take back
        with pytest.raises(TooFewNodes):
            await scene.compare()  # the two minutes begin anew


async def test_while_one_node_vouches_an_entry_is_given_up_and_an_exit_goes_out(rig, monkeypatch):
    """An entry that an old copy has forgotten could be made twice; an exit sells what there is."""
    lifecycle = Lifecycle(clock=SystemClock())
    monkeypatch.setattr(rig.driver, "_recheck", entries_wait_for_two(lifecycle, lambda record: None))
    bought = await rig.trade(an_intent("bought"))
    assert bought.state is IntentState.DONE
    lifecycle.tell(ONE_NODE, "node1 alone vouches")
    entry = await rig.trade(an_intent("entry"))
    assert (entry.state, entry.reason) == (IntentState.ABANDONED, ONE_NODE)
    assert not entry.attempts
    exits = replace(bought.intent, purpose=Purpose.EXIT)
    assert entries_wait_for_two(lifecycle, lambda record: None)(replace(bought, intent=exits)) is None


async def test_no_node_at_all_is_never_enough(rig):
    """However long: nobody vouches."""
    silence(rig, [0, 1, 2])
    async with pool(rig) as rpc:
        scene = Scene(rig, rpc)
        for _ in range(3):
            with pytest.raises(TemporaryError):
                await scene.compare(after_s=ALONE_AFTER_S)
        assert scene.lifecycle.reasons == ()


async def test_two_names_for_one_provider_are_one_voice(rig):
    """Else a second key for the same host would open the way that a second provider must open."""
    first = rig.settings.rpc.endpoints[0]
    twice = [first, first.model_copy(update={"name": "again"}), rig.settings.rpc.endpoints[1]]
    silence(rig, [1])
    async with pool(rig, names=twice) as rpc:
        with pytest.raises(TooFewNodes, match="2 of 3 nodes"):
            await compare_with_chain(rig.ledger, rpc, await rig.ledger.bot())


async def test_an_old_copy_is_noticed_by_one_node_too(rig, bot):
    """Its history is whole, so it shows what the copy has forgotten."""
    copy = await old_copy(rig, bot[1])
    try:
        await rig.finalize()
        silence(rig, [0, 2])
        async with pool(rig) as rpc:
            scene = Scene(rig, rpc, copy)
            with pytest.raises(LedgerBehindChain, match="older copy"):
                await scene.wait_for_one()
            assert not scene.lifecycle.has(ONE_NODE)
    finally:
        await copy.close()


@pytest.mark.parametrize(
    ("kind", "why"), [("hole", "holes between slots"), ("snapshot", "has blocks from slot"), ("stale", "s old")]
)
async def test_one_node_whose_history_is_not_whole_or_not_of_now_vouches_for_nothing(rig, kind, why):
    """It is the one that would not show what an old copy of the ledger has forgotten."""
    async with a_bad_witness(rig, kind) as scene:
        with pytest.raises(ChainUnread, match=why):
            await scene.wait_for_one()
        assert not scene.lifecycle.has(ONE_NODE)
