"""PostgreSQL's ledger when the world breaks: stopped processes, cut connections, servers away, standbys that may lose commits."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest
from support.cutting_proxy import CuttingProxy
from support.ledgers import NOW_MS, SOL, a_bot, a_fill, a_risk, an_entry, claimed, limits, own, signed, step, step_of
from support.places import Place
from support.postgres import Server

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.core.intents import IntentEvent as E
from tradingbot_engine.domain.intents import IntentState as S
from tradingbot_engine.errors import Fenced, LedgerNotDurable, LedgerUnavailable, PermanentError
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import ClaimOutcome, Ledger
from tradingbot_engine.ledger.postgres import PostgresLedger
from tradingbot_engine.ledger.postgres_open import check_durable
from tradingbot_engine.settings import LedgerSettings

pytest_plugins = ["support.ledger_fixtures"]
pytestmark = pytest.mark.postgres

STOPPED_INSIDE = """
import asyncio, json, sys
sys.path[:0] = json.loads(sys.argv[2])
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.ledger.owning import fence
from tradingbot_engine.ledger.port import Ownership
from tradingbot_engine.ledger.postgres import PostgresLedger

async def main():
    ledger = PostgresLedger(sys.argv[1], holder="zombie", clock=SystemClock(), paper=False)
    await ledger.open()
    ownership = await ledger.take((await ledger.shards())[0], holder="zombie", now_ms=1)
    def sit():
        yield from fence(ownership)
        print("locked", flush=True)
        sys.stdin.readline()
        yield from fence(ownership)
    try:
        await ledger._write(sit)
        print("committed", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
    try:
        await ledger._write(lambda: fence(ownership))
        print("committed", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)

asyncio.run(main())
"""


async def with_bot(place: Place, **changes: object) -> Ledger:
    ledger = await place.open()
    await ledger.adopt_bot(a_bot(**changes), risk=a_risk())
    return ledger


async def by(url: str, holder: str = "me") -> PostgresLedger:
    ledger = PostgresLedger(url, holder=holder, clock=SystemClock(), paper=False)
    await ledger.open()
    return ledger


def through(place: Place, port: int) -> str:
    assert place.server is not None
    return place.server.url(place.url.rsplit("/", 1)[1], port=port)


async def test_a_process_stopped_inside_a_transaction_blocks_no_take_over(pg_place: Place) -> None:
    """SIGSTOP with the shard's row locked: the successor has it within the timeouts; the zombie wakes up fenced."""
    ledger = await with_bot(pg_place)
    zombie = subprocess.Popen(
        [sys.executable, "-c", STOPPED_INSIDE, pg_place.url, json.dumps([str(Path(__file__).parent.parent)])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert zombie.stdin is not None
    assert zombie.stdout is not None
    try:
        assert await asyncio.to_thread(zombie.stdout.readline) == "locked\n"
        os.kill(zombie.pid, signal.SIGSTOP)
        seen = (await ledger.shards())[0]
        assert (seen.holder, seen.epoch) == ("zombie", 1)
        started = time.monotonic()
        ownership = await ledger.take(seen, holder="successor", now_ms=NOW_MS)
        waited_s = time.monotonic() - started
        assert ownership is not None
        assert ownership.epoch == 2
        # One lock timeout is 0.5 s, then the old session is ended; its own idle timeout would be 1 s; without either, for ever.
        assert waited_s < 30
        await claimed(ledger, an_entry(), ownership)
        os.kill(zombie.pid, signal.SIGCONT)
        print(file=zombie.stdin, flush=True)
        said = [await asyncio.to_thread(zombie.stdout.readline) for _ in range(2)]
        assert said == ["LedgerUnavailable\n", "Fenced\n"]
    finally:
        zombie.kill()
        zombie.wait()
        zombie.stdin.close()
        zombie.stdout.close()
    assert await violations(ledger) == []


async def test_the_servers_own_timeouts_end_a_stopped_session_too(pg_place: Place) -> None:
    """Where a successor may not end sessions, the idle timeout of 1 s frees the row."""
    ledger = await with_bot(pg_place)
    me = await own(ledger)
    assert isinstance(ledger, PostgresLedger)
    assert ledger._sessions is not None
    stuck = await ledger._sessions.connect()
    await stuck.execute("BEGIN")
    await stuck.execute("SELECT 1 FROM shards WHERE shard = 0 FOR NO KEY UPDATE")
    for _ in range(60):
        try:
            again = await ledger.take((await ledger.shards())[0], holder="me", now_ms=1)
            break
        except LedgerUnavailable:
            await asyncio.sleep(0.1)
    assert again is not None
    assert again.epoch == me.epoch + 1
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await stuck.execute("COMMIT")


async def test_a_lock_held_too_long_is_unavailable_and_writes_nothing(pg_place: Place) -> None:
    """0.5 s, then the caller is told to try again."""
    ledger = await with_bot(pg_place)
    me = await own(ledger)
    blocker = await asyncpg.connect(pg_place.url)
    await blocker.execute("BEGIN; SELECT 1 FROM bots FOR UPDATE")
    with pytest.raises(LedgerUnavailable, match="lock timeout"):
        await ledger.claim(an_entry(), ownership=me, limits=limits())
    await blocker.execute("ROLLBACK")
    await blocker.close()
    await claimed(ledger, an_entry(), me)
    assert await violations(ledger) == []


async def test_a_take_over_waits_for_the_old_owners_last_commit_and_then_sees_it(pg_place: Place) -> None:
    """The commit that was under way when the take-over began is either refused or read by the successor: never missed."""
    assert pg_place.settings.url is not None
    ledger = await with_bot(pg_place, wallet_lamports=10**6 * SOL)
    successor = await by(pg_place.url, "successor")
    lost = []
    for round_ in range(8):
        old = await own(ledger)
        orders = [an_entry(f"{round_}-{n}", mint=f"{round_}-{n}") for n in range(40)]

        async def trade(label: int, orders: list[object] = orders, old: object = old) -> object:
            await asyncio.sleep(0.0005 * label)
            return await ledger.claim(orders[label], ownership=old, limits=limits(max_strategy_quote=10**15))  # type: ignore[arg-type]

        tasks = [asyncio.create_task(trade(n)) for n in range(40)]
        await asyncio.sleep(0.01)
        seen = (await successor.shards())[0]
        taken = await successor.take(seen, holder="successor", now_ms=1)
        assert taken is not None
        open_now = {r.intent.id for r in await successor.open_intents(0)}
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for order, result in zip(orders, results, strict=True):
            if isinstance(result, BaseException):
                assert isinstance(result, Fenced), result
            elif order.id not in open_now:
                lost.append(order.id)
    assert lost == []
    assert await violations(successor) == []
    await successor.close()


@pytest.mark.parametrize("what", ["claim", "move"])
async def test_a_commit_whose_answer_is_lost_is_read_again(pg_place: Place, what: str) -> None:
    """The connection dies after COMMIT went through: unknown to the caller, and the ledger shows the truth."""
    assert pg_place.server is not None
    direct = await with_bot(pg_place)
    async with CuttingProxy(pg_place.server.port) as proxy:
        ledger = await by(through(pg_place, proxy.port))
        me = await own(ledger)
        order = an_entry()
        if what == "claim":
            await claimed(ledger, an_entry("warm", mint="warm"), me)  # the function's text has been sent before
            proxy.arm(order.id.encode())
            with pytest.raises(LedgerUnavailable):
                await ledger.claim(order, ownership=me, limits=limits())
        else:
            record = await signed(ledger, await claimed(ledger, order, me), me)
            proxy.arm(b"COMMIT;")
            with pytest.raises(LedgerUnavailable):
                await ledger.move(step_of(record, E.SEND), ownership=me)
        await asyncio.wait_for(proxy.cut.wait(), 5)
        for _ in range(50):
            try:
                if what == "claim":
                    again = await ledger.claim(order, ownership=me, limits=limits())
                    assert again.outcome is ClaimOutcome.KNOWN
                    assert again.record is not None
                    assert again.record.epoch == me.epoch
                else:
                    assert await ledger.move(step_of(record, E.SEND), ownership=me) is None
                    moved = await ledger.intent(order.id)
                    assert moved is not None
                    assert moved.state is S.SUBMITTED
                break
            except LedgerUnavailable:
                await asyncio.sleep(0.1)
        else:
            pytest.fail("the ledger never came back")
        await ledger.close()
    assert await violations(direct) == []


async def test_a_server_that_is_away_is_unavailable_and_comes_back(pg_place: Place) -> None:
    """Connections are opened again by themselves; in between the answer is immediate, not a hang."""
    assert pg_place.server is not None
    await with_bot(pg_place)
    async with CuttingProxy(pg_place.server.port) as proxy:
        ledger = await by(through(pg_place, proxy.port))
        me = await own(ledger)
        record = await signed(ledger, await claimed(ledger, an_entry(), me), me)
        proxy.refuse = True
        proxy.cut_all()
        for _ in range(5):
            with pytest.raises(LedgerUnavailable):
                await ledger.move(step_of(record, E.SEND), ownership=me)
            with pytest.raises(LedgerUnavailable):
                await ledger.claim(an_entry(2, mint="2"), ownership=me, limits=limits())
        proxy.refuse = False
        for _ in range(80):
            try:
                moved = await ledger.move(step_of(record, E.SEND), ownership=me)
                break
            except LedgerUnavailable:
                await asyncio.sleep(0.1)
        assert moved is not None
        fill = a_fill(record.intent, base=5, quote=-5)
        await step(ledger, moved, E.FINALIZE, me, fill=fill)
        assert await violations(ledger) == []
        await ledger.close()


async def test_a_task_cancelled_in_the_middle_leaves_no_lock_behind(pg_place: Place) -> None:
    """Its session is ended, and the next transaction goes through at once."""
    ledger = await with_bot(pg_place)
    me = await own(ledger)
    record = await signed(ledger, await claimed(ledger, an_entry(), me), me)
    for delay in (0.0, 0.001, 0.002, 0.004):
        task = asyncio.create_task(ledger.move(step_of(record, E.EXPIRE), ownership=me))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    final = await ledger.move(step_of(record, E.EXPIRE), ownership=me)
    stands = await ledger.intent(record.intent.id)
    assert stands is not None
    assert stands.state is S.EXPIRED
    assert final is None or final == stands
    assert await violations(ledger) == []


async def test_the_session_bears_the_timeouts_and_the_holders_name(pg_place: Place) -> None:
    """What a successor relies on."""
    ledger = await by(pg_place.url, "incarnation-7")
    assert ledger._sessions is not None
    async with ledger._sessions.session() as session:
        found = {
            name: await session.fetchval("SELECT current_setting($1)", name)
            for name in (
                "lock_timeout",
                "statement_timeout",
                "idle_in_transaction_session_timeout",
                "tcp_user_timeout",
                "application_name",
                "transaction_isolation",
            )
        }
    await ledger.close()
    assert found == {
        "lock_timeout": "500ms",
        "statement_timeout": "2s",
        "idle_in_transaction_session_timeout": "1s",
        "tcp_user_timeout": "3000",
        "application_name": "incarnation-7",
        "transaction_isolation": "read committed",
    }


async def test_a_database_that_does_not_exist_is_permanent_and_shows_no_password(postgres_server: Server) -> None:
    """Trying again cannot help, and the URL stays secret."""
    url = postgres_server.url("nowhere").replace("ledger@", "ledger:hunter2@")
    settings = LedgerSettings.model_validate({"url": url})
    with pytest.raises(PermanentError, match="nowhere") as raised:
        await open_ledger(settings, holder="me", clock=SystemClock(), paper=False).open()
    assert "hunter2" not in str(raised.value)


class _Answers:
    """A session that answers settings as a server that is configured otherwise would."""

    def __init__(self, session: object, **answers: object) -> None:
        self._session, self._answers = session, answers

    async def fetchval(self, sql: str, *params: object) -> object:
        for word, answer in self._answers.items():
            if word in (sql, *params) or word in sql:
                return answer
        return await self._session.fetchval(sql, *params)  # type: ignore[attr-defined]


async def test_relaxed_commits_and_asynchronous_standbys_are_refused(pg_place: Place) -> None:
    """A real standby-like receiver of the write-ahead log is attached asynchronously: a promotion could lose commits."""
    assert pg_place.server is not None
    ledger = await by(pg_place.url)
    assert ledger._sessions is not None
    async with ledger._sessions.session() as session:
        await check_durable(session)
        for name in ("fsync", "full_page_writes"):
            with pytest.raises(LedgerNotDurable, match=name):
                await check_durable(_Answers(session, **{name: "off"}))  # type: ignore[arg-type]
        await session.execute("SET synchronous_commit = off")
        with pytest.raises(LedgerNotDurable, match="synchronous_commit"):
            await check_durable(session)
        await session.execute("SET synchronous_commit = on")
        program = pg_place.server.bin / "pg_receivewal"
        if not program.exists():
            pytest.skip("no pg_receivewal beside the server")
        folder = pg_place.server.folder / "received"
        folder.mkdir(exist_ok=True)
        receiver = subprocess.Popen([str(program), "-D", str(folder), "-d", pg_place.server.url(), "--no-loop"])
        try:
            for _ in range(100):
                if await session.fetchval("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"):
                    break
                await asyncio.sleep(0.05)
            with pytest.raises(LedgerNotDurable, match="asynchronous"):
                await check_durable(session)
            with pytest.raises(LedgerNotDurable):
                await by(pg_place.url)
            paper = open_ledger(pg_place.settings, holder="paper", clock=SystemClock(), paper=True)
            await paper.open()
            await paper.close()
        finally:
            receiver.terminate()
            receiver.wait(10)
    await ledger.close()
