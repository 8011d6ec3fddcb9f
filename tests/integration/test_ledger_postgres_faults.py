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

from tradingbot_engine.clock import ManualClock, SystemClock
from tradingbot_engine.core.intents import IntentEvent as E
from tradingbot_engine.domain.intents import IntentState as S
from tradingbot_engine.errors import Fenced, LedgerNotDurable, LedgerUnavailable, PermanentError
from tradingbot_engine.ledger import postgres_open
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import ClaimOutcome, Ledger
from tradingbot_engine.ledger.postgres import PostgresLedger
from tradingbot_engine.ledger.postgres_open import check_durable
from tradingbot_engine.ledger.postgres_sessions import DURABLE_EVERY_S
from tradingbot_engine.ledger.postgres_url import check_url
from tradingbot_engine.ledger.readonly import open_ledger_readonly
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
    # The last: the server's farewell was read, and the end of the connection not yet.
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
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
        await asyncio.wait_for(proxy.cut.wait(), 30)
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


async def test_sessions_that_stand_for_lost_ones_are_counted_before_anything_is_done_over_them(pg_place: Place) -> None:
    """Another server may answer now, with an older copy: who compares with the chain must hear of it. Growth is no reconnection."""
    assert pg_place.server is not None
    direct = await with_bot(pg_place)
    async with CuttingProxy(pg_place.server.port) as proxy:
        ledger = await by(through(pg_place, proxy.port), "counted")
        me = await own(ledger)
        await asyncio.gather(*(ledger.shards() for _ in range(6)))
        assert ledger.reconnections() == 0
        for n in (1, 2):
            assert ledger._sessions is not None
            lost = [session for session in ledger._sessions._all if not session.is_closed()]
            proxy.cut_all()
            while not all(session.is_closed() for session in lost):
                await asyncio.sleep(0.01)
            await claimed(ledger, an_entry(n, mint=str(n)), me)
            assert ledger.reconnections() == n
        await asyncio.gather(*(ledger.shards() for _ in range(6)))
        assert ledger.reconnections() == 2
        await ledger.close()
    assert await violations(direct) == []


async def test_a_session_with_another_server_counts_even_while_the_old_ones_live(pg_place: Place) -> None:
    """An address may lead to the promoted standby while sessions with the old primary still hang on: those are ended."""
    await with_bot(pg_place)
    ledger = await by(pg_place.url)
    assert ledger._sessions is not None
    ledger._sessions._server = "2026-01-01/00000001/5"  # as if those before had been opened with another
    async with ledger._sessions.session() as old:
        assert ledger.reconnections() == 0
        await ledger.shards()
        assert ledger.reconnections() == 1
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await old.fetchval("SELECT 1")
    await ledger.shards()
    await ledger.close()


async def test_every_new_session_is_checked_for_durability(pg_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server that answers after a reconnection may be configured otherwise: fatal, before anything is written to it."""
    assert pg_place.server is not None
    await with_bot(pg_place)
    async with CuttingProxy(pg_place.server.port) as proxy:
        ledger = await by(through(pg_place, proxy.port))
        me = await own(ledger)
        # What a server without full_page_writes says; changing this one's would disturb the other tests.
        monkeypatch.setattr(
            postgres_open,
            "_DURABLE_SQL",
            postgres_open._DURABLE_SQL.replace("current_setting('full_page_writes')", "'off'::text"),
        )
        await claimed(ledger, an_entry(), me)
        proxy.cut_all()
        for _ in range(50):
            try:
                await ledger.claim(an_entry(2, mint="2"), ownership=me, limits=limits())
                pytest.fail("a claim was written to a server that may forget it")
            except LedgerUnavailable:
                await asyncio.sleep(0.05)
            except LedgerNotDurable:
                break
        else:
            pytest.fail("it never came back")
        with pytest.raises(LedgerNotDurable, match="full_page_writes"):
            await ledger.shards()
        await ledger.close()


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


NASTY = (
    "postgresql://bot:hunter2/s3cret@127.0.0.1:1/db",
    "postgresql://bot:12345/s3cret@127.0.0.1:1/db",
    "postgresql://bot:hunter2#s3cret@127.0.0.1:1/db",
    "postgresql://bot:hunter2?s3cret@127.0.0.1:1/db",
    "postgresql://bot:12345?s3cret=1@127.0.0.1:1/db",
    "postgresql://bot:hunter2@s3cret@127.0.0.1:1/db",
    "postgresql://bot:hunter2[s3cret@127.0.0.1:1/db",
    "postgresql://bot:hunter2 s3cret@127.0.0.1:1/db",
    "postgresql://bot:hunter2:s3cret",
    "postgresql://127.0.0.1:1/db?user=bot&password=hunter2&s3cret",
    "postgresql://127.0.0.1:1/db?user=bot&password=hunter2&s3cret=1",
    "postgresql://127.0.0.1:hunter2/s3cret",
    "postgresql://[::1]:hunter2/s3cret",
)


@pytest.mark.parametrize("url", NASTY)
async def test_a_malformed_url_tells_no_part_of_its_password(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Special characters shift the borders of a URL's parts: what was a password is then quoted as a port or a parameter."""
    caplog.set_level(0)
    settings = LedgerSettings.model_validate({"url": url})
    ledger = open_ledger(settings, holder="me", clock=SystemClock(), paper=False)
    said = [repr(ledger), repr(settings)]
    with pytest.raises(PermanentError, match="malformed") as raised:
        await ledger.open()
    said += map(_everything_of, (raised.value,))
    with pytest.raises(PermanentError, match="malformed") as raised:
        async with open_ledger_readonly(url):
            pass
    said += [_everything_of(raised.value), caplog.text, *capfd.readouterr()]
    for secret in ("hunter2", "12345", "s3cret"):
        assert secret not in "\n".join(said)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bot:h%2Fun%23t%3Fer%402@db.example:5432/ledger?sslmode=verify-full",
        "postgres://bot@[::1]:5432,10.0.0.1/ledger",
        "postgresql:///ledger?host=/var/run/postgresql&user=bot&password=x",
    ],
)
def test_an_ordinary_url_is_accepted(url: str) -> None:
    """Percent-encoded passwords, several hosts, sockets."""
    refused = ""
    try:
        check_url(url)
    except PermanentError as error:
        refused = str(error)
    assert not refused


def _everything_of(error: BaseException) -> str:
    """What a log could make of an error, its context and cause included, whether or not they are to be shown."""
    seen: list[str] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None:
            seen += [str(one), repr(one), repr(one.__dict__)]
            waiting += [one.__cause__, one.__context__]
    return "\n".join(seen)


class _Answers:
    """A session that answers settings as a server that is configured otherwise would."""

    def __init__(self, session: object, **answers: object) -> None:
        self._session, self._answers = session, answers

    async def fetchrow(self, sql: str) -> dict[str, object]:
        found = dict(await self._session.fetchrow(sql))  # type: ignore[attr-defined]
        assert self._answers.keys() <= found.keys()
        return found | self._answers


async def test_relaxed_commits_and_asynchronous_standbys_are_refused(pg_place: Place) -> None:
    """A real standby-like receiver of the write-ahead log is attached asynchronously: a promotion could lose commits."""
    assert pg_place.server is not None
    ledger = await by(pg_place.url)
    clock = ManualClock()
    checked = PostgresLedger(pg_place.url, holder="checked", clock=clock, paper=False)
    await checked.open()
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
            await checked.shards()  # open since before the standby came, and looked a moment ago
            await clock.advance(DURABLE_EVERY_S)
            with pytest.raises(LedgerNotDurable):
                await checked.shards()
            paper = open_ledger(pg_place.settings, holder="paper", clock=SystemClock(), paper=True)
            await paper.open()
            await paper.close()
        finally:
            receiver.terminate()
            receiver.wait(10)
    await checked.close()
    await ledger.close()
