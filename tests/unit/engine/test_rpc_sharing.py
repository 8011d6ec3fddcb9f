"""Equal reads share a request, small ones a batch."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from aiohttp import web
from rpc_pools import BALANCE, pool_over, says
from scripted_rpc import ScriptedNode

from tradingbot_engine.rpc.errors import (
    RpcUnavailable,
)
from tradingbot_engine.rpc.methods import Rpc


async def test_equal_reads_at_one_time_share_a_request_and_different_ones_do_not() -> None:
    """Accounts only; a pinned read, a send and what proves anything are asked each for itself."""
    node = says(after_s=0.05)
    async with pool_over(node, endpoint={"concurrency": 50}) as pool:
        rpc = Rpc(pool)
        await asyncio.gather(*(rpc.get_balance("k") for _ in range(10)), rpc.get_balance("other"))
        assert len(node.calls) == 2
        assert pool.stats().shared == 9
        await asyncio.gather(*(rpc.pinned("n0").get_balance("k") for _ in range(5)))
        assert len(node.calls) == 2 + 5
        node.handler = lambda method, params: {"context": {"slot": 9}, "value": [None]}
        await asyncio.gather(*(rpc.get_signature_statuses(["s"], search_history=False) for _ in range(3)))
        assert len(node.calls) == 2 + 5 + 3


async def test_whoever_asked_first_may_give_up_and_the_others_are_still_answered() -> None:
    """Nobody's cancellation is another's."""
    node = says(after_s=0.05)
    async with pool_over(node) as pool:
        calls = [asyncio.create_task(Rpc(pool).get_balance("k")) for _ in range(4)]
        while not node.calls:
            await asyncio.sleep(0.001)
        calls[0].cancel()
        done = await asyncio.gather(*calls[1:])
        assert [d.result for d in done] == [1, 1, 1]
        assert len(node.calls) == 2
        with pytest.raises(asyncio.CancelledError):
            await calls[0]


class BatchNode(ScriptedNode):
    """Takes batches, or refuses them; `lost` members get no answer."""

    def __init__(self, *, refuses: bytes | None = None, status: int = 200, lost: frozenset[int] = frozenset()) -> None:
        super().__init__(lambda method, params: BALANCE)
        self.refuses, self.status, self.lost = refuses, status, lost
        self.sizes: list[int] = []

    async def serve(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        if not isinstance(asked, list):
            self.sizes.append(1)
            return web.Response(body=orjson.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": BALANCE}))
        self.sizes.append(len(asked))
        if self.refuses is not None:
            return web.Response(status=self.status, body=self.refuses)
        answers = [
            {"jsonrpc": "2.0", "id": item["id"], "result": BALANCE}
            for place, item in enumerate(asked)
            if place not in self.lost
        ]
        return web.Response(body=orjson.dumps(answers[::-1]))


BATCHED = {"batch_size": 4, "concurrency": 50}


async def test_small_reads_of_one_moment_travel_together_where_the_endpoint_allows() -> None:
    """Answers come in any order; a scan travels alone."""
    node = BatchNode()
    async with pool_over(node, endpoint=BATCHED) as pool:
        done = await asyncio.gather(*(pool.call("getBalance", [str(i)]) for i in range(10)), pool.call("getBlock", [1]))
        assert [d.result for d in done] == [BALANCE] * 11
        assert sorted(node.sizes) == [1, 2, 4, 4]
        assert pool.stats().batches == 3
        assert (await pool.call("getBalance", ["alone"])).result == BALANCE
        assert node.sizes[-1] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no batches"}}', 200),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32403,"message":"only for paid plans"}}', 403),
        (b"<html>413</html>", 413),
        (b"[]x", 400),
    ],
)
async def test_an_endpoint_that_refuses_a_batch_is_asked_one_by_one_for_good(body: bytes, status: int) -> None:
    """The calls are answered all the same, and no second batch is tried."""
    node = BatchNode(refuses=body, status=status)
    async with pool_over(node, endpoint=BATCHED) as pool:
        for _ in range(2):
            done = await asyncio.gather(*(pool.call("getBalance", [str(i)]) for i in range(4)))
            assert [d.result for d in done] == [BALANCE] * 4
        assert sorted(node.sizes) == [1] * 8 + [4]
        assert pool.endpoints()[0].healthy


async def test_a_batch_without_an_answer_to_one_question_is_a_fault_for_that_one_alone() -> None:
    """The others keep theirs."""
    node = BatchNode(lost=frozenset({1}))
    async with pool_over(node, endpoint=BATCHED) as pool:
        done = await asyncio.gather(*(pool.call("getBalance", [str(i)]) for i in range(4)), return_exceptions=True)
        assert [isinstance(d, RpcUnavailable) for d in done] == [False, True, False, False]
        assert pool.in_flight == 0
