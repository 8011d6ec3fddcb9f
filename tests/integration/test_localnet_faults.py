"""Faults over HTTP: each does what it says, to the nodes it names, until it is removed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet.cluster import Cluster

SOL = 10**9


class Net:
    """A cluster in virtual time with three nodes, and a client that speaks raw JSON-RPC."""

    def __init__(self, cluster: Cluster, session: aiohttp.ClientSession) -> None:
        self.cluster, self.session = cluster, session
        self.bank = cluster.bank
        self.wallet = Keypair()

    async def http(self, node: int, method: str, params: list[Any] | None = None) -> tuple[int, Any, Any]:
        body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or []})
        headers = {"Content-Type": "application/json"}
        url = self.cluster.nodes[node].http_url
        async with self.session.post(url, data=body, headers=headers) as response:
            content = await response.read()
            return response.status, response.headers, content

    async def call(self, node: int, method: str, params: list[Any] | None = None) -> Any:
        return orjson.loads((await self.http(node, method, params))[2])

    async def fault(self, **fault: Any) -> Any:
        url = f"{self.cluster.gateway_url}/localnet/faults"
        async with self.session.post(url, data=orjson.dumps(fault)) as response:
            answer = orjson.loads(await response.read())
            assert response.status == 201, answer
            return answer

    async def heal(self) -> None:
        async with self.session.delete(f"{self.cluster.gateway_url}/localnet/faults") as response:
            assert response.status == 200

    def payment(self) -> VersionedTransaction:
        to = Keypair().pubkey()
        send = transfer(TransferParams(from_pubkey=self.wallet.pubkey(), to_pubkey=to, lamports=SOL))
        blockhash = self.bank.latest_blockhash("finalized")[0]
        return VersionedTransaction(MessageV0.try_compile(self.wallet.pubkey(), [send], [], blockhash), [self.wallet])

    async def send(self, node: int, transaction: VersionedTransaction) -> Any:
        wire = base64.b64encode(bytes(transaction)).decode()
        return await self.call(node, "sendTransaction", [wire, {"encoding": "base64", "skipPreflight": True}])

    async def status(self, node: int, *signatures: Signature) -> tuple[int, list[Any]]:
        result = (await self.call(node, "getSignatureStatuses", [[str(s) for s in signatures]]))["result"]
        return result["context"]["slot"], result["value"]


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    async with Cluster(nodes=3, slot_ms=0, audit_node=2) as cluster, aiohttp.ClientSession() as session:
        net = Net(cluster, session)
        cluster.bank.airdrop(net.wallet.pubkey(), 100 * SOL)
        cluster.bank.tick(40)
        yield net


async def test_http_faults_touch_only_the_nodes_and_methods_named(net: Net) -> None:
    """429 with Retry-After, 5xx and HTML on getSlot of node 0; everything else goes on."""
    await net.fault(kind="rate_limited", nodes=[0], methods=["getSlot"], retry_after_s=7)
    status, headers, _ = await net.http(0, "getSlot")
    assert (status, headers["Retry-After"]) == (429, "7")
    assert (await net.http(0, "getHealth"))[0] == 200
    assert (await net.http(1, "getSlot"))[0] == 200
    await net.heal()
    await net.fault(kind="http_error", nodes=[0], methods=["getSlot"], status=503)
    assert (await net.http(0, "getSlot"))[0] == 503
    await net.heal()
    await net.fault(kind="html", nodes=[0])
    status, headers, content = await net.http(0, "getSlot")
    assert (status, headers["Content-Type"].split(";")[0], content[:6]) == (200, "text/html", b"<html>")
    await net.heal()
    assert (await net.call(0, "getSlot"))["result"] > 0


async def test_a_hanging_node_never_answers_and_recovers_when_healed(net: Net) -> None:
    """The connection stays open until the caller gives up."""
    await net.fault(kind="hang", nodes=[0])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await net.http(0, "getSlot")
    await net.heal()
    assert (await net.http(0, "getSlot"))[0] == 200


async def test_a_lost_answer_is_a_reset_after_the_node_took_the_transaction(net: Net) -> None:
    """The caller sees a broken connection; the transaction lands all the same."""
    await net.fault(kind="lose_answer", nodes=[0])
    payment = net.payment()
    with pytest.raises(aiohttp.ClientError):
        await net.send(0, payment)
    net.bank.tick()
    assert (await net.status(1, payment.signatures[0]))[1][0]["err"] is None


async def test_a_node_that_is_down_resets_before_it_takes_anything(net: Net) -> None:
    """Nothing lands."""
    await net.fault(kind="down", nodes=[0])
    payment = net.payment()
    with pytest.raises(aiohttp.ClientError):
        await net.send(0, payment)
    net.bank.tick(3)
    assert (await net.status(1, payment.signatures[0]))[1] == [None]


async def test_sends_are_dropped_delayed_or_doubled(net: Net) -> None:
    """All answer with the signature; what lands, and when, differs; a doubled send lands once."""
    await net.fault(kind="drop_send", nodes=[0])
    dropped = net.payment()
    assert (await net.send(0, dropped))["result"] == str(dropped.signatures[0])
    net.bank.tick(5)
    assert (await net.status(1, dropped.signatures[0]))[1] == [None]
    await net.heal()
    await net.fault(kind="delay_send", nodes=[0], delay_slots=4)
    delayed = net.payment()
    await net.send(0, delayed)
    net.bank.tick(4)
    assert (await net.status(1, delayed.signatures[0]))[1] == [None]
    net.bank.tick()
    assert (await net.status(1, delayed.signatures[0]))[1][0]["err"] is None
    await net.heal()
    await net.fault(kind="double_send", nodes=[0], delay_slots=2)
    doubled = net.payment()
    before = (await net.call(1, "getBalance", [str(net.wallet.pubkey()), {"commitment": "processed"}]))["result"][
        "value"
    ]
    await net.send(0, doubled)
    net.bank.tick(6)
    after = (await net.call(1, "getBalance", [str(net.wallet.pubkey()), {"commitment": "processed"}]))["result"][
        "value"
    ]
    assert before - after == SOL + 5000


async def test_a_doubled_send_lands_the_same_bytes_again_after_a_fork(net: Net) -> None:
    """The second copy is still on its way when the first is abandoned."""
    await net.fault(kind="double_send", nodes=[0], delay_slots=3)
    doubled = net.payment()
    await net.send(0, doubled)
    net.bank.tick()
    assert (await net.status(1, doubled.signatures[0]))[1][0] is not None
    await net.fault(kind="fork", slots=1)
    assert (await net.status(1, doubled.signatures[0]))[1] == [None]
    net.bank.tick(5)
    assert (await net.status(1, doubled.signatures[0]))[1][0] is not None


async def test_a_lagging_node_shows_older_slots_and_states(net: Net) -> None:
    """Every commitment is behind, context.slot says so, and minContextSlot is refused."""
    payment = net.payment()
    await net.fault(kind="lag", nodes=[0], slots=10)
    await net.send(1, payment)
    net.bank.tick(5)
    tip = net.bank.slot
    assert (await net.call(0, "getSlot", [{"commitment": "processed"}]))["result"] == tip - 10
    assert await net.status(0, payment.signatures[0]) == (tip - 10, [None])
    assert (await net.status(1, payment.signatures[0]))[1][0] is not None
    refused = await net.call(
        0, "getBalance", [str(net.wallet.pubkey()), {"commitment": "processed", "minContextSlot": tip}]
    )
    assert refused["error"]["code"] == -32016
    stale = await net.call(0, "getBalance", [str(net.wallet.pubkey()), {"commitment": "processed"}])
    assert stale["result"]["value"] == 100 * SOL
    net.bank.tick(10)
    assert (await net.status(0, payment.signatures[0]))[1][0] is not None


async def test_a_node_far_behind_calls_itself_unhealthy(net: Net) -> None:
    """From 128 slots on; the unhealthy fault says it at once."""
    await net.fault(kind="lag", nodes=[0], slots=200)
    assert (await net.call(0, "getHealth"))["error"] == {
        "code": -32005,
        "message": "Node is behind by 200 slots",
        "data": {"numSlotsBehind": 200},
    }
    await net.heal()
    await net.fault(kind="unhealthy", nodes=[1], methods=["getHealth", "getSlot"])
    assert (await net.call(1, "getHealth"))["error"]["code"] == -32005
    assert (await net.call(1, "getSlot"))["error"]["code"] == -32005
    assert (await net.call(0, "getHealth"))["result"] == "ok"


async def test_a_wrong_genesis_hash_is_served(net: Net) -> None:
    """One node claims to be of another cluster."""
    await net.fault(kind="wrong_genesis", nodes=[0])
    assert (await net.call(0, "getGenesisHash"))["result"] != net.bank.genesis_hash
    assert (await net.call(1, "getGenesisHash"))["result"] == net.bank.genesis_hash


async def test_a_node_on_a_dead_fork_gives_null_under_a_current_context_slot(net: Net) -> None:
    """The trap that the witness of rule E is for: slots grow, the landed transaction is null, nothing there is final."""
    await net.fault(kind="dead_fork", nodes=[0])
    payment = net.payment()
    await net.send(0, payment)  # still passed on to the live leaders
    net.bank.tick(60)
    live_slot, live = await net.status(1, payment.signatures[0])
    dead_slot, dead = await net.status(0, payment.signatures[0])
    assert live[0]["confirmationStatus"] == "finalized"
    assert (dead, dead_slot >= live_slot) == ([None], True)
    finalized = (await net.call(1, "getSlot"))["result"]
    block = (await net.call(1, "getBlock", [finalized, {"maxSupportedTransactionVersion": 0}]))["result"]
    frozen = (await net.call(0, "getEpochInfo", [{"commitment": "finalized"}]))["result"]
    assert frozen["blockHeight"] < block["blockHeight"]
    grown = (await net.call(0, "getEpochInfo", [{"commitment": "processed"}]))["result"]
    assert grown["blockHeight"] >= block["blockHeight"]
    latest = (await net.call(0, "getLatestBlockhash", [{"commitment": "processed"}]))["result"]["value"]["blockhash"]
    assert (await net.call(1, "isBlockhashValid", [latest, {"commitment": "processed"}]))["result"]["value"] is False
    await net.heal()
    assert (await net.status(0, payment.signatures[0]))[1][0]["confirmationStatus"] == "finalized"


async def test_a_node_stays_on_the_branch_that_a_fork_abandoned(net: Net) -> None:
    """It goes on telling of a transaction that the live chain no longer has."""
    payment = net.payment()
    await net.send(1, payment)
    net.bank.tick(3)
    fork = await net.fault(kind="fork", slots=3, stay=[0])
    assert fork["dropped"] == [str(payment.signatures[0])]
    net.bank.tick(40)
    dead_slot, dead = await net.status(0, payment.signatures[0])
    assert dead[0]["confirmationStatus"] == "confirmed"
    assert dead_slot >= net.bank.slot - 1
    assert (await net.status(1, payment.signatures[0]))[1] == [None]
    key = str(net.wallet.pubkey())
    options = {"commitment": "processed"}
    assert (await net.call(0, "getBalance", [key, options]))["result"]["value"] == 99 * SOL - 5000
    assert (await net.call(1, "getBalance", [key, options]))["result"]["value"] == 100 * SOL


async def test_a_snapshot_node_has_holes_below_which_it_claims_to_have_blocks(net: Net) -> None:
    """History and blocks of the range are missing, and getFirstAvailableBlock does not tell; the status cache is whole."""
    payment = net.payment()
    await net.send(1, payment)
    net.bank.tick()
    landed = net.bank.slot
    net.bank.tick(40)
    await net.fault(kind="snapshot", nodes=[0], first_slot=landed - 2, last_slot=landed + 2)
    (name,) = names = [str(payment.signatures[0])]

    async def searched(node: int) -> Any:
        return (await net.call(node, "getSignatureStatuses", [names, {"searchTransactionHistory": True}]))["result"]

    async def of_the_wallet(node: int) -> list[str]:
        rows = (await net.call(node, "getSignaturesForAddress", [str(net.wallet.pubkey())]))["result"]
        return [row["signature"] for row in rows]

    assert (await net.call(0, "getFirstAvailableBlock"))["result"] < landed - 2
    assert (await net.status(0, payment.signatures[0]))[1][0]["slot"] == landed
    assert (await searched(0))["value"][0]["slot"] == landed
    assert (await net.call(0, "getTransaction", [name]))["result"] is None
    assert (await net.call(0, "getBlock", [landed]))["error"]["code"] == -32007
    assert name not in await of_the_wallet(0)
    assert name in await of_the_wallet(1)
    net.bank.tick(landed + 300 - net.bank.slot)
    assert (await net.status(0, payment.signatures[0]))[1][0]["slot"] == landed
    net.bank.tick()  # the status cache ends here; from now on only history knows
    assert (await net.status(0, payment.signatures[0]))[1] == [None]
    assert (await searched(0))["value"] == [None]
    assert (await searched(1))["value"][0]["slot"] == landed


async def test_a_status_blind_node_knows_nothing_of_signatures(net: Net) -> None:
    """Null for everything, at a good context slot."""
    payment = net.payment()
    await net.send(1, payment)
    net.bank.tick()
    await net.fault(kind="status_blind", nodes=[0])
    assert await net.status(0, payment.signatures[0]) == (net.bank.slot, [None])


async def test_open_websockets_fall_silent_or_end_with_the_node(net: Net) -> None:
    """Hanging is silence, to pings as well; being down ends the connection."""
    async with net.session.ws_connect(net.cluster.nodes[0].websocket_url, autoping=False) as socket:
        await socket.ping()
        assert (await socket.receive()).type is aiohttp.WSMsgType.PONG
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "slotSubscribe"})
        assert "result" in await socket.receive_json()
        net.bank.tick()
        assert (await socket.receive_json())["params"]["result"]["slot"] == net.bank.slot
        await net.fault(kind="hang", nodes=[0])
        net.bank.tick()
        await socket.ping()
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.2)
        await net.heal()
        assert (await socket.receive()).type is aiohttp.WSMsgType.PONG
        net.bank.tick()
        assert (await socket.receive_json())["params"]["result"]["slot"] == net.bank.slot
        await net.fault(kind="down", nodes=[0])
        net.bank.tick()
        async with asyncio.timeout(30):
            assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)


async def test_a_subscriber_is_told_what_a_fork_took_back(net: Net) -> None:
    """The account's value on the surviving chain is news, although no transaction there changed it."""
    payment = net.payment()
    to = payment.message.account_keys[1]
    async with net.session.ws_connect(net.cluster.nodes[0].websocket_url) as socket:
        options = {"commitment": "processed", "encoding": "base64"}
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "accountSubscribe", "params": [str(to), options]})
        assert "result" in await socket.receive_json()
        await net.send(0, payment)
        net.bank.tick()
        assert (await socket.receive_json())["params"]["result"]["value"]["lamports"] == SOL
        await net.fault(kind="fork", slots=1)
        net.bank.tick()
        notified = (await socket.receive_json())["params"]["result"]
        assert (notified["value"]["lamports"], notified["context"]["slot"]) == (0, net.bank.slot)


async def test_every_block_holds_a_signature_that_can_witness_its_chain(net: Net) -> None:
    """As votes do on a real chain: whoever needs a finalized signature finds one in any block."""
    finalized = (await net.call(1, "getSlot"))["result"]
    options = {"transactionDetails": "signatures", "rewards": False}
    (signature,) = (await net.call(1, "getBlock", [finalized, options]))["result"]["signatures"]
    _, (status,) = await net.status(1, Signature.from_string(signature))
    assert (status["confirmationStatus"], status["slot"]) == ("finalized", finalized)


async def test_a_halt_stops_blocks_until_it_is_removed() -> None:
    """Slots stand still; what was sent meanwhile lands afterwards."""
    async with Cluster(nodes=1, slot_ms=5) as cluster, aiohttp.ClientSession() as session:
        net = Net(cluster, session)
        halt = await net.fault(kind="halt")
        slot = net.bank.slot
        await asyncio.sleep(0.1)
        assert net.bank.slot == slot
        async with session.delete(f"{cluster.gateway_url}/localnet/faults/{halt['id']}") as response:
            assert response.status == 200
        async with asyncio.timeout(30):
            while net.bank.slot < slot + 3:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [
        ({"kind": "unicorn", "nodes": [0]}, 422, "kind"),
        ({"kind": "lag", "nodes": [0]}, 422, "slots"),
        ({"kind": "lag", "nodes": [0], "slots": 5, "colour": "red"}, 422, "colour"),
        ({"kind": "lag", "nodes": [], "slots": 5}, 422, "nodes"),
        ({"kind": "snapshot", "nodes": [0]}, 422, "last_slots"),
        ({"kind": "latency", "nodes": [0], "latency_ms": 5, "methods": ["getSlott"]}, 409, "getSlott"),
        ({"kind": "hang", "nodes": [7]}, 409, "no node 7"),
        ({"kind": "hang", "nodes": [2]}, 409, "audits"),
        ({"kind": "fork", "slots": 31, "stay": [2]}, 409, "audits"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused_with_the_reason(
    net: Net, fault: dict[str, Any], status: int, told: str
) -> None:
    """Typed and validated: nothing is switched on by mistake."""
    url = f"{net.cluster.gateway_url}/localnet/faults"
    async with net.session.post(url, data=orjson.dumps(fault)) as response:
        text = await response.text()
        assert (response.status, told in text) == (status, True), text
    async with net.session.get(url) as response:
        assert orjson.loads(await response.read()) == []


async def test_faults_are_listed_and_removed_by_id(net: Net) -> None:
    """GET shows what is on; DELETE takes one or all away."""
    first = await net.fault(kind="lag", nodes=[0], slots=5)
    await net.fault(kind="hang", nodes=[1])
    url = f"{net.cluster.gateway_url}/localnet/faults"
    async with net.session.get(url) as response:
        assert [(f["id"], f["kind"]) for f in orjson.loads(await response.read())] == [("f1", "lag"), ("f2", "hang")]
    async with net.session.delete(f"{url}/{first['id']}") as response:
        assert response.status == 200
    async with net.session.delete(f"{url}/{first['id']}") as response:
        assert response.status == 404
    async with net.session.delete(url) as response:
        assert orjson.loads(await response.read()) == {"removed": 1}
    async with net.session.get(f"{net.cluster.gateway_url}/localnet/info") as response:
        info = orjson.loads(await response.read())
    assert info["genesis_hash"] == net.bank.genesis_hash
    assert info["market_clock"]["ms_per_slot"] == 400
