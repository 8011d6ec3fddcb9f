"""
What keeps a feed's picture of the chain whole when nodes drop it, broken on purpose: each is missed by a directed schedule.

Two halves: the stream goes on at another node, tells that it did and loses nothing of what came; the book takes that word
and reads anew what may have been missed. Real sockets; the book is pure.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing

import pytest
from mutants.protections import Mutant, Schedule, wrong_under
from support.book_stage import MINT, BookStage, prices, slot, write
from support.socket_node import SocketNode, meet_a_stranger, serving, stream

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.market.book import SLOTS, PoolBook
from tradingbot_engine.market.repairs import Repairs
from tradingbot_engine.rpc import websocket
from tradingbot_engine.rpc.websocket import (
    Acknowledged,
    Connected,
    Lost,
    NodeStream,
    Notification,
    Subscription,
    _Talk,
)

PULSE = Subscription("slots", "slotSubscribe")
VAULT = Subscription("vault", "accountSubscribe", ("a", {}))
OTHER = Subscription("other", "accountSubscribe", ("b", {}))
CHATTER = 150
"""Notifications of a node that is chatty; with each a tenth of a second passes, so far more time than it takes to be left."""


class Passing(SystemClock):
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s


async def chatters(node: SocketNode, number: int, method: str) -> None:
    """Tell of the subscription again and again."""
    with contextlib.suppress(ConnectionError):  # the reader has left
        for n in range(CHATTER):
            await node.tell(number, n)


async def left_because(wanted: NodeStream, clock: Passing) -> str:
    """Return why the first node was left; "" if it was not, for all its chatter."""
    told = 0
    async with aclosing(wanted.messages()) as messages:
        async for message in messages:
            if isinstance(message, Lost):
                return message.reason
            if isinstance(message, Notification):
                told += 1
                clock.now_s += 0.1
            if told == CHATTER:
                return ""
    raise AssertionError("the stream ended")


# --- the stream
async def a_node_drops() -> str:
    """All that it had sent is told, then that it is lost, then everything is subscribed at the other one, once."""
    first, second = SocketNode(), SocketNode()
    async with serving(first, second):
        wanted = stream(first, second)
        wanted.want([PULSE])
        async with aclosing(wanted.messages()) as messages:
            seen = [await anext(messages) for _ in range(2)]
            wanted.want([VAULT])
            seen.append(await anext(messages))
            with contextlib.suppress(ConnectionError):  # then it was left before
                for n in range(50):
                    await first.tell(2, n)
            closing = asyncio.create_task(first.sockets[0].close())  # it waits for the reader's own word
            seen += [await anext(messages) for _ in range(51)]
            await closing
            wanted.want([OTHER])
            seen += [await anext(messages) for _ in range(4)]
    subscribed = [Acknowledged("slots"), Acknowledged("vault"), Acknowledged("other")]
    expected = [
        Connected("node-0"),
        *subscribed[:2],
        *(Notification("vault", n) for n in range(50)),
        Lost("node-0", "closed by the node"),
        Connected("node-1"),
        *subscribed,
    ]
    if seen != expected:
        return f"told {[m for m in seen if not isinstance(m, Notification)]}"
    return "" if len(second.asked) == 3 else f"asked for {second.asked}"


async def a_node_tells_of_accounts_and_of_no_slot() -> str:
    """It is left: that it talks proves nothing of its chain."""
    dead, live, clock = SocketNode(), SocketNode(), Passing()
    dead.on_answered = chatters
    async with serving(dead, live):
        wanted = stream(dead, live, silence_s=1.0, clock=clock)
        wanted.want([VAULT])
        reason = await left_because(wanted, clock)
    return "" if "no slot" in reason else reason or "it is believed for ever"


async def a_subscription_is_never_answered() -> str:
    """The node is left for one that answers: nobody would tell of what happens to that account."""
    deaf, live, clock = SocketNode(), SocketNode(), Passing()
    deaf.silent_about, deaf.on_answered = {"accountSubscribe"}, chatters
    async with serving(deaf, live):
        wanted = stream(deaf, live, clock=clock)
        wanted.want([VAULT, PULSE])
        reason = await left_because(wanted, clock)
    return "" if "not answered" in reason else reason or "it is waited for, for ever"


async def a_subscription_is_refused() -> str:
    """The node is left for one that has the method."""
    bad, good = SocketNode(), SocketNode()
    bad.refuse = True
    async with serving(bad, good):
        wanted = stream(bad, good)
        wanted.want([PULSE])
        async with aclosing(wanted.messages()) as messages:
            seen = [await anext(messages) for _ in range(4)]
    lost = Lost("node-0", "slotSubscribe was refused (code -32601)")
    return "" if seen[1:] == [lost, Connected("node-1"), Acknowledged("slots")] else f"told {seen}"


async def a_stranger_takes_every_subscription() -> str:
    """It knows no transaction of our chain, so not a word of it is passed on."""
    (first, second, _), _, _ = await meet_a_stranger(PULSE, witness_timeout_s=2.0)
    right = isinstance(first, Lost) and first.provider == "node-0" and second == Connected("node-1")
    return "" if right else f"told {first}, {second}"


async def the_reader_drops_a_laggard() -> str:
    """It is left for the next one, which is kept."""
    late, live = SocketNode(), SocketNode()
    late.on_answered = chatters
    async with serving(late, live):
        wanted = stream(late, live)
        wanted.want([PULSE])
        told = 0
        async with aclosing(wanted.messages()) as messages:
            async for message in messages:
                if message == Acknowledged("slots"):
                    wanted.drop("70 slots behind")
                told += isinstance(message, Notification)
                if told == CHATTER:
                    return "it is kept"
                if isinstance(message, Lost):
                    break
            after = [await anext(messages) for _ in range(2)]
    right = message == Lost("node-0", "70 slots behind") and after == [Connected("node-1"), Acknowledged("slots")]
    return "" if right else f"told {message}, then {after}"


async def a_message_is_huge() -> str:
    """It is not read, and its node is left."""
    huge, live = SocketNode(), SocketNode()

    async def floods(node: SocketNode, number: int, method: str) -> None:
        await node.tell(number, "x" * websocket.MAX_MESSAGE_BYTES)

    huge.on_answered = floods
    async with serving(huge, live):
        wanted = stream(huge, live, silence_s=30)
        wanted.want([PULSE])
        async with aclosing(wanted.messages()) as messages:
            seen = [await anext(messages) for _ in range(4)]
    right = isinstance(seen[2], Lost) and seen[3] == Connected("node-1")
    return "" if right else f"told a {type(seen[2]).__name__}"


class Napping(SystemClock):
    """Notes how long it was to sleep, and does not."""

    def __init__(self) -> None:
        self.naps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        await asyncio.sleep(0)


async def nobody_is_there() -> str:
    """After each round of refusals there is a pause, and a longer one."""
    nodes, clock = (SocketNode(), SocketNode()), Napping()
    async with serving(*nodes):
        pass
    wanted = stream(*nodes, clock=clock)
    async with aclosing(wanted.messages()) as messages:
        for _ in range(8):
            await anext(messages)
    if len(clock.naps) < 6:
        return f"{len(clock.naps)} pauses in 8 tries"
    return "" if clock.naps[-1] > clock.naps[0] else "the pauses do not grow"


async def a_node_that_lived_drops_again_and_again() -> str:
    """It is taken again at once: what is missed meanwhile is all that a pause could bring."""
    node, clock = SocketNode(), Napping()

    async def lives(node: SocketNode, number: int, method: str) -> None:
        for n in range(3):
            await node.tell(number, n)
        await node.sockets[-1].close()

    node.on_answered = lives
    async with serving(node):
        wanted = stream(node, clock=clock)
        wanted.want([PULSE])
        lost = 0
        async with aclosing(wanted.messages()) as messages:
            async for message in messages:
                lost += isinstance(message, Lost)
                if lost == 4:
                    break
    return f"pauses of {clock.naps} s" if clock.naps else ""


# --- the book
async def a_node_is_lost_and_writes_with_it() -> str:
    """Nothing counts as known until all is subscribed anew, a slot was told, and the pool was read as of then."""
    stage = BookStage().sound()
    book, wrong = stage.book, []

    def known() -> bool:
        return not book.health(stage.now_s).stale

    book.repairs.want(MINT, 101)
    before = book.next_repair(10)
    assert before is not None
    stage.tell(Lost("one", "closed"))
    stage.now_s += 0.6  # longer than prices may be old: from here on only what is known anew is
    keys = [s.key for s in stage.subscriptions]
    stage.tell(Connected("two"), Acknowledged(SLOTS), Acknowledged(keys[0]), slot(120))
    wrong += ["known, and nothing was read"] if known() else []
    wrong += ["read before everything is subscribed"] if book.repairs else []
    early = book.repaired(before, MINT, 119, 900_000, 56_000_000)
    wrong += ["a read from before is believed"] if prices(early) or known() else []
    stage.tell(Acknowledged(keys[1]))
    hasty = book.next_repair(10)
    if hasty is not None:  # as soon as possible, and so perhaps of a slot before the subscription
        wrong += ["a slot was asked for before any was told"] if hasty.min_slot is not None else []
        book.repaired(hasty, MINT, 119, 900_000, 56_000_000)
        wrong += ["a hasty read counts for what was missed"] if known() else []
    stage.tell(slot(121), write("BASE", 121, 800_000), write("QUOTE", 121, 63_000_000))
    wrong += ["known by what came since alone"] if known() else []
    repair = book.next_repair(10)
    if repair is None or repair.min_slot != 120:
        return "; ".join([*wrong, f"read anew: {repair}"])
    missed = book.repaired(repair, MINT, 122, 700_000, 72_000_000)
    wrong += [] if prices(missed) == [(122, 72_000_000 / 700_000 * 1e-4, 9_000_000)] else [f"told {missed}"]
    wrong += [] if known() else ["never known again"]
    return "; ".join(wrong)


async def a_node_leaves_slots_out() -> str:
    """What they wrote was not told: the pool is unknown until it was read at the last one of them or later."""
    stage = BookStage().sound()
    stage.tell(slot(102), slot(106, parent=105))
    stage.now_s += 0.6
    stage.tell(slot(107))
    if not stage.book.health(stage.now_s).stale:
        return "known, though slots are missing"
    repair, events = stage.read(107, 900_000, 56_000_000) if stage.book.repairs else (None, [])
    if repair is None or repair.min_slot != 105:
        return f"read anew: {repair}"
    return "" if prices(events) and not stage.book.health(stage.now_s).stale else "never known again"


async def a_write_of_an_account_cannot_be_understood() -> str:
    """Something was written: the pool is unknown until it was read."""
    stage = BookStage().sound()
    stage.tell(Notification(f"{MINT}/BASE", {"context": {"slot": 102}, "value": "what?"}))
    stage.now_s += 0.6
    stage.tell(slot(102))
    if not stage.book.health(stage.now_s).stale:
        return "known, though it was written"
    return "" if stage.book.repairs else "not read anew"


MUTANTS = (
    Mutant("not subscribed anew", a_node_drops, NodeStream, "_connection", (("self._unsent = deque(self._wanted.values())", "pass"),)),
    Mutant("subscribed twice", a_node_drops, NodeStream, "_connection", (("self._unsent = deque(self._wanted.values())", "self._unsent.extend(self._wanted.values())"),)),
    Mutant("later wishes forgotten", a_node_drops, NodeStream, "want", (("self._wanted[subscription.key] = subscription", "pass"),)),
    Mutant("a loss not told", a_node_drops, NodeStream, "messages", (("yield Lost(endpoint.name, str(error))", "pass"),)),
    Mutant("always the same node", a_node_drops, NodeStream, "messages", (("itertools.cycle(self._endpoints)", "itertools.cycle(self._endpoints[:1])"),)),
    Mutant("silence not noticed", a_node_tells_of_accounts_and_of_no_slot, NodeStream, "_connection", (("if now >= pulse_due:", "if False:"),)),
    Mutant("any word counts as a pulse", a_node_tells_of_accounts_and_of_no_slot, NodeStream, "_connection", (("and message.key == self._pulse:", "and True:"),)),
    Mutant("an answer is waited for, for ever", a_subscription_is_never_answered, NodeStream, "_connection", (("now - talk.oldest_request_s > ACKNOWLEDGE_TIMEOUT_S", "False"),)),
    Mutant("a refusal taken for an answer", a_subscription_is_refused, _Talk, "_read_reply", (("if type(result) is not int:", "if False:"),)),
    Mutant("chain not asked for", a_stranger_takes_every_subscription, NodeStream, "_connection", (("if self._witness is not None:", "if False:"),)),
    Mutant("an acknowledgement proves the chain", a_stranger_takes_every_subscription, NodeStream, "_prove", (("isinstance(m, Notification)", "isinstance(m, Acknowledged)"),)),
    Mutant("a laggard kept", the_reader_drops_a_laggard, NodeStream, "_connection", (("if self._drop_reason is not None:", "if False:"),)),
    Mutant("dropped for ever", the_reader_drops_a_laggard, NodeStream, "_connection", (("self._drop_reason = None", "pass"),)),
    Mutant("messages of any size", a_message_is_huge, NodeStream, "_connection", (("max_msg_size=MAX_MESSAGE_BYTES", "max_msg_size=0"),)),
    Mutant("no pause between refusals", nobody_is_there, NodeStream, "messages", (("await self._clock.sleep(pause * random.uniform(0.5, 1.0))", "pass"),)),
    Mutant("pauses that do not grow", nobody_is_there, NodeStream, "messages", (("2 ** min(rounds - 1, 10)", "0.1 ** rounds"),)),
    Mutant("a pause for a node that lived", a_node_that_lived_drops_again_and_again, NodeStream, "messages", (("failures = 0 if pulses > 1 else failures + 1", "failures += 1"),)),
    Mutant("prices known while nobody tells", a_node_is_lost_and_writes_with_it, PoolBook, "_lost", (('self._doubt(mint, watched, "Reconnecting")', "pass"),)),
    Mutant("subscriptions of a dead connection count", a_node_is_lost_and_writes_with_it, PoolBook, "_lost", (("watched.acknowledged.clear()", "pass"),)),
    Mutant("not read after a drop", a_node_is_lost_and_writes_with_it, PoolBook, "_slot_seen", (("self.repairs.want(mint, seen.parent)", "pass"),)),
    Mutant("a read from before the drop believed", a_node_is_lost_and_writes_with_it, PoolBook, "repaired", (("if not self.repairs.holds(repair):", "if False:"),)),
    Mutant("a drop begins no new generation", a_node_is_lost_and_writes_with_it, Repairs, "begin_anew", (("self.generation += 1", "pass"),)),
    Mutant("a hasty read counts", a_node_is_lost_and_writes_with_it, PoolBook, "repaired", (("repair.min_slot is not None and", ""),)),
    Mutant("holes not noticed", a_node_leaves_slots_out, PoolBook, "_slot_seen", (("elif seen.parent > last:", "elif False:"),)),
    Mutant("prices known over a hole", a_node_leaves_slots_out, PoolBook, "_hole", (('self._doubt(mint, watched, "Hole")', "pass"),)),
    Mutant("a hole not read", a_node_leaves_slots_out, PoolBook, "_hole", (("self.repairs.want(mint, parent)", "pass"),)),
    Mutant("a garbled write passed over", a_write_of_an_account_cannot_be_understood, PoolBook, "_notified", (('self._doubt(mint, watched, "Malformed")', "pass"),)),
    Mutant("a garbled write not read anew", a_write_of_an_account_cannot_be_understood, PoolBook, "_notified", (("self.repairs.want(mint, self._slot)", "pass"),)),
)  # fmt: skip

SCHEDULES = sorted({m.schedule for m in MUTANTS}, key=lambda s: s.__name__)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.__name__)
async def test_the_sound_subscriptions_pass_every_schedule(schedule: Schedule) -> None:
    """Else a mutant would be caught by what is no fault of its own."""
    assert await schedule() == ""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
async def test_a_broken_subscription_is_caught(monkeypatch: pytest.MonkeyPatch, mutant: Mutant) -> None:
    """Each rule is worth what its absence would show."""
    assert await wrong_under(mutant, monkeypatch), f"{mutant.name} survives"
