"""A full disk, a locked or damaged file, a process killed in the middle: SQLite's ledger says so, and loses nothing it answered."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from support.ledgers import NOW_MS, a_bot, a_risk, an_entry, claimed, limits, own

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.errors import LedgerCorrupt, LedgerNotDurable, LedgerUnavailable
from tradingbot_engine.ledger import sqlite_files, sqlite_log
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import ClaimOutcome
from tradingbot_engine.ledger.program import one
from tradingbot_engine.ledger.sqlite import SqliteLedger
from tradingbot_engine.ledger.sqlite_files import file_system_of

HERE = Path(__file__).parent


async def opened(path: Path) -> SqliteLedger:
    ledger = SqliteLedger(path, clock=ManualClock(now_ms=NOW_MS))
    await ledger.open()
    await ledger.adopt_bot(a_bot(), risk=a_risk())
    return ledger


WORKER = """
import asyncio, json, sys
sys.path[:0] = json.loads(sys.argv[2])
from pathlib import Path
from support.ledgers import *
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.ledger.sqlite import SqliteLedger

async def trader(ledger, me, name):
    n = 0
    while True:
        n += 1
        label = f"{name}-{n}"
        order = an_entry(label, mint=label)
        record = await claimed(ledger, order, me, max_strategy_quote=10**15, max_open_intents=10**6)
        print(json.dumps(["INTENT", order.id]), flush=True)
        record = await signed(ledger, record, me)
        print(json.dumps(["SIGNED", order.id]), flush=True)
        if n % 3 == 0:
            await step(ledger, record, IntentEvent.EXPIRE, me)
        else:
            fill = a_fill(order, base=7, quote=-5)
            await step(ledger, record, IntentEvent.FINALIZE, me, fill=fill)
            print(json.dumps(["DONE", order.id]), flush=True)

async def main():
    ledger = SqliteLedger(Path(sys.argv[1]), clock=SystemClock())
    await ledger.open()
    await ledger.adopt_bot(a_bot(wallet_lamports=10**15, wallet_quote=10**15), risk=a_risk())
    me = await own(ledger)
    await asyncio.gather(*(trader(ledger, me, f"{me.epoch}-{n}") for n in range(16)))

asyncio.run(main())
"""


async def test_a_writer_killed_at_random_loses_no_answer_and_leaves_no_half_transaction(tmp_path: Path) -> None:
    """SIGKILL under load, five times over the same file: every step that was answered is there, and all sums hold."""
    path = tmp_path / "ledger.db"
    chance = random.Random(7)
    answered: dict[str, str] = {}
    for _ in range(5):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path), json.dumps([str(HERE.parent)])], stdout=subprocess.PIPE, text=True
        )
        assert worker.stdout is not None
        wanted = len(answered) + chance.randrange(30, 200)
        for line in worker.stdout:
            state, identity = json.loads(line)
            answered[identity] = state
            if len(answered) >= wanted:
                break
        os.kill(worker.pid, signal.SIGKILL)
        for line in worker.stdout:  # what it said before it died
            if line.endswith("\n"):
                state, identity = json.loads(line)
                answered[identity] = state
        worker.wait()
        worker.stdout.close()

        ledger = SqliteLedger(path, clock=ManualClock())
        await ledger.open()
        assert await violations(ledger) == []
        order = ("INTENT", "SIGNED", "DONE")
        for identity, state in answered.items():
            record = await ledger.intent(identity)
            assert record is not None, f"{identity} was answered {state} and is lost"
            stands = "SIGNED" if record.state == "EXPIRED" else str(record.state)
            assert order.index(stands) >= order.index(state)
        assert (await ledger.shards())[0].epoch >= 1
        await ledger.close()
    assert len(answered) > 150


def test_whoever_opens_the_file_beside_the_engine_sees_all_that_was_answered(tmp_path: Path) -> None:
    """
    Audits and watchers read while the log is written and carried over; a state of before an answer would lead them astray.

    Each reading is by a connection of its own, in another process than the writer's, as an audit's is.
    """
    path = tmp_path / "ledger.db"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), json.dumps([str(HERE.parent)])], stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    order = ("INTENT", "SIGNED", "DONE")
    readings, carried_over, rest, stamps = 0, 0, b"", set()
    try:
        while readings < 300 or carried_over < 3:
            said = os.read(worker.stdout.fileno(), 1 << 20)  # all there is, so that the newest answer is looked for
            assert said, "the writer ended"
            *lines, rest = (rest + said).split(b"\n")
            if not lines:
                continue
            state, identity = json.loads(lines[-1])
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as reader:
                found = reader.execute("SELECT state FROM intents WHERE id = ?", (identity,)).fetchone()
            assert found, f"{identity} was answered {state}, and a reader that came later does not see it"
            assert order.index("SIGNED" if found[0] == "EXPIRED" else found[0]) >= order.index(state)
            readings += 1
            stamps.add(path.stat().st_mtime_ns)
            carried_over = len(stamps) - 1
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
    assert carried_over >= 3, "the log was never carried over"


async def test_a_full_disk_is_unavailable_undoes_the_whole_batch_and_passes(tmp_path: Path) -> None:
    """Nothing is half done, and once there is room the same calls succeed. (A limit on the file's size gives SQLITE_FULL or IOERR.)"""
    ledger = await opened(tmp_path / "ledger.db")
    me = await own(ledger)
    size = max(p.stat().st_size for p in tmp_path.iterdir())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    orders = [an_entry(n, mint=f"mint {n}", reason="x" * 20_000) for n in range(30)]
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 65_536, before[1]))
        results = await asyncio.gather(
            *(ledger.claim(o, ownership=me, limits=limits()) for o in orders), return_exceptions=True
        )
        assert any(isinstance(r, LedgerUnavailable) for r in results), results[:3]
        assert all(isinstance(r, LedgerUnavailable) or not isinstance(r, BaseException) for r in results)
        assert await violations(ledger) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    for order, result in zip(orders, results, strict=True):
        known = await ledger.intent(order.id)
        assert (known is None) == isinstance(result, LedgerUnavailable)
        if known is None:
            await claimed(ledger, order, me)
    assert len(await ledger.open_intents()) == 30
    assert await violations(ledger) == []
    await ledger.close()


async def test_sqlite_reporting_a_full_database_is_unavailable(tmp_path: Path) -> None:
    """SQLITE_FULL itself, by SQLite's own limit of pages."""
    ledger = await opened(tmp_path / "ledger.db")
    me = await own(ledger)
    assert ledger._connection is not None
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerUnavailable, match="full"):
        await ledger.claim(an_entry(reason="x" * 50_000), ownership=me, limits=limits())
    assert await ledger.open_intents() == []
    ledger._connection.execute("PRAGMA max_page_count = 100000")
    await claimed(ledger, an_entry(reason="x" * 50_000), me)
    assert await violations(ledger) == []
    await ledger.close()


async def test_a_file_locked_by_another_process_is_unavailable_until_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads go on; the write is refused whole, and succeeds afterwards."""
    monkeypatch.setattr(sqlite_files, "BUSY_TIMEOUT_MS", 100)
    ledger = await opened(tmp_path / "ledger.db")
    me = await own(ledger)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\nc.execute('BEGIN IMMEDIATE')\n"
            "print('held', flush=True)\nsys.stdin.readline()\nc.execute('ROLLBACK')\nprint('free', flush=True)\nsys.stdin.readline()",
            str(tmp_path / "ledger.db"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LedgerUnavailable, match="locked"):
            await ledger.claim(an_entry(), ownership=me, limits=limits())
        assert (await ledger.bot()).name == "default/first"
        print(file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "free\n"
        await claimed(ledger, an_entry(), me)
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    await ledger.close()


@pytest.mark.parametrize("damage", ["header", "page"])
async def test_a_damaged_file_is_corrupt(tmp_path: Path, damage: str) -> None:
    """Named at the start, before anything is traded on it."""
    path = tmp_path / "ledger.db"
    ledger = await opened(path)
    me = await own(ledger)
    for n in range(50):
        await claimed(ledger, an_entry(n, mint=f"mint {n}"), me)
    await ledger.close()
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[:64] = b"not a database" + bytes(50)
    else:
        for start in range(4096 * 3, len(data), 4096):
            data[start : start + 200] = bytes([0xAB]) * 200
    path.write_bytes(data)
    with pytest.raises(LedgerCorrupt):
        await SqliteLedger(path, clock=ManualClock()).open()


async def test_damage_that_is_met_while_running_is_corrupt(tmp_path: Path) -> None:
    """A page that went bad under an open ledger."""
    path = tmp_path / "ledger.db"
    ledger = await opened(path)
    me = await own(ledger)
    for n in range(80):
        await claimed(ledger, an_entry(n, mint=f"mint {n}"), me, max_strategy_quote=10**12)
    assert ledger._connection is not None
    ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for start in range(4096, size, 4096):
            file.seek(start)
            file.write(b"\xab" * 4096)
    ledger._connection.execute("PRAGMA shrink_memory")
    with pytest.raises(LedgerCorrupt):
        await ledger.open_intents()
    await ledger.close()


async def test_a_read_only_place_is_unavailable_or_refused(tmp_path: Path) -> None:
    """A path that cannot be made is told as such."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnavailable):
        await SqliteLedger(tmp_path / "file" / "ledger.db", clock=ManualClock()).open()


async def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its locks and its fsync are not what SQLite relies on."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 8:1 / / rw - ext4 /dev/sda rw\n"
        f"36 21 0:40 / {tmp_path} rw,relatime shared:1 - nfs4 server:/export rw\n"
        "40 21 0:44 / /elsewhere rw - tmpfs tmpfs rw\n"
    )
    kind = file_system_of(tmp_path, mounts=mounts)
    assert kind == "nfs4"
    assert file_system_of(Path("/usr"), mounts=mounts) == "ext4"
    monkeypatch.setattr(sqlite_files, "file_system_of", lambda _: kind)
    with pytest.raises(LedgerNotDurable, match="nfs4"):
        await SqliteLedger(tmp_path / "ledger.db", clock=ManualClock()).open()


async def test_commits_are_durable_by_setting_and_shared_by_many(tmp_path: Path) -> None:
    """WAL, synchronous=FULL; and while one commit is under way, what queues up shares the next."""
    ledger = await opened(tmp_path / "ledger.db")
    me = await own(ledger)
    connection = ledger._connection
    assert connection is not None
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    commits: list[str] = []
    connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    results = await asyncio.gather(
        *(
            ledger.claim(an_entry(n, mint=f"m{n}"), ownership=me, limits=limits(max_strategy_quote=10**12))
            for n in range(100)
        )
    )
    assert {r.outcome for r in results} <= {ClaimOutcome.CLAIMED, ClaimOutcome.REFUSED}
    assert 1 <= len(commits) < 50
    await ledger.close()


async def test_a_caller_that_gives_up_does_not_stop_the_writer(tmp_path: Path) -> None:
    """Its write may have happened: read again."""
    ledger = await opened(tmp_path / "ledger.db")
    me = await own(ledger)
    task = asyncio.create_task(ledger.claim(an_entry(), ownership=me, limits=limits()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again = await ledger.claim(an_entry(), ownership=me, limits=limits())
    assert again.outcome is ClaimOutcome.KNOWN
    await ledger.close()


async def test_two_processes_may_open_one_file_and_the_shards_decide(tmp_path: Path) -> None:
    """The later taker owns; the earlier one is fenced; neither harms the file."""
    first, second = await opened(tmp_path / "ledger.db"), await opened(tmp_path / "ledger.db")
    old = await own(first, holder="first")
    new = await own(second, holder="second")
    assert new.epoch == old.epoch + 1
    await claimed(second, an_entry(), new)
    result = await asyncio.gather(first.claim(an_entry(2), ownership=old, limits=limits()), return_exceptions=True)
    assert type(result[0]).__name__ == "Fenced"
    assert await first.intent(an_entry().id) == await second.intent(an_entry().id)
    assert await violations(first) == []
    await first.close()
    await second.close()


@pytest.mark.parametrize("how", ["an old copy is moved over it", "it is deleted", "it is moved away"])
async def test_a_file_that_is_replaced_while_open_ends_the_ledger_for_good(tmp_path: Path, how: str) -> None:
    """What would be written to the file that nobody can find any more was never journalled: nothing of it is answered as such."""
    path, old = tmp_path / "ledger.db", tmp_path / "old.db"
    ledger = await opened(path)
    me = await own(ledger)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(old)) as target:
        source.backup(target)
    known = await claimed(ledger, an_entry(), me)
    assert ledger.reconnections() == 0
    if how == "it is deleted":
        path.unlink()
    elif how == "it is moved away":
        path.rename(tmp_path / "elsewhere.db")
    else:
        old.rename(path)
    with pytest.raises(LedgerCorrupt, match="while it was in use"):
        await ledger.claim(an_entry(2, mint="2"), ownership=me, limits=limits())
    assert ledger.reconnections() == 1
    with pytest.raises(LedgerCorrupt):
        await ledger.shards()
    if how == "it is moved away":
        (tmp_path / "elsewhere.db").rename(path)
        with pytest.raises(LedgerCorrupt):
            await ledger.shards()
        assert ledger.reconnections() == 1
    await ledger.close()

    again = SqliteLedger(path, clock=ManualClock())
    await again.open()
    if how == "an old copy is moved over it":
        # The old copy is what it was when it was made: nothing of the replaced file's log was mixed into it.
        assert await again.intent(known.intent.id) is None
        assert await violations(again) == []
        assert (tmp_path / "ledger.db-wal.of-replaced-ledger").exists()
    elif how == "it is moved away":
        assert await again.intent(known.intent.id) == known
    await again.close()


async def test_a_file_replaced_during_the_commit_leaves_no_answer(tmp_path: Path) -> None:
    """The commit itself went through, into a file that is no longer the ledger: the caller must not send on its strength."""
    path, old = tmp_path / "ledger.db", tmp_path / "old.db"
    ledger = await opened(path)
    me = await own(ledger)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(old)) as target:
        source.backup(target)
    assert ledger._connection is not None
    ledger._connection.set_trace_callback(lambda sql: old.rename(path) if sql == "COMMIT" and old.exists() else None)
    with pytest.raises(LedgerCorrupt, match="replaced"):
        await ledger.claim(an_entry(), ownership=me, limits=limits())
    assert ledger.reconnections() == 1
    await ledger.close()


def test_the_writer_thread_ends_with_the_ledger(tmp_path: Path) -> None:
    """No thread is left behind."""

    async def use() -> None:
        ledger = await opened(tmp_path / "ledger.db")
        await ledger.close()

    before = set(threading.enumerate())
    asyncio.run(use())
    assert [t.name for t in set(threading.enumerate()) - before if t.name.startswith("ledger")] == []


async def test_an_old_copy_written_over_the_open_file_is_noticed(tmp_path: Path) -> None:
    """The same file, other bytes (`cp backup.db ledger.db`): the next write is refused, and the copy stays what it was."""
    path = tmp_path / "ledger.db"
    ledger = await opened(path)
    me = await own(ledger)
    assert ledger._connection is not None
    ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = path.read_bytes()
    orders = [an_entry(n, mint=f"mint {n}") for n in range(40)]
    for order in orders[:20]:
        await claimed(ledger, order, me)
    ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for order in orders[20:]:
        await claimed(ledger, order, me)  # these are in the log only
    with path.open("r+b") as file:
        file.write(copy)
        file.truncate()
    with pytest.raises(LedgerCorrupt, match="overwritten"):
        await ledger.claim(an_entry("late", mint="late"), ownership=me, limits=limits())
    assert ledger.reconnections() == 1
    with pytest.raises(LedgerCorrupt):
        await ledger.open_intents()
    await ledger.close()
    assert path.read_bytes() == copy

    again = SqliteLedger(path, clock=ManualClock())
    await again.open()
    assert await again.open_intents() == []
    assert await violations(again) == []
    await again.close()


async def test_what_another_process_of_ours_does_to_the_file_is_in_order(tmp_path: Path) -> None:
    """It may carry the log over, which changes the file; nothing in it goes back."""
    first, second = await opened(tmp_path / "ledger.db"), await opened(tmp_path / "ledger.db")
    me = await own(first)
    assert second._connection is not None
    for n in range(30):
        await claimed(first, an_entry(n, mint=f"mint {n}"), me)
        second._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    (tmp_path / "ledger.db").touch()
    await claimed(first, an_entry("after", mint="after"), me)
    assert first.reconnections() == 0
    assert await violations(first) == []
    await second.close()
    await first.close()


@pytest.mark.parametrize("which", ["an older copy beside a newer log", "a newer copy beside an older log"])
async def test_a_log_beside_a_copy_that_it_does_not_belong_to_is_refused(tmp_path: Path, which: str) -> None:
    """SQLite would mix the two without a word; they are left as they are, and the copy alone can be opened."""
    path = tmp_path / "ledger.db"
    log = sqlite_files.log_of(path)
    states: list[tuple[bytes, bytes]] = []
    for n in range(3):
        ledger = await opened(path)
        me = await own(ledger)
        await claimed(ledger, an_entry(n, mint=f"mint {n}"), me)
        states.append((path.read_bytes(), log.read_bytes()))  # as `kill -9` leaves them
        await ledger.close()
    older, _, newer = states
    file, beside = (older[0], newer[1]) if which.startswith("an older") else (newer[0], older[1])
    for state in states:  # each with its own log is in order
        path.write_bytes(state[0])
        log.write_bytes(state[1])
        ledger = SqliteLedger(path, clock=ManualClock())
        await ledger.open()
        assert await violations(ledger) == []
        await ledger.close()
    path.write_bytes(file)
    log.write_bytes(beside)
    with pytest.raises(LedgerCorrupt, match="does not belong"):
        await SqliteLedger(path, clock=ManualClock()).open()
    assert (path.read_bytes(), log.read_bytes()) == (file, beside)
    log.unlink()
    ledger = SqliteLedger(path, clock=ManualClock())
    await ledger.open()
    assert await violations(ledger) == []
    await ledger.close()


async def flooded(path: Path) -> tuple[SqliteLedger, int, int]:
    """Return a ledger after 90 batches of claims, its log's largest size, and how many logs there were."""
    ledger = await opened(path)
    me = await own(ledger)
    largest, versions = 0, set()
    for n in range(90):
        orders = [free(f"{n} {k}") for k in range(16)]
        wide = limits(max_open_intents=10**6)
        results = await asyncio.gather(*(ledger.claim(o, ownership=me, limits=wide) for o in orders))
        assert {r.outcome for r in results} == {ClaimOutcome.CLAIMED}
        assert ledger._keeper is not None
        while ledger._keeper._due.is_set():  # let it keep up, however busy the machine is
            await asyncio.sleep(0.001)
        largest = max(largest, sqlite_files.log_of(path).stat().st_size)
        versions.add((await ledger.look(lambda: one("PRAGMA user_version")) or (None,))[0])
    return ledger, largest, len(versions)


async def test_the_log_stays_bounded_while_it_is_written_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is carried over beside the writer, starts anew at its limit, and a process that dies then loses nothing."""
    monkeypatch.setattr(sqlite_log, "CARRY_AFTER", 16)
    endless, _, logs = await flooded(tmp_path / "endless.db")
    await endless.close()
    assert logs == 1
    monkeypatch.setattr(sqlite_log, "MAX_LOG_PAGES", 20)
    path = tmp_path / "ledger.db"
    ledger, largest, logs = await flooded(path)
    assert logs > 1  # an endless one stays the first
    assert largest < 1000 * (4096 + 24), "twenty pages, and what is written until the writer hears of it"
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "ledger.db").write_bytes(path.read_bytes())
    (copy / "ledger.db-wal").write_bytes(sqlite_files.log_of(path).read_bytes())
    expected = await ledger.intent_counts()
    await ledger.close()
    again = SqliteLedger(copy / "ledger.db", clock=ManualClock())
    await again.open()
    assert await again.intent_counts() == expected
    assert await violations(again) == []
    await again.close()


def free(name: str) -> OrderIntent:
    """Return an entry that reserves nothing, so that no limit is ever reached."""
    return an_entry(name, mint=name, reserve_quote=0, reserve_lamports=0)


async def carried(ledger: SqliteLedger) -> None:
    """Let the log be carried over now."""
    keeper = ledger._keeper
    assert keeper is not None
    keeper._due.set()
    while keeper._due.is_set():
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.005)  # between taking the order and taking the lock
    while keeper._busy.locked():
        await asyncio.sleep(0.001)


async def test_a_reader_of_an_older_state_is_no_reason_to_call_the_file_overwritten(tmp_path: Path) -> None:
    """
    Pages that were written again since the reader began are not carried over, and the file may lack its last ones.

    The ledger would stop trading for it, and set a log aside without which the file is malformed indeed.
    """
    path = tmp_path / "ledger.db"
    ledger = await opened(path)
    me = await own(ledger)
    wide = limits(max_open_intents=10**6)
    short = 0
    for n in range(60):
        assert (await ledger.claim(free(f"a{n}"), ownership=me, limits=wide)).record
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM intents").fetchone()
            for name in (f"b{n}", f"c{n}"):
                assert (await ledger.claim(free(name), ownership=me, limits=wide)).record
            await carried(ledger)
            with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as file:
                try:
                    file.execute("SELECT 1 FROM intents").fetchone()
                except sqlite3.DatabaseError:
                    short += 1
    assert short, "the file never lacked a page: this proves nothing"
    assert sum((await ledger.intent_counts()).values()) == 180
    await ledger.close()


async def test_a_log_that_is_carried_over_whole_is_left_alone_until_something_is_written(tmp_path: Path) -> None:
    """SQLite up to 3.51.2 may lose the commit that starts such a log anew while it is carried over once more."""
    ledger = await opened(tmp_path / "ledger.db")
    me = await own(ledger)
    assert ledger._keeper is not None
    told: list[str] = []
    ledger._keeper._connection.set_trace_callback(told.append)

    def times() -> int:
        return sum("wal_checkpoint" in sql for sql in told)

    for _ in range(3):
        await carried(ledger)
        assert times() == 1
    refused = await ledger.claim(an_entry("y", mint="y"), ownership=me, limits=limits(max_open_intents=0))
    assert refused.outcome is ClaimOutcome.REFUSED
    await carried(ledger)
    assert times() == 1, "that wrote nothing"
    assert (await ledger.claim(an_entry("z", mint="z"), ownership=me, limits=limits())).record
    await carried(ledger)
    assert times() == 2
    await ledger.close()
