"""
sendTransaction/s over HTTP against a localnet in a process of its own, signatures checked, every transaction executed.

Baseline: the same requests answered by a bare aiohttp handler in the same process, so the ratio says what the bank costs.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Callable, Sequence

import aiohttp
import orjson
import uvloop
from aiohttp import web
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet.cluster import Cluster

SENDS = 1_500
ROUNDS = 3
CONCURRENCY = 50
GOAL_SENDS_PER_S = 1_500
HEADERS = {"Content-Type": "application/json"}


async def _echo(request: web.Request) -> web.Response:
    call = orjson.loads(await request.read())
    body = orjson.dumps({"jsonrpc": "2.0", "result": "1" * 88, "id": call["id"]})
    return web.Response(body=body, content_type="application/json")


async def _serve() -> None:
    cluster = Cluster(nodes=1, slot_ms=400)
    cluster.gateway.router.add_post("/echo", _echo)
    async with cluster:
        print(json.dumps(cluster.described()), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the benchmark closes the pipe


async def _call(session: aiohttp.ClientSession, url: str, method: str, *params: object) -> object:
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    async with session.post(url, data=body, headers=HEADERS) as response:
        answer = orjson.loads(await response.read())
    if "error" in answer:
        raise RuntimeError(f"{method}: {answer['error']}")
    return answer["result"]


async def _rate(session: aiohttp.ClientSession, url: str, bodies: Sequence[bytes]) -> float:
    """Return requests per second, each answered with a result."""
    waiting = iter(bodies)

    async def worker() -> None:
        for body in waiting:
            async with session.post(url, data=body, headers=HEADERS) as response:
                answer = orjson.loads(await response.read())
            if "result" not in answer:
                raise RuntimeError(f"refused: {answer}")

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return len(bodies) / (time.perf_counter() - began)


def _sends(payer: Keypair, to: Keypair, blockhash: Hash, first: int) -> tuple[list[bytes], str]:
    bodies, last = [], ""
    for number in range(first, first + SENDS):
        send = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to.pubkey(), lamports=1_000_000 + number))
        transaction = VersionedTransaction(MessageV0.try_compile(payer.pubkey(), [send], [], blockhash), [payer])
        options = {"encoding": "base64", "skipPreflight": True}
        params = [base64.b64encode(bytes(transaction)).decode(), options]
        bodies.append(orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "sendTransaction", "params": params}))
        last = str(transaction.signatures[0])
    return bodies, last


async def _landed(session: aiohttp.ClientSession, url: str, signature: str) -> None:
    async with asyncio.timeout(30):
        while True:
            statuses = await _call(session, url, "getSignatureStatuses", [signature])
            assert isinstance(statuses, dict)
            if statuses["value"][0] is not None:
                return
            await asyncio.sleep(0.1)


async def main(emit: Callable[..., None]) -> None:
    """Measure in turns; the best round of each counts, and the last transaction of each round must land."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, __file__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    assert server.stdin is not None
    try:
        ready = json.loads(await server.stdout.readline())
        url, echo = ready["nodes"][0]["http"], ready["swap"] + "/echo"
        payer, to = Keypair(), Keypair()
        sends: list[float] = []
        echoes: list[float] = []
        async with aiohttp.ClientSession() as session:
            await _call(session, url, "requestAirdrop", str(payer.pubkey()), 10**12)
            for number in range(ROUNDS):
                latest = await _call(session, url, "getLatestBlockhash", {"commitment": "confirmed"})
                assert isinstance(latest, dict)
                bodies, last = _sends(payer, to, Hash.from_string(latest["value"]["blockhash"]), number * SENDS)
                echoes.append(await _rate(session, echo, bodies))
                sends.append(await _rate(session, url, bodies))
                await _landed(session, url, last)
    finally:
        server.stdin.close()
        await server.wait()
    emit("localnet-tx", max(sends), "tx/s", "higher", max(echoes), GOAL_SENDS_PER_S)


if __name__ == "__main__":
    uvloop.run(_serve())
