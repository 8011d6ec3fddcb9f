"""Subscriptions that survive the node: real sockets, a server that does what the test says."""

import asyncio
from contextlib import aclosing

import pytest
from pydantic import SecretStr
from support.socket_node import SocketNode as Node
from support.socket_node import meet_a_stranger, serving, stream

from tradingbot_engine.rpc.errors import RpcTimeout
from tradingbot_engine.rpc.websocket import (
    Acknowledged,
    Connected,
    Garbage,
    Heartbeat,
    Lost,
    Notification,
    Subscription,
    websocket_url,
)
from tradingbot_engine.settings import EndpointSettings

SLOTS = Subscription("slots", "slotSubscribe")


@pytest.fixture(autouse=True)
async def no_task_is_left_behind():
    """Whatever happened to the connection, closing the reader leaves nothing running."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0.05)
    left = [t for t in asyncio.all_tasks() - before - {asyncio.current_task()} if not t.done()]
    assert not left


async def test_notifications_come_by_the_readers_own_names():
    """Subscription numbers are the node's business; garbage is told and survived."""
    node = Node()
    async with serving(node):
        wanted = stream(node)
        wanted.want([SLOTS, Subscription("vault", "accountSubscribe", ("a", {}))])
        async with aclosing(wanted.messages()) as messages:
            assert [await anext(messages) for _ in range(3)] == [
                Connected("node-0"),
                Acknowledged("slots"),
                Acknowledged("vault"),
            ]
            await node.tell(2, {"value": 7})
            await node.tell(99, {})
            await node.sockets[-1].send_str("<html>")
            await node.sockets[-1].send_str("[]")
            await node.tell(1, {"slot": 5})
            assert await anext(messages) == Notification("vault", {"value": 7})
            assert [type(await anext(messages)) for _ in range(3)] == [Garbage] * 3
            assert await anext(messages) == Notification("slots", {"slot": 5})


async def test_a_dropped_connection_is_told_and_everything_subscribed_anew_at_the_next_node():
    """The reader must know from where to where it may have missed something."""
    first, second = Node(), Node()
    async with serving(first, second):
        wanted = stream(first, second)
        wanted.want([SLOTS])
        async with aclosing(wanted.messages()) as messages:
            assert [await anext(messages), await anext(messages)] == [Connected("node-0"), Acknowledged("slots")]
            wanted.want([Subscription("vault", "accountSubscribe")])
            assert await anext(messages) == Acknowledged("vault")
            await first.sockets[0].close()
            assert await anext(messages) == Lost("node-0", "closed by the node")
            assert [await anext(messages) for _ in range(3)] == [
                Connected("node-1"),
                Acknowledged("slots"),
                Acknowledged("vault"),
            ]


async def test_a_node_that_stands_but_tells_no_slots_is_left():
    """Silent death: the connection answers pings and tells of accounts, the chain behind it does not move."""
    dead, live = Node(), Node()
    async with serving(dead, live):
        wanted = stream(dead, live, silence_s=0.3, ping_s=0.05)
        wanted.want([SLOTS])
        seen = []
        async with aclosing(wanted.messages()) as messages:
            async for message in messages:
                seen.append(message)
                if message == Connected("node-1"):
                    break
        assert Heartbeat() in seen
        assert Lost("node-0", "no slot for 0.3 s") in seen


async def test_a_refused_subscription_is_no_reason_to_wait_for_ever():
    """A provider without a method is left for one that has it."""
    bad, good = Node(), Node()
    bad.refuse = True
    async with serving(bad, good):
        wanted = stream(bad, good)
        wanted.want([SLOTS])
        async with aclosing(wanted.messages()) as messages:
            seen = [await anext(messages) for _ in range(4)]
        assert seen[1] == Lost("node-0", "slotSubscribe was refused (code -32601)")
        assert seen[2:] == [Connected("node-1"), Acknowledged("slots")]


async def test_nobody_there_is_asked_again_with_pauses_and_without_telling_the_url():
    """URLs may hold keys."""
    node = Node()
    async with serving(node):
        pass
    wanted = stream(node)
    wanted.want([SLOTS])
    async with aclosing(wanted.messages()) as messages:
        lost = [await anext(messages) for _ in range(3)]
    assert all(isinstance(m, Lost) and "127.0.0.1" not in m.reason and "cannot connect" in m.reason for m in lost)


async def test_the_reader_may_drop_a_node_that_lags():
    """The next node is asked; the reason is the reader's."""
    first, second = Node(), Node()
    async with serving(first, second):
        wanted = stream(first, second, ping_s=0.05)
        wanted.want([SLOTS])
        async with aclosing(wanted.messages()) as messages:
            await anext(messages)
            wanted.drop("70 slots behind")
            async for message in messages:
                if isinstance(message, Lost):
                    break
            assert message == Lost("node-0", "70 slots behind")
            assert await anext(messages) == Connected("node-1")


async def test_a_slow_reader_fills_no_memory():
    """There is no queue: what is not read waits in the socket, and at the node."""
    node = Node()
    async with serving(node):
        wanted = stream(node)
        wanted.want([SLOTS])
        async with aclosing(wanted.messages()) as messages:
            await anext(messages)
            await anext(messages)

            async def flood() -> int:
                sent = 0
                for _ in range(20_000):
                    await node.tell(1, {"slot": 1, "padding": "x" * 2000})
                    sent += 1
                return sent

            task = asyncio.create_task(flood())
            await asyncio.wait({task}, timeout=1.0)
            assert not task.done()
            task.cancel()
            await asyncio.wait({task})


def test_without_a_websocket_url_the_http_one_is_used():
    """Most providers serve both at one address."""
    plain = EndpointSettings(name="a", url=SecretStr("https://x/?key=k"))
    assert websocket_url(plain) == "wss://x/?key=k"
    own = EndpointSettings(name="a", url=SecretStr("https://x"), websocket_url=SecretStr("ws://y"))
    assert websocket_url(own) == "ws://y"


async def test_nothing_is_believed_of_a_node_that_does_not_know_a_transaction_of_our_chain():
    """It is asked for that alone, and left for one that tells of it; only then is anything subscribed."""
    (lost, *found), stranger, ours = await meet_a_stranger(SLOTS, witness_timeout_s=0.2)
    assert isinstance(lost, Lost)
    assert "on our chain" in lost.reason
    assert found == [Connected("node-1"), Acknowledged("slots")]
    assert stranger.asked == ["signatureSubscribe"]
    assert ours.asked == ["signatureSubscribe", "slotSubscribe"]


async def test_nobody_is_connected_to_who_was_not_configured():
    """A redirect would take the stream, and a key in the query, to whomever the answer names."""
    moved, stranger, ours = Node(), Node(), Node()
    async with serving(moved, stranger, ours):
        moved.elsewhere = stranger.url.replace("ws://", "http://")
        wanted = stream(moved, ours)
        wanted.want([SLOTS])
        async with aclosing(wanted.messages()) as messages:
            found = [await anext(messages) for _ in range(3)]
    assert found == [
        Lost("node-0", "cannot connect (it redirects elsewhere)"),
        Connected("node-1"),
        Acknowledged("slots"),
    ]
    assert (stranger.sockets, stranger.asked) == ([], [])


async def test_without_a_transaction_to_ask_about_no_node_is_believed():
    """The witness comes from the other endpoints: while they do not answer, nothing proves the chain."""
    node = Node()
    answers = iter([RpcTimeout("nobody answers"), "ours"])
    node.knows = {"ours"}

    async def witness() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with serving(node):
        wanted = stream(node, witness=witness)
        wanted.want([SLOTS])
        async with aclosing(wanted.messages()) as messages:
            lost = await anext(messages)
            assert isinstance(lost, Lost)
            assert "RpcTimeout" in lost.reason
            assert await anext(messages) == Connected("node-0")
