"""The pool: who is asked, in which order, and what the caller gets when nobody can answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from rpc_pools import SlotNode
from scripted_rpc import Complaint, Raw, ScriptedNode, serving

from tradingbot_engine.clock import ManualClock, SystemClock
from tradingbot_engine.rpc.errors import (
    AlreadyProcessed,
    BlockhashNotFound,
    DataMissing,
    MethodUnsupported,
    PreflightFailed,
    RequestInvalid,
    RpcCredential,
    RpcError,
    RpcThrottled,
    RpcTimeout,
    RpcUnavailable,
    SlotSkipped,
)
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import RpcSettings

EPOCH = {"absoluteSlot": 968, "blockHeight": 900}


def at_slot(slot: int, value: Any = 1) -> dict[str, Any]:
    return {"context": {"slot": slot}, "value": value}


def answers(value: Any) -> ScriptedNode:
    return ScriptedNode(lambda method, params: value)


def stands_at(slot: int) -> ScriptedNode:
    return SlotNode(slot)


def complains(code: int, message: str = "x", data: Any = None) -> ScriptedNode:
    def handler(method: str, params: list[Any]) -> Any:
        raise Complaint(code, message, data)

    return ScriptedNode(handler)


def raw(status: int, body: bytes = b"<html>no</html>", headers: dict[str, str] | None = None) -> ScriptedNode:
    def handler(method: str, params: list[Any]) -> Any:
        raise Raw(status, body, headers)

    return ScriptedNode(handler)


@asynccontextmanager
async def pool_over(*nodes: ScriptedNode, clock: Any = None, **kwargs: Any) -> AsyncIterator[RpcPool]:
    """Run a pool over the nodes; `kwargs` are its settings."""
    options = {"request_timeout_s": 5.0, "max_in_flight": 100, **kwargs}
    async with serving(*nodes) as endpoints:
        settings = RpcSettings(endpoints=endpoints, **options)
        async with RpcPool(settings, clock=clock or SystemClock(), slot_s=0.001) as pool:
            yield pool


async def test_the_first_by_priority_answers_and_the_others_are_left_alone() -> None:
    """Priority is the order of the settings' numbers; nothing is asked twice without need."""
    first, second = answers(at_slot(7, 11)), answers(at_slot(7, 12))
    async with pool_over(first, second) as pool:
        answer = await pool.call("getBalance", ["k"])
    assert (answer.result["value"], answer.provider, answer.context_slot) == (11, "n0", 7)
    assert (first.calls, second.calls) == ([("getBalance", ["k"])], [])


@pytest.mark.parametrize(
    "broken",
    [
        lambda: raw(500),
        lambda: raw(502, b""),
        lambda: raw(200, b"<html>gateway</html>"),
        lambda: raw(200, b'{"jsonrpc":"2.0","id":999999,"result":5}'),
        lambda: raw(200, b'{"jsonrpc":"2.0","id":1}'),
        lambda: raw(200, b"[]"),
        lambda: raw(302, b"", {"Location": "http://127.0.0.1:9/"}),
        lambda: complains(-32603),
        lambda: complains(-32005),
        lambda: complains(-32016),
        lambda: complains(-32601),
        lambda: raw(429, b"slow down"),
        lambda: raw(401, b"{}"),
    ],
)
async def test_an_endpoint_that_cannot_answer_is_passed_over(broken: Callable[[], ScriptedNode]) -> None:
    """5xx, HTML, another question's answer, a redirect, a sick node, a limit, a bad key: the next one is asked at once."""
    async with pool_over(broken(), answers(at_slot(3, 42))) as pool:
        answer = await pool.call("getBalance", ["k"])
    assert (answer.result["value"], answer.provider) == (42, "n1")


async def test_a_hanging_endpoint_costs_one_timeout_and_is_then_asked_last() -> None:
    """The second call must not wait for the same node again."""

    async def hang(method: str, params: list[Any]) -> Any:
        await asyncio.sleep(30)

    slow, quick = ScriptedNode(hang), answers(at_slot(1))
    async with pool_over(slow, quick, request_timeout_s=0.2, hedging={"enabled": False}) as pool:
        for _ in range(3):
            assert (await pool.call("getBalance", ["k"])).provider == "n1"
        assert len(slow.calls) == 1
        with pytest.raises(RpcTimeout):
            await pool.call("getBalance", ["k"], provider="n0")
        assert [e.healthy for e in pool.endpoints()] == [False, True]


async def test_a_reset_after_the_node_took_a_send_goes_to_the_next_node_with_the_same_bytes() -> None:
    """The outcome is unknown, and identical bytes are harmless."""

    def take_and_reset(method: str, params: list[Any]) -> Any:
        raise ConnectionResetError

    first, second = ScriptedNode(take_and_reset), answers("sig")
    async with pool_over(first, second) as pool:
        await Rpc(pool).send_transaction(b"bytes", skip_preflight=True, preflight_commitment="confirmed")
    assert first.calls == second.calls


async def test_a_throttled_endpoint_rests_for_as_long_as_it_asked() -> None:
    """Retry-After is honoured, and the endpoint comes back by itself."""
    clock = ManualClock()
    busy = [True]

    def handler(method: str, params: list[Any]) -> Any:
        if busy[0]:
            raise Raw(429, b"{}", {"Retry-After": "10"})
        return at_slot(1)

    first = ScriptedNode(handler)
    async with pool_over(first, answers(at_slot(1)), clock=clock) as pool:
        await pool.call("getBalance", ["k"])
        busy[0] = False
        await clock.advance(9.9)
        assert (await pool.call("getBalance", ["k"])).provider == "n1"
        await clock.advance(0.2)
        assert (await pool.call("getBalance", ["k"])).provider == "n0"
    assert len(first.calls) == 2


async def test_when_everybody_rests_the_caller_is_told_so_and_nobody_is_asked() -> None:
    """A limit is not broken because all endpoints have one."""
    node = raw(429, b"{}", {"Retry-After": "10"})
    async with pool_over(node, clock=ManualClock()) as pool:
        for _ in range(2):
            with pytest.raises(RpcThrottled):
                await pool.call("getBalance", ["k"])
    assert len(node.calls) == 1


async def test_a_refused_key_disables_the_endpoint_until_a_probe_is_taken_again() -> None:
    """Calls leave it alone; a provider whose own keeping of keys was broken for a while is back without a restart."""
    clock, taken = ManualClock(), [False]

    def handler(method: str, params: list[Any]) -> Any:
        if not taken[0]:
            raise Raw(403, b"{}")
        return {"getHealth": "ok", "getSlot": 1000, "getEpochInfo": EPOCH}.get(
            method, {"context": {"slot": 1000}, "value": 1}
        )

    node = ScriptedNode(handler)
    async with pool_over(node, clock=clock) as pool:
        with pytest.raises(RpcCredential):
            await pool.call("getBalance", ["k"])
        assert node.methods() == ["getBalance", "getHealth"], "the key, or the method? asked once"
        with pytest.raises(RpcCredential):
            await pool.call("getBalance", ["k"])
        assert len(node.calls) == 2
        assert not pool.endpoints()[0].healthy
        taken[0] = True
        await pool.probe()
        assert (await pool.call("getBalance", ["k"])).provider == "n0"
        assert pool.endpoints()[0].healthy


async def test_a_method_that_a_plan_does_not_hold_takes_nothing_else_away() -> None:
    """Providers refuse it with the status of a wrong key; sends and looks must go on."""

    def handler(method: str, params: list[Any]) -> Any:
        if method == "getTokenLargestAccounts":
            raise Raw(403, b'{"jsonrpc":"2.0","error":{"code":-32403,"message":"only for paid plans"},"id":null}')
        return {"getHealth": "ok"}.get(method, {"context": {"slot": 1000}, "value": 1})

    async with pool_over(ScriptedNode(handler)) as pool:
        with pytest.raises(MethodUnsupported):
            await pool.call("getTokenLargestAccounts", ["m"])
        assert (await pool.call("getBalance", ["k"])).provider == "n0"
        assert pool.endpoints()[0].healthy


async def test_missing_data_is_asked_for_everywhere_and_once_more_a_slot_later() -> None:
    """A block that no node has yet may be there after one slot; then it is given up."""
    first, second = complains(-32004), complains(-32014)
    async with pool_over(first, second) as pool:
        with pytest.raises(DataMissing):
            await pool.call("getBlock", [5])
    assert (len(first.calls), len(second.calls)) == (2, 2)


async def test_a_skipped_slot_is_asked_for_in_one_sweep_without_waiting() -> None:
    """A skipped slot stays skipped."""
    first, second = complains(-32007, "Slot 5 was skipped"), complains(-32009, "Slot 5 was skipped")
    async with pool_over(first, second) as pool:
        with pytest.raises(SlotSkipped):
            await pool.call("getBlock", [5])
    assert (len(first.calls), len(second.calls)) == (1, 1)


@pytest.mark.parametrize(
    ("node", "error"),
    [
        (lambda: complains(-32602, "Invalid params"), RequestInvalid),
        (lambda: complains(-32002, "custom program error: 0x1771"), PreflightFailed),
        (lambda: complains(-32002, "already been processed"), AlreadyProcessed),
    ],
)
async def test_what_is_wrong_with_the_request_itself_is_not_tried_elsewhere(
    node: Callable[[], ScriptedNode], error: type[RpcError]
) -> None:
    """Asking another node cannot help, and would only cost."""
    other = answers("sig")
    async with pool_over(node(), other) as pool:
        with pytest.raises(error):
            await pool.call("sendTransaction", ["AA=="])
    assert other.calls == []


async def test_an_unknown_blockhash_is_tried_on_every_node_and_then_reported_as_temporary() -> None:
    """A node that lags does not know the newest blockhash; another may."""
    node = complains(-32002, "Blockhash not found")
    async with pool_over(node, complains(-32002, "Blockhash not found")) as pool:
        with pytest.raises(BlockhashNotFound):
            await pool.call("sendTransaction", ["AA=="])


async def test_a_nodes_own_word_outranks_a_node_that_said_nothing() -> None:
    """Of several complaints the caller sees the one about the question."""
    async with pool_over(complains(-32007, "Slot 5 was skipped"), raw(500)) as pool:
        with pytest.raises(SlotSkipped):
            await pool.call("getBlock", [5])


async def test_a_pinned_call_never_goes_elsewhere() -> None:
    """Evidence of two nodes must not be mixed."""
    other = answers(at_slot(1))
    async with pool_over(raw(500), other) as pool:
        with pytest.raises(RpcUnavailable):
            await pool.call("getBalance", ["k"], provider="n0")
        with pytest.raises(RpcUnavailable):
            await pool.call("getBalance", ["k"], provider="n1", exclude=("n1",))
    assert other.calls == []


async def test_an_answer_above_the_size_limit_is_a_fault() -> None:
    """A node cannot fill our memory."""
    big = b'{"jsonrpc":"2.0","id":1,"result":"' + b"x" * 20_000 + b'"}'
    async with pool_over(raw(200, big), max_answer_bytes=10_000) as pool:
        with pytest.raises(RpcUnavailable, match="larger than"):
            await pool.call("getBlock", [5])


async def test_no_error_and_no_status_ever_shows_the_url() -> None:
    """URLs hold keys: an error names the endpoint."""
    broken = [raw(500), raw(429), raw(401), raw(200, b"<html>"), complains(-32602)]
    async with pool_over(*broken, request_timeout_s=0.5) as pool:
        texts = []
        for name in pool.names:
            with pytest.raises(RpcError) as caught:
                await pool.call("getBalance", ["k"], provider=name)
            texts.append(str(caught.value) + repr(caught.value))
        texts += [repr(pool.endpoints()), repr(pool._endpoints)]
    async with RpcPool((await _dead_endpoint(),), request_timeout_s=1, max_in_flight=1, clock=SystemClock()) as pool:
        with pytest.raises(RpcUnavailable) as caught_dead:
            await pool.call("getBalance", ["k"])
        texts.append(str(caught_dead.value))
    assert not any("sesame" in text or "127.0.0.1" in text for text in texts), texts


async def _dead_endpoint() -> Any:
    async with serving(answers(1)) as endpoints:
        return endpoints[0]


async def test_no_more_requests_are_under_way_than_the_settings_allow() -> None:
    """Callers beyond the limit wait their turn; a caller that gives up while waiting leaves no hole."""
    now = peak = 0

    async def handler(method: str, params: list[Any]) -> Any:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0.01)
        now -= 1
        return at_slot(1)

    async with pool_over(ScriptedNode(handler), max_in_flight=3) as pool:
        tasks = [asyncio.create_task(pool.call("getBalance", ["k"])) for _ in range(30)]
        await asyncio.sleep(0.005)
        for task in tasks[10:15]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(not isinstance(d, BaseException) for d in done) == 25
        assert pool.in_flight == 0
    assert peak == 3


async def test_a_malformed_result_blames_the_node_and_asks_the_next() -> None:
    """HTTP 200 and a JSON-RPC result are no health: the content is checked before it is believed."""
    lies = [
        {"context": {"slot": 1}, "value": -5},
        {"context": {"slot": "1"}, "value": 5},
        {"context": {"slot": 1}, "value": "5"},
        {"value": 5},
        None,
        [],
    ]
    for lie in lies:
        async with pool_over(answers(lie), answers(at_slot(9, 5))) as pool:
            answer = await Rpc(pool).get_balance("k")
            assert (answer.result, answer.provider) == (5, "n1"), lie


async def test_numbers_that_no_ledger_can_hold_are_malformed_and_move_nothing() -> None:
    """A slot or height of 2^63 would overflow where it is stored, and make every other node seem to lag."""
    huge = 2**63
    liar = ScriptedNode(lambda method, params: huge if method == "getSlot" else at_slot(huge, {"lamports": 1}))
    honest = ScriptedNode(lambda method, params: 7 if method == "getSlot" else at_slot(7, 5))
    async with pool_over(liar, honest) as pool:
        rpc = Rpc(pool)
        await pool.probe()
        assert [e.slot for e in pool.endpoints()] == [0, 7]
        assert await rpc.get_slot() == 7
        assert (await rpc.get_balance("k")).result == 5
        with pytest.raises(RpcError, match="malformed"):
            await rpc.pinned("n0").get_slot()


@pytest.mark.parametrize(
    "changes", [{"memo": 5}, {"slot": -1}, {"slot": 2**63}, {"err": 7}, {"signature": None}, {"blockTime": "now"}]
)
async def test_rows_of_an_address_history_are_read_strictly(changes: dict[str, Any]) -> None:
    """A memo is a text or null, an error an object or a name; anything else blames the node."""
    row = {"signature": "s", "slot": 9, "err": None, "memo": "[36] tb1:ab", "blockTime": 5}
    async with pool_over(answers([{**row, **changes}]), answers([row])) as pool:
        answer = await Rpc(pool).get_signatures_for_address("k")
    assert answer.provider == "n1"
    (got,) = answer.result
    assert (got.signature, got.slot, got.memo, got.failed) == ("s", 9, "[36] tb1:ab", False)


async def test_a_node_that_lags_far_behind_is_asked_last_and_shown_as_unhealthy() -> None:
    """Health is slot progress, not HTTP 200."""
    old, fresh = stands_at(1000), stands_at(2000)
    async with pool_over(old, fresh) as pool:
        await pool.probe()
        assert pool.order() == ["n1", "n0"]
        shown = pool.endpoints()
        assert [(e.healthy, e.slot) for e in shown] == [(False, 1000), (True, 2000)]
        assert "1000 slots behind" in shown[0].error


async def test_paging_reads_an_address_history_to_its_end() -> None:
    """Pages join without hole or repetition; the last page is the short one."""
    rows = [{"signature": f"s{i}", "slot": 100 - i, "err": None, "memo": None, "blockTime": 1} for i in range(7)]

    def handler(method: str, params: list[Any]) -> Any:
        config = params[1]
        start = next((i + 1 for i, r in enumerate(rows) if r["signature"] == config.get("before")), 0)
        return rows[start : start + config["limit"]]

    async with pool_over(ScriptedNode(handler)) as pool:
        got = [row.signature async for row in Rpc(pool).all_signatures_for_address("k", page=3)]
        recent = [row.signature async for row in Rpc(pool).all_signatures_for_address("k", page=3, min_slot=98)]
    assert ([r["signature"] for r in rows], ["s0", "s1", "s2"]) == (got, recent)


async def test_requests_on_the_wire_are_json_rpc_with_distinct_ids() -> None:
    """Ids differ, so that an answer can be told from the answer to another question."""
    seen: list[Any] = []

    class Spy(ScriptedNode):
        async def serve(self, request: Any) -> Any:
            seen.append(orjson.loads(await request.read()))
            return await super().serve(request)

    async with pool_over(Spy(lambda method, params: 1)) as pool:
        await asyncio.gather(*(pool.call("getSlot", []) for _ in range(5)))
    assert len({q["id"] for q in seen}) == 5
    assert {("2.0", "getSlot")} == {(q["jsonrpc"], q["method"]) for q in seen}
