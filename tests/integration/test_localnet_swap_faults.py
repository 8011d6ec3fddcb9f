"""Faults of the swap, price and history APIs, switched where all faults of localnet are."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from tradingbot_engine.domain.units import SOL_MINT
from tradingbot_engine.localnet.cluster import Cluster
from tradingbot_engine.localnet.market import Market

BONK = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
QUOTE = f"/swap/v1/quote?inputMint={SOL_MINT}&outputMint={BONK}&amount=1000000000"


class Apis:
    """localnet's gateway and a client."""

    def __init__(self, cluster: Cluster, session: aiohttp.ClientSession) -> None:
        self.cluster, self.session = cluster, session

    async def ask(self, path: str = QUOTE, *, within_s: float = 5) -> tuple[int, Any, str]:
        async with asyncio.timeout(within_s), self.session.get(self.cluster.gateway_url + path) as answer:
            return answer.status, answer.headers, await answer.text()

    async def fault(self, method: str = "POST", fault_id: str = "", **fault: Any) -> tuple[int, Any]:
        url = f"{self.cluster.gateway_url}/localnet/faults" + (f"/{fault_id}" if fault_id else "")
        body = {"target": "swap", **fault} if fault else None
        async with self.session.request(method, url, json=body) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def apis() -> AsyncIterator[Apis]:
    cluster = Cluster(nodes=1, slot_ms=0, speed=750)
    market = Market(cluster.bank, seed=3)
    market.trading = False
    market.open()
    market.mount(cluster.gateway)
    async with cluster, aiohttp.ClientSession() as session:
        cluster.bank.tick()
        yield Apis(cluster, session)
    market.close()


async def test_they_are_listed_and_removed_like_any_other(apis: Apis) -> None:
    """POST adds, GET lists, DELETE removes one or all; several are on at once."""
    status, first = await apis.fault(kind="http_error", status=502, paths=["/swap/v1/quote"])
    assert (status, first["target"], first["kind"], first["status"]) == (201, "swap", "http_error", 502)
    await apis.fault(kind="rate_limited", paths=["/price"])
    _, listed = await apis.fault("GET")
    assert [(one["id"], one["kind"]) for one in listed] == [("f1", "http_error"), ("f2", "rate_limited")]
    assert (await apis.ask())[0] == 502
    status, headers, _ = await apis.ask(f"/price/v3?ids={BONK}")
    assert status == 429
    assert int(headers["x-ratelimit-reset"]) > 1_600_000_000
    assert await apis.fault("DELETE", first["id"]) == (200, {"removed": 1})
    assert (await apis.ask())[0] == 200
    assert await apis.fault("DELETE") == (200, {"removed": 1})
    assert (await apis.ask(f"/price/v3?ids={BONK}"))[0] == 200


async def test_pages_hangs_and_resets_are_what_a_client_meets(apis: Apis) -> None:
    """HTML with status 200, no answer at all, and a connection that ends."""
    await apis.fault(kind="html")
    status, headers, text = await apis.ask()
    assert (status, headers["Content-Type"].split(";")[0], "<html>" in text) == (200, "text/html", True)
    await apis.fault("DELETE")
    await apis.fault(kind="down")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await apis.ask()
    await apis.fault("DELETE")
    await apis.fault(kind="hang")
    with pytest.raises(TimeoutError):
        await apis.ask(within_s=0.3)
    await apis.fault("DELETE")
    await apis.fault(kind="latency", latency_ms=400)
    with pytest.raises(TimeoutError):
        await apis.ask(within_s=0.3)
    assert (await apis.ask())[0] == 200


async def test_an_execution_whose_answer_is_lost_has_landed(apis: Apis) -> None:
    """The client cannot know; the chain does."""
    wallet = Keypair()
    apis.cluster.bank.airdrop(wallet.pubkey(), 10**11)
    order = QUOTE.replace("v1/quote", "v2/order") + f"&taker={wallet.pubkey()}"
    async with apis.session.get(apis.cluster.gateway_url + order) as answer:
        ordered = await answer.json()
    unsigned = VersionedTransaction.from_bytes(base64.b64decode(ordered["transaction"]))
    signed = VersionedTransaction(unsigned.message, [wallet])
    await apis.fault(kind="lose_answer")
    body = {"signedTransaction": base64.b64encode(bytes(signed)).decode(), "requestId": ordered["requestId"]}

    async def execute() -> None:
        async with apis.session.post(f"{apis.cluster.gateway_url}/swap/v2/execute", json=body) as answer:
            await answer.read()

    asked = asyncio.create_task(execute())
    async with asyncio.timeout(30):
        while not asked.done():
            await asyncio.sleep(0.01)
            apis.cluster.bank.tick()
    assert isinstance(asked.exception(), aiohttp.ClientError)
    record = apis.cluster.bank.history.find(signed.signatures[0])
    assert record is not None
    assert record.error is None


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"kind": "http_error", "status": 200}, "status"),
        ({"kind": "latency", "latency_ms": -1}, "latency_ms"),
        ({"kind": "stale", "slots": 0}, "slots"),
        ({"kind": "stale"}, "slots"),
        ({"kind": "hang", "nodes": [0]}, "nodes"),
        ({"kind": "hang", "paths": ["swap"]}, "paths"),
        ({"kind": "hang", "probability": 0}, "probability"),
        ({"kind": "dead_fork"}, "kind"),
        ({"kind": "lag", "target": "swop", "nodes": [0], "slots": 3}, "target"),
    ],
)
async def test_what_the_apis_cannot_have_is_refused_with_its_field(
    apis: Apis, fault: dict[str, Any], field: str
) -> None:
    """Typed and validated: nothing is switched on by mistake."""
    status, answer = await apis.fault(**fault)
    assert status == 422
    assert any(field in problem["field"] or field in problem["message"] for problem in answer["problems"])
    assert await apis.fault("GET") == (200, [])
    assert (await apis.ask())[0] == 200


async def test_a_cluster_without_a_market_refuses_them() -> None:
    """Nobody would meet them: that is said instead of listed."""
    async with Cluster(nodes=1, slot_ms=0) as cluster, aiohttp.ClientSession() as session:
        status, answer = await Apis(cluster, session).fault(kind="hang")
        assert (status, answer) == (409, {"error": "there is no swap API here"})
