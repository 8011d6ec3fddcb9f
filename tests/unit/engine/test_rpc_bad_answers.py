"""Trickles, nonsense, settings out of range: a clear error, and nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import orjson
import pytest
from aiohttp import web
from pydantic import SecretStr
from rpc_pools import BALANCE, pool_over, says
from scripted_rpc import Raw, ScriptedNode, serving

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EndpointSettings, RpcSettings
from tradingbot_engine.settings.rpc import HedgingSettings


async def _trickles(how: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a byte now and then, for ever."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
        await reader.readuntil(b"\r\n\r\n")
        if how == "chunked":
            writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        if how == "length":
            writer.write(head + b"Content-Length: 100000\r\n\r\n")
        if how == "head":
            writer.write(head + b"X-Slow: ")
        while not reader.at_eof():
            writer.write(b"1\r\n \r\n" if how == "chunked" else b"x" if how == "head" else b" ")
            await writer.drain()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("how", ["chunked", "length", "head"])
async def test_a_trickled_answer_costs_one_timeout_and_the_next_node_answers(how: str, batch_size: int) -> None:
    """A byte now and then keeps no call alive: the timeout holds to the last byte, of head or body, batched or not."""
    trickling: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trickling.add(asyncio.ensure_future(_trickles(how, reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    good = says()
    async with serving(good) as (fine,):
        slow = EndpointSettings(name="slow", url=SecretStr(f"http://{host}:{port}/"), batch_size=batch_size)
        settings = RpcSettings(
            endpoints=(slow, fine.model_copy(update={"priority": 1})),
            request_timeout_s=0.2,
            hedging=HedgingSettings(enabled=False),
        )
        async with RpcPool(settings, clock=SystemClock()) as pool:
            calls = [pool.call("getBalance", [str(n)]) for n in range(2)]
            done = await asyncio.wait_for(asyncio.gather(*calls), 30)
            assert [d.provider for d in done] == ["n0", "n0"]
            assert pool.stats().requests["slow", "Timeout"] == 2
            assert pool.in_flight == 0
    server.close()
    await asyncio.wait_for(asyncio.gather(*trickling), 30)  # each ends when its client has gone


def test_the_longest_answer_fits_the_largest_account_and_no_small_pod_is_filled_by_one() -> None:
    """10 MiB of account data in base64 and its envelope; many answers at once must not be gigabytes."""
    fallback = RpcSettings.model_validate({"endpoints": [{"name": "a", "url": "http://h"}]}).max_answer_bytes
    assert -(-10 * 1024 * 1024 // 3) * 4 + 4096 <= fallback <= 16 * 1024 * 1024


def _nonsense(dice: random.Random) -> tuple[int, bytes, dict[str, str]]:
    """Return an answer that no node should give."""

    def value(depth: int = 0) -> Any:
        kinds: list[Any] = [None, True, -1, 2**63, 1.5, float(dice.random()), "x" * dice.randrange(50), "NaN", ""]
        if depth < 3:
            kinds.append([value(depth + 1) for _ in range(dice.randrange(3))])
            keys = ("id", "result", "error", "code", "message", "data", "context", "slot", "value", "err")
            kinds += [{dice.choice(keys): value(depth + 1) for _ in range(3)} for _ in range(3)]
        return dice.choice(kinds)

    status = dice.choice([200, 200, 200, 204, 400, 404, 429, 500, 503])
    later = ("5", "-1", "nan", "inf", "1e400", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 99 Foo 1 0:0:0", "x" * 200)
    headers = {
        dice.choice(["Retry-After", "x-ratelimit-reset", "X-Other"]): dice.choice(later),
        "Content-Type": dice.choice(["application/json", "text/html", "x/y; charset=nonsense"]),
    }
    shape = dice.randrange(6)
    if shape == 0:
        return status, dice.randbytes(dice.randrange(200)), headers
    if shape == 1:
        return status, b"[" * dice.randrange(3000), headers
    if shape == 2:
        return status, dice.randbytes(20), {**headers, "Content-Encoding": dice.choice(["gzip", "deflate", "br"])}
    body = {"jsonrpc": "2.0", "id": dice.choice([1, None, "1", dice.randrange(400)]), "result": value()}
    if shape == 3:
        body["error"] = value()
    return status, orjson.dumps(body if shape < 5 else value(), option=orjson.OPT_NON_STR_KEYS, default=str), headers


@pytest.mark.parametrize("seed", range(4))
async def test_no_answer_whatever_it_is_raises_anything_but_the_pools_errors(seed: int) -> None:
    """Random bytes, wrong types, huge numbers, broken compression, absurd headers, for every typed call."""
    dice = random.Random(seed)

    def handler(method: str, params: list[Any]) -> Any:
        raise Raw(*_nonsense(dice))

    options: dict[str, Any] = {
        "breaker": {"enabled": False},
        "retry_budget": {"enabled": False},
        "endpoint": {"requests_per_second": 1e6},
    }
    async with pool_over(ScriptedNode(handler), request_timeout_s=5, **options) as pool:
        rpc = Rpc(pool)
        calls: list[Any] = [
            lambda: rpc.get_slot(),
            lambda: rpc.get_balance("k"),
            lambda: rpc.get_account("k"),
            lambda: rpc.get_multiple_accounts(["a", "b"]),
            lambda: rpc.get_token_accounts_by_owner("o", "m"),
            lambda: rpc.get_signature_statuses(["s"], search_history=True),
            lambda: rpc.get_transaction("s"),
            lambda: rpc.get_block_signatures(5),
            lambda: rpc.get_blocks(1, 2),
            lambda: rpc.get_signatures_for_address("k"),
            lambda: rpc.get_latest_blockhash(),
            lambda: rpc.get_epoch_info(),
            lambda: pool.probe(),
        ]
        refused = 0
        for _ in range(80):
            endpoint = pool._endpoints[0]
            endpoint.cool_until_s, endpoint.disabled = 0.0, ""
            try:
                await dice.choice(calls)()
            except RpcError:
                refused += 1
        assert refused > 30, "the nonsense is nonsense"
        assert pool.in_flight == 0


class Babbling(ScriptedNode):
    """Answers batches with what no node should: its members lost, doubled, mixed up, of any type."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(lambda method, params: None)
        self.dice, self.batches, self.sound = dice, 0, False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        batch = isinstance(asked, list)
        self.batches += batch
        ids = [question["id"] for question in (asked if batch else [asked])]
        if self.sound:
            answers = [{"jsonrpc": "2.0", "id": i, "result": BALANCE} for i in ids]
            return web.Response(body=orjson.dumps(answers if batch else answers[0]))
        status, body, headers = _nonsense(self.dice)
        if batch and self.dice.random() < 0.8:
            status, headers, body = self.dice.choice([200, 200, status]), {}, orjson.dumps(self._members(ids))
        return web.Response(status=status, body=body, headers=headers)

    def _members(self, ids: list[int]) -> list[Any]:
        dice, out = self.dice, []
        for i in [*ids, *dice.sample(ids, dice.randrange(len(ids)))]:
            said = dice.choice([i, i, i, str(i), float(i), True, None, [i], {"id": i}, -i, 2**63])
            result = dice.choice([BALANCE, None, 1, "x", [], {}, {"context": {"slot": 1}, "value": True}])
            answer: Any = {"jsonrpc": "2.0", "id": said, dice.choice(["result", "result", "error", "code"]): result}
            out.append(dice.choice([answer, answer, answer, None, i, "x", [answer], {}]))
        dice.shuffle(out)
        return out


@pytest.mark.parametrize("seed", range(3))
async def test_no_answer_to_a_batch_raises_anything_but_the_pools_errors_and_the_next_sound_one_is_taken(
    seed: int,
) -> None:
    """Every call of the batch comes to an end of its own, with a value of the right type or an error; no permit stays out."""
    node = Babbling(random.Random(seed))
    options: dict[str, Any] = {
        "breaker": {"enabled": False},
        "retry_budget": {"enabled": False},
        "hedging": {"enabled": False},
        "endpoint": {"requests_per_second": 1e6, "batch_size": 8},
    }
    async with pool_over(node, request_timeout_s=20, call_deadline_s=20, **options) as pool:
        rpc, batcher, endpoint = Rpc(pool), pool._transport.batchers["n0"], pool._endpoints[0]

        async def ask() -> list[Any]:
            endpoint.cool_until_s, endpoint.disabled, batcher.refused = 0.0, "", False
            return await asyncio.gather(*(rpc.get_balance(str(n)) for n in range(6)), return_exceptions=True)

        ends = [end for _ in range(25) for end in await ask()]
        refused = [end for end in ends if isinstance(end, RpcError)]
        assert len(refused) > 30, "the nonsense is nonsense"
        taken = [end.result for end in ends if not isinstance(end, BaseException)]
        assert len(refused) + len(taken) == len(ends)
        assert all(type(lamports) is int for lamports in taken)
        assert node.batches > 20
        assert pool.in_flight == 0
        node.sound = True
        assert [end.result for end in await ask()] == [BALANCE["value"]] * 6


async def test_protections_that_are_off_are_named() -> None:
    """Status shouts about them."""
    off = {name: {"enabled": False} for name in ("breaker", "hedging", "health", "keep_alive", "retry_budget")}
    async with pool_over(says(), **off) as pool:
        assert pool.switched_off() == [f"rpc.{name}" for name in off]
        await pool.call("getBalance", ["k"])
        connector = pool._transport._session.connector  # type: ignore[union-attr]
        assert connector is not None
        assert connector.force_close
    async with pool_over(says()) as pool:
        assert pool.switched_off() == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"request_timeout_s": 0}, "request_timeout_s"),
        ({"request_timeout_s": "soon"}, "request_timeout_s"),
        ({"call_deadline_s": 1}, "call_deadline_s"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"max_answer_bytes": 1}, "max_answer_bytes"),
        ({"rate_window_ms": -1}, "rate_window_ms"),
        ({"queue": {"max_size": 0}}, "max_size"),
        ({"queue": {"deadline_ms": 5, "reject_fast_ms": 6}}, "reject_fast_ms"),
        ({"breaker": {"failure_threshold": 0}}, "failure_threshold"),
        ({"breaker": {"cooldown_s": float("inf")}}, "cooldown_s"),
        ({"breaker": {"half_open_probes": 0}}, "half_open_probes"),
        ({"hedging": {"delay_ms": 0}}, "delay_ms"),
        ({"hedging": {"max_extra": 9}}, "max_extra"),
        ({"health": {"interval_s": 0}}, "interval_s"),
        ({"health": {"jitter_s": -1}}, "jitter_s"),
        ({"health": {"probe_timeout_s": 61}}, "probe_timeout_s"),
        ({"health": {"probes_per_second": 0}}, "probes_per_second"),
        ({"keep_alive": {"max_sockets": 0}}, "max_sockets"),
        ({"retry_budget": {"max_share": 11}}, "max_share"),
        ({"endpoints": [{"name": "a", "url": "http://h", "requests_per_second": 0}]}, "requests_per_second"),
        ({"endpoints": [{"name": "a", "url": "http://h", "requests_per_second": 0.9}]}, "requests_per_second"),
        ({"urgent_timeout_s": 0}, "urgent_timeout_s"),
        ({"history_timeout_s": 301}, "history_timeout_s"),
        ({"urgent_deadline_s": -1}, "urgent_deadline_s"),
        ({"endpoints": [{"name": "a", "url": "http://h", "concurrency": True}]}, "concurrency"),
        ({"endpoints": [{"name": "a", "url": "http:///x"}]}, "url"),
        ({"endpoints": [{"name": "a", "url": "http://h"}, {"name": "a", "url": "http://g"}]}, "names must differ"),
        ({"endpoints": []}, "endpoints"),
        ({"breakers": {}}, "breakers"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(changes: dict[str, Any], field: str) -> None:
    """Nothing is clamped in silence."""
    good = {"endpoints": [{"name": "a", "url": "http://h"}]}
    RpcSettings.model_validate(good)
    with pytest.raises(ValueError, match=field):
        RpcSettings.model_validate({**good, **changes})
