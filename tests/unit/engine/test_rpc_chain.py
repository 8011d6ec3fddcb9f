"""Only nodes of our chain are asked for anything but their chain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from rpc_pools import pool_over
from scripted_rpc import Raw, ScriptedNode

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.rpc.errors import RpcUnavailable, WrongChain
from tradingbot_engine.rpc.watch import CHAIN_AGAIN_S


class ChainNode(ScriptedNode):
    """A node of some chain, which may be away, or somebody else when it is back."""

    def __init__(self, genesis: Any = "ours") -> None:
        super().__init__(self._answer)
        self.genesis, self.away, self.holds = genesis, False, asyncio.Event()
        self.holds.set()

    async def _answer(self, method: str, params: list[Any]) -> Any:
        if self.away:
            raise Raw(503, b"")
        if method == "getGenesisHash":
            await self.holds.wait()
            return self.genesis
        return {"context": {"slot": 5}, "value": self.genesis}


async def test_an_endpoint_on_another_chain_is_never_asked_for_anything_else() -> None:
    """It is named and left alone; the others go on."""
    stranger, ours = ChainNode("theirs"), ChainNode()
    async with pool_over(stranger, ours) as pool:
        pool.expect_genesis("ours")
        for _ in range(3):
            assert (await pool.call("getBalance", ["k"])).result["value"] == "ours"
        with pytest.raises(RpcUnavailable):
            await pool.call("getBalance", ["k"], provider="n0")
        assert stranger.methods() == ["getGenesisHash"]
        assert ours.methods() == ["getGenesisHash", *["getBalance"] * 3]
        told, fine = pool.endpoints()
    assert not told.healthy
    assert "WrongGenesis: it serves theirs, not ours" in told.error
    assert fine.healthy


async def test_an_endpoint_on_another_chain_is_asked_now_and_then_and_taken_back_when_it_shows_ours() -> None:
    """A load balancer that was led astray for an hour must not cost a restart; until then it is asked for nothing else."""
    clock = ManualClock()
    stranger = ChainNode("theirs")
    async with pool_over(stranger, ChainNode(), clock=clock, health={"interval_s": 10, "jitter_s": 0}) as pool:
        pool.expect_genesis("ours")
        await pool.call("getBalance", ["k"])
        assert "WrongGenesis" in pool.endpoints()[0].error
        while clock.monotonic_s() < 4 * CHAIN_AGAIN_S:
            await clock.advance(5)
            await asyncio.sleep(0.001)
        looks = stranger.methods()
        assert 3 <= len(looks) <= 5, "one in five minutes"
        assert set(looks) == {"getGenesisHash"}
        stranger.genesis = "ours"
        async with asyncio.timeout(20):
            while pool.endpoints()[0].error:
                await clock.advance(5)
                await asyncio.sleep(0.001)
        assert (await pool.call("getBalance", ["k"])).provider == "n0"
        stranger.genesis = "theirs"
        stranger.away = True
        with pytest.raises(RpcUnavailable):
            await pool.call("getBalance", ["k"], provider="n0")
        stranger.away = False
        assert (await pool.call("getBalance", ["k"])).provider == "n1"
        assert "WrongGenesis" in pool.endpoints()[0].error


async def test_an_endpoint_that_was_used_before_is_checked_once_a_chain_is_expected() -> None:
    """What was asked before the hash was known says nothing about the chain."""
    node = ChainNode("theirs")
    async with pool_over(node) as pool:
        assert (await pool.call("getBalance", ["k"])).result["value"] == "theirs"
        pool.expect_genesis("ours")
        with pytest.raises(WrongChain, match="it serves theirs, not ours"):
            await pool.call("getBalance", ["k"])
        with pytest.raises(WrongChain, match="no endpoint is left"):
            await pool.call("getBalance", ["k"])


async def test_an_endpoint_is_checked_again_after_it_was_away() -> None:
    """Under the same name another chain may answer: a test validator that was started anew, a changed load balancer."""
    node = ChainNode()
    async with pool_over(node) as pool:
        pool.expect_genesis("ours")
        await pool.call("getBalance", ["k"])
        node.away = True
        with pytest.raises(RpcUnavailable):
            await pool.call("getBalance", ["k"])
        node.away, node.genesis = False, "theirs"
        with pytest.raises(WrongChain):
            await pool.call("getBalance", ["k"])
    assert node.methods() == ["getGenesisHash", "getBalance", "getBalance", "getGenesisHash"]


async def test_many_calls_wait_for_one_check_and_one_that_gives_up_stops_nobody() -> None:
    """The check is asked once, whoever asks first."""
    node = ChainNode()
    node.holds.clear()
    async with pool_over(node, max_in_flight=2) as pool:
        pool.expect_genesis("ours")
        calls = [asyncio.create_task(pool.call("getBalance", ["k"])) for _ in range(8)]
        while not node.calls:
            await asyncio.sleep(0.001)
        calls[0].cancel()
        node.holds.set()
        done = await asyncio.gather(*calls[1:])
        assert [d.result["value"] for d in done] == ["ours"] * 7
        assert node.methods().count("getGenesisHash") == 1
        with pytest.raises(asyncio.CancelledError):
            await calls[0]


@pytest.mark.parametrize("away_first", [True, False])
async def test_while_another_endpoint_is_only_away_the_failure_is_temporary(away_first: bool) -> None:
    """A stranger's chain must not turn an outage of our nodes into the end."""
    away, stranger = ChainNode(), ChainNode("theirs")
    away.away = True
    async with pool_over(*((away, stranger) if away_first else (stranger, away))) as pool:
        pool.expect_genesis("ours")
        for _ in range(2):
            with pytest.raises(RpcUnavailable):
                await pool.call("getBalance", ["k"])


@pytest.mark.parametrize("genesis", [None, 5, {"x": 1}])
async def test_an_endpoint_that_does_not_say_its_chain_is_passed_over(genesis: Any) -> None:
    """Unknown is not ours; it may say so later."""
    async with pool_over(ChainNode(genesis), ChainNode()) as pool:
        pool.expect_genesis("ours")
        assert (await pool.call("getBalance", ["k"])).provider == "n1"
        assert "getGenesisHash" in pool.endpoints()[0].error
