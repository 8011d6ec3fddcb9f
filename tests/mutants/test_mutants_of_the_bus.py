"""
The bus and the queue, broken one rule at a time; a directed schedule kills each.

A schedule is played on the code as it is, where it must hold, and on the mutant, where it must not.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from mutants.mutate import mutated

from tradingbot_engine.bus.admission import Admission, Permit, ReleasedTwice
from tradingbot_engine.bus.conflate import Run
from tradingbot_engine.bus.consumers import ConsumerQueue, Overflow
from tradingbot_engine.bus.inbox import CoreInbox
from tradingbot_engine.bus.ordered import Gap, Late, Ordering
from tradingbot_engine.bus.signals import SignalQueue
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.core.decide import decide
from tradingbot_engine.core.state import CoreState, StrategyConfig
from tradingbot_engine.domain.effects import SaveBar
from tradingbot_engine.domain.events import BAR_MS, Bar, ClockTick, PriceTick
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.settings import QueueSettings

START_MS = 1_750_000_000_000 // BAR_MS * BAR_MS


def signal(priority: Priority, n: int, purpose: Purpose = Purpose.ENTRY) -> Signal:
    return Signal("s", "t", 1, "Mint", Side.BUY, purpose, f"e{n}", 0, 1.0, "why", priority)


def a_queue(max_size: int = 100) -> tuple[SignalQueue, ManualClock]:
    clock = ManualClock()
    return SignalQueue(settings=QueueSettings(max_size=max_size, deadline_ms=1000), workers=2, clock=clock), clock


# --- schedules: each returns what it found wrong
async def two_workers_and_a_slip() -> set[str]:
    """One worker gives its permit back twice while another still works."""
    queue, _ = a_queue()
    for n in range(2):
        queue.put(signal(Priority.NORMAL, n))
    first, _second = await queue.get(), await queue.get()
    first.release()
    try:
        first.release()
    except ReleasedTwice:
        pass
    else:
        return {"released twice"} if queue.working == 1 else {"released twice", "a working one counted as free"}
    return set() if queue.working == 1 else {"a working one counted as free"}


async def a_flood() -> set[str]:
    """5,000 signals at once, a tenth of them exits, into a queue of 1,000."""
    chance = random.Random(3)
    queue, _ = a_queue(1000)
    exits = kept = 0
    for n in range(5000):
        is_exit = chance.random() < 0.1
        exits += is_exit
        one = signal(Priority.CRITICAL, n, Purpose.EXIT) if is_exit else signal(Priority(chance.randint(1, 3)), n)
        queue.put(one)
    kept = sum(s.purpose is Purpose.EXIT for s in queue.clear())
    return {"critical lost"} if kept < 0.99 * exits else set()


async def a_full_house_of_stop_losses() -> set[str]:
    """A less urgent signal knocks at a queue that is full of more urgent ones."""
    queue, _ = a_queue(2)
    for n in range(2):
        queue.put(signal(Priority.CRITICAL, n, Purpose.EXIT))
    queue.put(signal(Priority.HIGH, 3))
    return {"critical lost"} if any(s.purpose is Purpose.ENTRY for s in queue.clear()) else set()


async def near_the_thresholds() -> set[str]:
    """LOW at the warning threshold, NORMAL at the critical one."""
    queue, _ = a_queue(100)
    found = set()
    for n in range(80):
        queue.put(signal(Priority.NORMAL, n))
    if queue.put(signal(Priority.LOW, 80)) is None:
        found.add("let in at a threshold")
    for n in range(81, 100):
        queue.put(signal(Priority.NORMAL, n))
    return found | ({"let in at a threshold"} if len(queue) > 95 else set())


async def old_wishes() -> set[str]:
    """An entry and an exit wait past the deadline while nobody takes them."""
    queue, clock = a_queue()
    queue.put(signal(Priority.NORMAL, 1))
    queue.put(signal(Priority.HIGH, 2, Purpose.EXIT))
    late = asyncio.create_task(queue.late())
    await clock.advance(1.1)
    gone = [s.purpose for s in await late] if late.done() else []
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    found = set() if Purpose.ENTRY in gone else {"stale entry kept"}
    return found | ({"exit shed"} if Purpose.EXIT in gone else set())


async def shuffled_by_the_network() -> set[str]:
    """Linked events arrive out of order within the window, and one never does."""
    now = [0.0]
    o = Ordering(window_s=1.0, window_size=8, remembered=100, keys=1, now=lambda: now[0])
    got = []
    for n in (1, 3, 2, 5, 6, 4, 9):
        got += list(o.offer("k", n, n, n - 1))
    found = set() if got == [1, 2, 3, 4, 5, 6] else {"out of order"}
    now[0] = 2.0
    waited = [item for _, items in o.expire() for item in items]
    if waited != [Gap("k", 6, 8), 9]:
        found.add("held up for ever")
    if [Late("k", 7, 7), Late("k", 8, 8)] != [*o.offer("k", 7, 7, 6), *o.offer("k", 8, 8, 7)]:
        found.add("late as if new")
    if [*o.offer("k", 9, 9, 8), *o.offer("k", 7, 7, 6)]:
        found.add("repeated")
    return found


async def a_window_too_small() -> set[str]:
    """More events wait behind a hole than the window holds."""
    o = Ordering(window_s=1e9, window_size=4, remembered=100, keys=1, now=lambda: 0.0)
    o.offer("k", 1, 1)
    for n in range(3, 1000):
        o.offer("k", n, n, n - 1)
    return {"waits without limit"} if o.waiting > 4 else set()


async def a_lagging_core() -> set[str]:
    """Ticks of two minutes wait for a core that stands still."""
    told = [
        *(PriceTick("a", n, START_MS + n * 1000, price, 10**9, 7) for n, price in enumerate((1.0, 1.4, 0.7, 1.1, 1.2))),
        *(PriceTick("a", n, START_MS + BAR_MS + n, price, 10**9, 7) for n, price in ((100, 2.0), (101, 2.5))),
        ClockTick(START_MS + 2 * BAR_MS),
    ]
    bars: list[list[Bar]] = []
    for inbox in (None, CoreInbox(max_events=100, now=lambda: 0.0)):
        state = CoreState.create([Token("a", "a", 6)], [StrategyConfig("m", "momentum_5m")])
        events = []
        for event in told:
            if inbox is None:
                events.append(event)
            else:
                inbox.tell(event)
        if inbox is not None:
            events = [event for _ in range(len(inbox)) for event in inbox.pop()]
        effects = [effect for event in events for effect in decide(state, event)]
        bars.append([e.bar for e in effects if isinstance(e, SaveBar)])
    return set() if bars[0] == bars[1] else {"another bar"}


async def a_sleeping_consumer() -> set[str]:
    """Events for somebody who never takes any."""
    queue = ConsumerQueue("c", max_size=10, overflow=Overflow.DROP_OLDEST, now=lambda: 0.0)
    for n in range(1000):
        queue.put("k", n)
    found = {"grows without limit"} if len(queue) > 10 else set()
    return found if queue.dropped == 990 else found | {"lost without a word"}


@dataclass(frozen=True)
class Mutant:
    name: str
    violates: str
    schedule: Callable[[], Awaitable[set[str]]]
    owner: type
    method: str
    old: str
    new: str


MUTANTS = [
    Mutant("permit released twice", "a working one counted as free", two_workers_and_a_slip,
           Permit, "release", "admission, self._admission = self._admission, None", "admission = self._admission"),
    Mutant("displacement reversed", "critical lost", a_full_house_of_stop_losses,
           Admission, "offer", "if worst <= rank:", "if worst >= rank:\n                    continue\n                if False:"),
    Mutant("displacement left out", "critical lost", a_flood,
           Admission, "offer", "if self._displace:", "if False:"),
    Mutant("the most urgent displaced first", "critical lost", a_flood,
           Admission, "offer", "for worst, lane in self._least_urgent_first:\n                if worst <= rank:\n                    break",
           "for worst, lane in reversed(self._least_urgent_first):"),
    Mutant("thresholds ignored", "let in at a threshold", near_the_thresholds,
           Admission, "offer", "self._size < self._limits[rank]", "self._size < self._max_size"),
    Mutant("deadline ignored", "stale entry kept", old_wishes,
           Admission, "shed", "lane[0][0] < born_s", "lane[0][0] < born_s - 1e9"),
    Mutant("exits shed like entries", "exit shed", old_wishes,
           Admission, "shed", "for lane in self._mortal", "for lane in self._lanes"),
    Mutant("reorder window ignored", "out of order", shuffled_by_the_network,
           Ordering, "offer", "and (after is None or after <= state.last)", ""),
    Mutant("hole never given up", "held up for ever", shuffled_by_the_network,
           Ordering, "expire", "while self._due and self._due[0][0] <= now:", "while False:"),
    Mutant("window without a size", "waits without limit", a_window_too_small,
           Ordering, "_unusual", "len(state.held) > self._window_size", "len(state.held) > 10**9"),
    Mutant("late handed over as new", "late as if new", shuffled_by_the_network,
           Ordering, "_late", "[Late(key, number, event, certain)]", "[event]"),
    Mutant("repeated events handed over", "repeated", shuffled_by_the_network,
           Ordering, "_late", "if number in state.recent or number in state.late:", "if False:"),
    Mutant("ticks merged across the minute", "another bar", a_lagging_core,
           Run, "takes", "tick.at_ms < self.until_ms and ", ""),
    Mutant("volume of merged ticks lost", "another bar", a_lagging_core,
           Run, "ticks", "if rest != t.volume:", "if False:"),
    Mutant("extremes of merged ticks lost", "another bar", a_lagging_core,
           Run, "ticks", "if 0 < n < last]", "if False]"),
    Mutant("consumer without a bound", "grows without limit", a_sleeping_consumer,
           ConsumerQueue, "put", "if 0 < len(items) < self._max_size:", "if items:"),
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
async def test_a_mutant_of_the_bus_is_killed_by_its_schedule(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code as it is passes the schedule; broken, it violates the rule."""
    found = await mutant.schedule()
    assert not found, f"the code as it is fails the schedule: {found}"
    method = getattr(mutant.owner, mutant.method)
    monkeypatch.setattr(mutant.owner, mutant.method, mutated(method, (mutant.old, mutant.new)))
    found = await mutant.schedule()
    assert mutant.violates in found, f"{mutant.name} survives: {found or 'nothing is violated'}"
