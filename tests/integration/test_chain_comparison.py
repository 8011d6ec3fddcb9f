"""Before trading: does the ledger know everything that the chain shows of this bot?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from trade_rig import TradeRig, a_bot, a_world, an_intent, old_copy

from tradingbot_engine.chores import chores_of
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.errors import LedgerBehindChain
from tradingbot_engine.execution.signer import KeyFileSigner
from tradingbot_engine.recovery import ChainUnread, compare_with_chain
from tradingbot_engine.rpc.pool import RpcPool

UNUSED = SimpleNamespace(
    again=None, bot=None, flush=None, look=None, refresh=None, risk_limits=None, sale_value=None, take=None, values=None
)
"""Parts that the comparison does not touch."""


@pytest.fixture
async def rig(tmp_path) -> AsyncIterator[TradeRig]:
    async with a_world() as world, a_bot(world, tmp_path) as rig:
        yield rig
        world.heal()


def pool(rig: TradeRig) -> RpcPool:
    return RpcPool(rig.settings.rpc.endpoints, request_timeout_s=1.0, max_in_flight=16, clock=SystemClock())


async def test_a_ledger_that_knows_everything_passes_and_remembers_how_far(rig, tmp_path):
    done = await rig.drive(await rig.claim(an_intent("known")))
    assert done.state == "DONE"
    async with pool(rig) as rpc:
        assert await compare_with_chain(rig.ledger, rpc, await rig.ledger.bot()) == 1
        settled = (await rig.ledger.bot()).settled_slot
        assert settled > 0
        await rig.finalize()
        assert await compare_with_chain(rig.ledger, rpc, await rig.ledger.bot()) <= 1
        assert (await rig.ledger.bot()).settled_slot > settled


async def test_a_running_engine_compares_too_so_that_its_next_start_has_little_to_do(rig, tmp_path):
    """After months the dust that anybody sent to the wallet would else be read before the first stop loss."""
    async with pool(rig) as rpc:
        outside = SimpleNamespace(
            ledger=rig.ledger,
            rpc=rpc,
            signer=KeyFileSigner(rig.wallet),
            clock=SystemClock(),
            genesis_hash=(await rig.ledger.bot()).genesis_hash,
            feed=SimpleNamespace(health=None),
            tokens=(),
        )
        others = (
            "book",
            "desk",
            "lifecycle",
            "bars",
            "owned",
            "emit",
            "tally",
            "guard",
            "comparison",
            "nodes",
            "pulse",
            "closing",
        )
        parts = SimpleNamespace(outside=outside, settings=rig.settings, screens=False, **dict.fromkeys(others, UNUSED))
        chores = {name: work for name, _, work in chores_of(parts)}
        assert (await rig.drive(await rig.claim(an_intent("running")))).state == "DONE"
        await rig.finalize()
        await chores["chain"]()
        settled = (await rig.ledger.bot()).settled_slot
        assert settled >= rig.cluster.bank.slot - 40
        copy = await old_copy(rig, tmp_path)
        outside.ledger = copy
        try:
            await rig.finalize()
            with pytest.raises(LedgerBehindChain):
                await chores["chain"]()
        finally:
            await copy.close()


@pytest.mark.parametrize("kind", ["none", "lag", "snapshot"])
async def test_an_old_copy_is_noticed_even_if_the_first_node_cannot_show_it(rig, tmp_path, kind):
    """One node that lags or has holes stays silent about the trade; what any node shows counts."""
    before = rig.cluster.bank.slot
    copy = await old_copy(rig, tmp_path)
    try:
        await rig.finalize()
        if kind == "lag":
            rig.fault(kind="lag", nodes=[0], slots=400)
        if kind == "snapshot":
            rig.fault(kind="snapshot", nodes=[0], first_slot=before - 5, last_slot=rig.cluster.bank.slot + 50)
        async with pool(rig) as rpc:
            with pytest.raises(LedgerBehindChain, match="older copy"):
                await compare_with_chain(copy, rpc, await copy.bot())
    finally:
        await copy.close()


async def test_with_too_few_nodes_answering_nothing_is_believed(rig, tmp_path):
    """Where two nodes are configured one alone does not do: it may be the one that does not know."""
    names = range(len(rig.cluster.nodes))
    rig.fault(kind="http_error", nodes=list(names)[1:], status=503)
    async with pool(rig) as rpc:
        with pytest.raises(ChainUnread, match="nodes listed"):
            await compare_with_chain(rig.ledger, rpc, await rig.ledger.bot())
