"""Members and shards on a real PostgreSQL: processes in one program, each with sessions of its own, hand shards to each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from support.ledgers import a_bot, a_risk
from support.places import Place

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.cluster.hand_over import Forget, HandOver, Held, LetGo, Stop, Take
from tradingbot_engine.cluster.keeper import MemberKeeper
from tradingbot_engine.cluster.ledger_members import LedgerMembers
from tradingbot_engine.cluster.membership import Membership, Terms
from tradingbot_engine.cluster.shares import owners
from tradingbot_engine.ledger.base import ProgramLedger
from tradingbot_engine.ledger.port import ShardRow

pytestmark = pytest.mark.postgres
pytest_plugins = ["support.ledger_fixtures"]
SHARDS, PROCESSES = 8, 3
TERMS = Terms(lease_s=4, give_up_s=3, renew_s=1)
CLOCK = SystemClock()


@dataclass
class Process:
    """What an engine will do around its shards, and nothing else of an engine."""

    ledger: ProgramLedger
    part: Membership
    keeper: MemberKeeper
    plan: HandOver
    held: dict[int, Held] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    takes: int = 0

    def start(self) -> None:
        self.tasks = [asyncio.create_task(self.keeper.run()), asyncio.create_task(self.serve())]

    async def die(self) -> None:
        """Without a word to anybody."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def leave(self) -> None:
        self.part.leave()
        await eventually(lambda: not self.held)
        await self.die()
        await self.keeper.release()

    async def serve(self) -> None:
        while True:
            rows = await self.ledger.shards()
            steps = self.plan.steps(rows, now_s=CLOCK.monotonic_s(), in_use=range(SHARDS), held=self.held)
            for step in steps:
                match step:
                    case Take(row):
                        taken = await self.ledger.take(row, holder=self.part.incarnation, now_ms=CLOCK.now_ms())
                        if taken is not None:
                            self.takes += 1
                            self.held[row.shard] = Held(taken)
                    case Stop(shard):
                        self.held[shard] = replace(self.held[shard], stopping=True)
                    case LetGo(ownership):
                        await self.ledger.release(ownership, now_ms=CLOCK.now_ms())
                        self.held.pop(ownership.shard, None)
                    case Forget(ownership):
                        del self.held[ownership.shard]
            await asyncio.sleep(0.25)


async def eventually(what: Callable[[], bool]) -> float:
    """Return after how many seconds it came true."""
    began_s = CLOCK.monotonic_s()
    async with asyncio.timeout(60):
        while not what():
            await asyncio.sleep(0.02)
    return CLOCK.monotonic_s() - began_s


@asynccontextmanager
async def processes(place: Place) -> AsyncIterator[list[Process]]:
    made: list[Process] = []
    first = await place.open("first")
    bot = await first.adopt_bot(a_bot(shards=SHARDS), risk=a_risk())
    for n in range(PROCESSES):
        ledger = await place.open(f"run-{n}")
        assert isinstance(ledger, ProgramLedger)
        store = LedgerMembers(ledger, clock=CLOCK)
        await store.provide(PROCESSES)
        part = Membership(holder=f"engine-{n}", incarnation=f"run-{n}", terms=TERMS)
        keeper = MemberKeeper(store=store, membership=part, clock=CLOCK, ready=lambda: True, look_s=0.25)
        made.append(Process(ledger, part, keeper, HandOver(bot_id=bot.bot_id, membership=part)))
    try:
        yield made
    finally:
        for process in made:
            await process.die()


def shared(*living: Process) -> bool:
    """Whether these hold all shards between them, each as its hashing wants."""
    names = {p.part.record.name: p for p in living if p.part.record is not None}
    choice = owners("b" * 32, range(SHARDS), names.keys())
    return len(names) == len(living) and all(
        shard in names[name].held and not names[name].held[shard].stopping for shard, name in choice.items()
    )


async def epochs(ledger: ProgramLedger) -> dict[int, ShardRow]:
    return {row.shard: row for row in await ledger.shards()}


async def test_shards_follow_the_members_that_join_leave_and_die(pg_place: Place) -> None:
    """One, then three, one leaves, one dies: the ledger's rows are those of who lives, and every take has an epoch of its own."""
    async with processes(pg_place) as (one, two, three):
        one.start()
        await eventually(lambda: shared(one))
        two.start()
        three.start()
        joined_s = await eventually(lambda: shared(one, two, three))
        assert sorted(len(p.held) for p in (one, two, three)) == [2, 3, 3]
        settled = one.takes + two.takes + three.takes
        await asyncio.sleep(1)
        assert one.takes + two.takes + three.takes == settled  # nobody takes anything from anybody any more
        await two.leave()
        left_s = await eventually(lambda: shared(one, three))
        await one.die()
        died_s = await eventually(lambda: shared(three))
        rows = await epochs(three.ledger)
        assert {row.holder for row in rows.values()} == {"run-2"}
        assert sum(row.epoch for row in rows.values()) == one.takes + two.takes + three.takes
        print(
            f"\njoined {joined_s:.2f} s, after a leave {left_s:.2f} s, after a death {died_s:.2f} s (lease {TERMS.lease_s} s)"
        )
        assert died_s > TERMS.lease_s - TERMS.renew_s - 0.5  # nobody is taken for dead early


async def test_a_process_that_slept_finds_its_shards_taken_and_takes_none_by_what_it_believed(pg_place: Place) -> None:
    """It wakes up with its old holds: the ledger's rows are another's, and its first look says so."""
    async with processes(pg_place) as (one, two, _):
        one.start()
        two.start()
        await eventually(lambda: shared(one, two))
        believed = dict(one.held)
        await one.die()  # its memory stays
        await eventually(lambda: set(two.held) == set(range(SHARDS)))
        before = await epochs(two.ledger)
        for held in believed.values():
            assert not await one.ledger.release(held.ownership, now_ms=CLOCK.now_ms())
        assert await epochs(two.ledger) == before
        one.held = dict(believed)
        one.start()
        await eventually(lambda: not any(one.held.get(n) == held for n, held in believed.items()))
        await eventually(lambda: shared(one, two))
        after = await epochs(two.ledger)
        assert all(after[n].epoch > believed[n].ownership.epoch for n in believed)
        assert all(h.ownership.epoch == after[n].epoch for p in (one, two) for n, h in p.held.items())
