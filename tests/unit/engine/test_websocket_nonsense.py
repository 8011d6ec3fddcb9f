"""Whatever a node says over its websocket, or instead of one: the stream and the book go on, and the next sound word counts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from contextlib import aclosing
from typing import Any

import pytest
from support.book_stage import BookStage
from support.socket_node import SocketNode, serving, stream

from tradingbot_engine.rpc import websocket
from tradingbot_engine.rpc.websocket import (
    Acknowledged,
    Connected,
    Garbage,
    Heartbeat,
    Lost,
    Notification,
    Subscription,
)

SLOTS = Subscription("slots", "slotSubscribe")
SOUND = {"slot": 200, "parent": 199, "root": 168}
FRAMES = 150


PLAIN: list[Any] = [None, True, -1, 0, 1, 2**63, 2**80, 1.5, 1e308, "", "x", "x" * 300, "\u0000", "NaN"]
KEYS = ("slot", "parent", "root", "context", "value", "subscription", "result", "error", "code", "id")


def _value(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.randrange(3) if depth < 3 else 0
    if kind == 0:
        return dice.choice(PLAIN)
    inner = [_value(dice, depth + 1) for _ in range(dice.randrange(4))]
    return inner if kind == 1 else {dice.choice(KEYS): value for value in inner}


def _frame(dice: random.Random, number: int) -> str | bytes:
    """Return a message that no node should send; the subscription `number` is the one that stands."""
    raw: list[str | bytes] = [
        dice.randbytes(dice.randrange(200)), "", "{", "null", "[" * dice.randrange(3000), '{"a":' * dice.randrange(2000),
        "1" * 5000, '{"jsonrpc":"2.0"', "NaN", '{"method":1e999}',
    ]  # fmt: skip
    if dice.random() < 0.2:
        return dice.choice(raw)
    body: Any = _value(dice)
    if dice.random() < 0.8:
        subscription = dice.choice([number, number, -1, True, None, str(number), 2**64, [number]])
        body = {"method": _value(dice), "params": {"subscription": subscription, "result": _value(dice)}}
        if dice.random() < 0.3:
            body[dice.choice(["id", "result", "error", "params", "method"])] = _value(dice)
    text = json.dumps(body)  # not orjson, which holds no integer of more than 64 bits: a node may send one
    return text if dice.random() < 0.8 else text.encode()


@pytest.mark.parametrize("seed", range(4))
async def test_no_message_whatever_it_is_breaks_stream_or_book_and_the_next_sound_one_is_understood(seed: int) -> None:
    """Random bytes, wrong types, huge numbers, deep nests, answers to no question: told as garbage or passed on as they are."""
    dice, node, stage = random.Random(seed), SocketNode(), BookStage()
    frames = [_frame(dice, 1) for _ in range(FRAMES)]

    async def babbles(node: SocketNode, number: int, method: str) -> None:
        socket = node.sockets[-1]
        for frame in frames:
            await (socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_str(frame))
        await node.tell(number, SOUND)

    node.on_answered = babbles
    counts = dict.fromkeys((Garbage, Notification), 0)
    async with serving(node):
        wanted = stream(node, silence_s=60)
        wanted.want([SLOTS])
        async with aclosing(wanted.messages()) as messages, asyncio.timeout(60):
            assert [await anext(messages), await anext(messages)] == [Connected("node-0"), Acknowledged("slots")]
            async for message in messages:
                assert isinstance(message, Garbage | Notification | Heartbeat), message
                stage.tell(message)
                if isinstance(message, Garbage | Notification):
                    counts[type(message)] += 1
                if message == Notification("slots", SOUND):
                    break
    assert sum(counts.values()) == FRAMES + 1, counts
    assert min(counts.values()) > FRAMES / 20, "the nonsense is of one kind"
    assert stage.book.counts["malformed"] >= counts[Garbage]
    stage.book.health(stage.now_s)


INSTEAD = {
    "html": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
    "throttle": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "another's handshake": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: bm90IHlvdXJz\r\n\r\n",
    "noise": bytes(range(256)),
    "nothing": b"",
    "trickle": b"HTTP/1.1 101 Switching Protocols\r\nX-Slow: ",
}


@pytest.mark.parametrize("how", INSTEAD)
async def test_what_is_no_websocket_is_left_for_the_next_node(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page, a refusal, a stranger's handshake, noise, silence, a byte now and then: one reason without URL, then the next."""
    monkeypatch.setattr(websocket, "CONNECT_TIMEOUT_S", 2.0)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(INSTEAD[how])
            await writer.drain()
            while how in ("nothing", "trickle") and not reader.at_eof():
                writer.write(b"x" if how == "trickle" else b"")
                await writer.drain()
                await asyncio.sleep(0.02)

    under_way: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(lambda r, w: under_way.add(asyncio.ensure_future(answer(r, w))), "127.0.0.1", 0)
    bad, good = SocketNode(), SocketNode()
    async with serving(bad, good):
        bad.url = "ws://{}:{}/sesame-key".format(*server.sockets[0].getsockname()[:2])
        wanted = stream(bad, good, silence_s=60)
        wanted.want([SLOTS])
        async with aclosing(wanted.messages()) as messages, asyncio.timeout(60):
            lost, *found = [await anext(messages) for _ in range(3)]
    server.close()
    await asyncio.wait_for(asyncio.gather(*under_way), 30)  # each ends when its client has gone
    assert isinstance(lost, Lost)
    assert lost.provider == "node-0"
    assert "cannot connect" in lost.reason
    assert "sesame" not in lost.reason
    assert found == [Connected("node-1"), Acknowledged("slots")]
