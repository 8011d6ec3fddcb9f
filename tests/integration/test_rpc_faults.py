"""The pool against localnet's three nodes: what one sick node, or all of them, cost the calls, and what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.localnet.cluster import Cluster
from tradingbot_engine.localnet.faults.models import parse_fault
from tradingbot_engine.rpc.breaker import BreakerState
from tradingbot_engine.rpc.errors import RpcError, RpcUnavailable
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EndpointSettings, RpcSettings

SOL = 10**9


class Net:
    """Three nodes in real time (20 slots a second), and a pool over them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def fault(self, **fault: Any) -> None:
        self.cluster.faults.add(parse_fault(fault))

    @asynccontextmanager
    async def pool(self, **changes: Any) -> AsyncIterator[RpcPool]:
        endpoints = tuple(
            EndpointSettings(name=f"n{i}", url=SecretStr(node.http_url), priority=i, requests_per_second=10_000)
            for i, node in enumerate(self.cluster.nodes)
        )
        settings = RpcSettings.model_validate({"endpoints": endpoints, "request_timeout_s": 1.0, **changes})
        async with RpcPool(settings, clock=SystemClock()) as pool:
            yield pool

    def sent_to(self, pool: RpcPool, name: str) -> int:
        return sum(n for (endpoint, _), n in pool.stats().requests.items() if endpoint == name)


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    async with Cluster(nodes=3, slot_ms=50) as cluster:
        yield Net(cluster)


async def many(pool: RpcPool, calls: int, *, at_once: int = 8) -> list[str]:
    """Make that many different reads; returns who answered each."""
    left = iter(range(calls))
    answered: list[str] = []

    async def worker() -> None:
        rpc = Rpc(pool)
        for _ in left:
            answer = await rpc.get_balance(str(Keypair().pubkey()))
            answered.append(answer.provider)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return answered


def sockets_in_use(pool: RpcPool) -> int:
    session = pool._transport._session
    assert session is not None
    assert session.connector is not None
    return len(session.connector._acquired)


async def test_one_hung_node_of_three_costs_a_hedge_and_leaves_nothing_behind(net: Net) -> None:
    """Every read is answered by the others, soon none of them asks the hung node first, and no task, permit or socket stays."""
    before = asyncio.all_tasks()
    async with net.pool(hedging={"delay_ms": 30}, health={"enabled": False}) as pool:
        net.fault(kind="hang", nodes=[0])
        assert "n0" not in await many(pool, 120)
        stats = pool.stats()
        assert 0 < stats.hedges_won <= stats.hedges
        assert net.sent_to(pool, "n0") < 40, "a node that never answers is not asked first again and again"
        assert ("n0", "Timeout") not in stats.requests, "no read waited for the hung node to time out"
        assert (pool.in_flight, stats.queued, sockets_in_use(pool)) == (0, 0, 0)
        assert {t for t in asyncio.all_tasks() - before if "rpc" in t.get_name()} == set()


async def test_a_hung_node_that_loses_its_races_is_probed_and_its_breaker_opens(net: Net) -> None:
    """A loser is cancelled before it can time out: the probe that its doubt brings is what finds the hang."""
    health = {"interval_s": 60, "jitter_s": 0, "probe_timeout_s": 0.05, "probes_per_second": 100}
    async with net.pool(hedging={"delay_ms": 20}, health=health, breaker={"failure_threshold": 2}) as pool:
        net.fault(kind="hang", nodes=[0])
        async with asyncio.timeout(60):
            while pool.endpoints()[0].breaker is not BreakerState.OPEN:
                await many(pool, 16, at_once=16)
                pool._endpoints[0].suspect_until_s = 0.0  # do not wait for it to be tried again
        assert "n0" not in pool.order()


async def test_a_node_150_slots_behind_is_asked_last_and_says_so(net: Net) -> None:
    """It answers quickly, with HTTP 200, and old."""
    async with net.pool() as pool:
        net.cluster.bank.tick(200)
        net.fault(kind="lag", nodes=[0], slots=150)
        await pool.probe()
        assert set(await many(pool, 20)) <= {"n1", "n2"}
        shown = pool.endpoints()[0]
        assert not shown.healthy
        assert "behind" in shown.error
        assert shown.breaker is BreakerState.CLOSED, "it is no fault of transport"
        assert pool.order()[-1] == "n0"
        answer = await pool.call("getSlot", [{"commitment": "processed"}], exclude=("n1", "n2"))
        assert "behind" in answer.degraded, "who asks it all the same is told"


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "rate_limited", "retry_after_s": 60},
        {"kind": "html"},
        {"kind": "html", "status": 502},
        {"kind": "http_error", "status": 500},
        {"kind": "down"},
    ],
)
async def test_a_node_that_refuses_or_breaks_is_passed_over_and_soon_not_asked(net: Net, fault: dict[str, Any]) -> None:
    """429, HTML with 200, 5xx, a closed connection: each call is answered, and the sick node hears few of them."""
    async with net.pool() as pool:
        net.fault(nodes=[0], **fault)
        assert set(await many(pool, 80)) <= {"n1", "n2"}
        assert net.sent_to(pool, "n0") <= 16
        assert not pool.endpoints()[0].healthy
        assert pool.in_flight == 0


async def test_a_node_of_another_chain_is_asked_for_nothing_but_its_genesis(net: Net) -> None:
    """Its answers are another chain's truth."""
    async with net.pool() as pool:
        net.fault(kind="wrong_genesis", nodes=[0])
        pool.expect_genesis(net.cluster.bank.genesis_hash)
        assert set(await many(pool, 20)) <= {"n1", "n2"}
        assert "WrongGenesis" in pool.endpoints()[0].error
        assert not any(outcome == "ok" for (name, outcome) in pool.stats().requests if name == "n0")


async def test_a_reset_after_the_node_took_the_transaction_resends_the_same_bytes_and_it_lands_once(net: Net) -> None:
    """The outcome of the first send is unknown; the second is the same transaction."""
    payer, to = Keypair(), Keypair().pubkey()
    net.cluster.bank.airdrop(payer.pubkey(), 10 * SOL)
    async with net.pool() as pool:
        rpc = Rpc(pool)
        while (await rpc.get_balance(str(payer.pubkey()))).result == 0:
            await asyncio.sleep(0.05)
        net.fault(kind="lose_answer", nodes=[0], how="reset")
        blockhash = net.cluster.bank.latest_blockhash("finalized")[0]
        move = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=SOL))
        signed = VersionedTransaction(MessageV0.try_compile(payer.pubkey(), [move], [], blockhash), [payer])
        sent = await rpc.send_transaction(bytes(signed), skip_preflight=True, preflight_commitment="confirmed")
        assert sent.result == str(signed.signatures[0])
        assert sent.provider != "n0"
        async with asyncio.timeout(30):
            while (await rpc.get_balance(str(to), "processed")).result == 0:
                await asyncio.sleep(0.05)
        for _ in range(10):
            await asyncio.sleep(0.05)
            assert (await rpc.get_balance(str(to), "processed")).result == SOL


async def test_all_nodes_down_and_back_resumes_by_probe_long_before_the_cooldown(net: Net) -> None:
    """The breakers open, selection still names somebody and what is wrong; a good probe is enough to go on."""
    health = {"interval_s": 0.3, "jitter_s": 0.1, "probe_timeout_s": 0.5, "probes_per_second": 100}
    async with net.pool(health=health, breaker={"cooldown_s": 3600, "failure_threshold": 3}) as pool:
        await many(pool, 5)
        net.fault(kind="down", nodes=[0, 1, 2])
        async with asyncio.timeout(30):
            while pool.serving:
                with pytest.raises(RpcError):
                    await pool.call("getSlot")
                await asyncio.sleep(0.01)
        asked = [net.sent_to(pool, name) for name in pool.names]
        for _ in range(20):
            with pytest.raises(RpcUnavailable, match="no endpoint may be asked"):
                await pool.call("getSlot")
        assert [net.sent_to(pool, name) for name in pool.names] == asked, "open breakers let nothing through"
        choice = pool.select()
        assert choice.name in pool.names
        assert "breaker is open" in choice.degraded
        net.cluster.faults.clear()
        async with asyncio.timeout(30):  # the cooldown would take an hour
            while True:
                try:
                    await pool.call("getSlot")
                    break
                except RpcUnavailable:
                    await asyncio.sleep(0.02)
        await many(pool, 30)
        assert BreakerState.CLOSED in {e.breaker for e in pool.endpoints()}


async def test_evidence_from_a_hung_node_is_never_taken_from_another(net: Net) -> None:
    """A pinned read waits for its own node, and fails with it."""
    async with net.pool(hedging={"delay_ms": 10}, request_timeout_s=0.3) as pool:
        net.fault(kind="hang", nodes=[0])
        with pytest.raises(RpcUnavailable):
            await Rpc(pool).pinned("n0").get_slot()
        assert pool.stats().hedges == 0
        assert net.sent_to(pool, "n1") == net.sent_to(pool, "n2") == 0
