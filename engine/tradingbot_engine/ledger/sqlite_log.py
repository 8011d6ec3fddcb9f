"""
The write-ahead log of an SQLite ledger: carried over into the file beside the writer, and the proof that file and log belong together.

SQLite would carry the log over inside of every so many commits, which then take ten times as long. Here a thread of its own does it
while the writer goes on; only when that never catches up does the writer finish the rest, which is short by then.

A log that is carried over to its end is left alone until a transaction that began afterwards has written to it. Up to 3.51.2 SQLite can
lose commits if a log that is whole is carried over once more at the instant at which a commit starts it anew (sqlite.org/wal.html,
"The WAL-Reset Bug").

What the file itself holds, its log left out, never goes back: the number of the newest journal entry in it (its *seq*) is the
measure. `user_version`, which is part of the data, tells what the file held at least when its log began. So an older copy that was
written over an open file, or put beside a log that is not its own, is noticed before anything is read from the mixture.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

from tradingbot_engine.errors import LedgerCorrupt
from tradingbot_engine.ledger.sqlite_files import connect, log_of

CARRY_AFTER = 256
"""Operations after which the log is carried over."""
MAX_LOG_PAGES = 8192
"""A log longer than this (32 MiB) is finished by the writer, so that it starts anew and grows no further."""
MAX_VERSION = 2**31 - 1
"""The largest `user_version`; a journal that is longer than this proves a little less."""
_SEQ_SQL = "SELECT seq FROM sqlite_sequence WHERE name = 'transitions'"
_LOOKS = 5


class LogKeeper:
    """
    Carries the log of one open ledger over into its file; `file_changed` and `carried` are the writer's, between transactions.

    Args:
        path: A ledger of the newest revision, open for writing elsewhere in this process.
        whole: Whether its log was carried over to its end when it was opened.

    Attributes:
        whole: The log is carried over to its end: the next commit may start it anew. Taken back by the writer, after a commit that
            changed something and began when this stood.
    """

    def __init__(self, path: Path, *, whole: bool = False) -> None:
        self._path = path
        self.whole = whole
        self._connection = connect(path)
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA fullfsync = ON")
        self._due = threading.Event()
        self._stopping = False
        self._busy = threading.Lock()
        self._waiting = 0
        self._too_long = False
        self._stamp = _stamp(path)
        self._held_seq = seq_of_file(path) or 0
        self._thread = threading.Thread(target=self._carry_forever, name="ledger-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping = True
        self._due.set()
        self._thread.join()
        self._connection.close()

    def file_changed(self) -> None:
        """
        Look whether the file is as this process left it; a microsecond if it is.

        Raises:
            LedgerCorrupt: Somebody wrote an older state, or something else, over it.
        """
        if self._busy.acquire(blocking=False):  # while the log is being carried over the file changes by our own hand
            try:
                self._look()
            finally:
                self._busy.release()

    def wrote(self, operations: int, connection: sqlite3.Connection) -> int | None:
        """
        Count what the writer committed; return the file's seq if the log starts anew with the next transaction.

        That transaction must then set `user_version` to it.
        """
        self._waiting += operations
        if self._too_long:
            self._too_long = False
            with self._busy:
                self._look()
                _, pages, carried = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                self.whole = 0 <= pages == carried
                self._note()
                # All of it, with nobody writing meanwhile: then it is on the disk as well.
                return self._held_seq if self.whole else None
        if self._waiting >= CARRY_AFTER:
            self._waiting = 0
            self._due.set()
        return None

    def _carry_forever(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._stopping:
                return
            if self.whole:
                continue
            # A disk that is full or broken is met by the writer as well, who has somebody to tell; the log keeps everything.
            with contextlib.suppress(sqlite3.Error, LedgerCorrupt, OSError), self._busy:
                self._look()
                _, pages, carried = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                self.whole = 0 <= pages == carried
                self._note()
                self._too_long = pages > MAX_LOG_PAGES

    def _look(self) -> None:
        if _stamp(self._path) != self._stamp:
            self._note()

    def _note(self) -> None:
        """Remember how the file stands now, after it was seen to hold no less than before."""
        stamp = _stamp(self._path)
        seq = seq_of_file(self._path)
        if seq is None or seq < self._held_seq:
            raise LedgerCorrupt(
                f"{self._path} was overwritten while it was in use: it held journal entries up to {self._held_seq}, "
                f"now {'none that can be read' if seq is None else f'up to {seq}'}; stop the bot, put the newest ledger "
                "back without any -wal file beside it, start it and audit"
            )
        self._stamp, self._held_seq = stamp, seq


def check_log(path: Path) -> None:
    """
    Make sure that the log which lies beside a file that nobody has open continues that very file.

    Raises:
        LedgerCorrupt: It is another one's; neither is touched.
        sqlite3.Error: They cannot be read.
    """
    log = log_of(path)
    if not log.exists() or not log.stat().st_size:
        return
    held = seq_of_file(path, looks=1)
    if held is None:
        return  # a new file, or a page that a power failure tore and the log still has whole
    # Read-only: a connection that may write would carry the log over when it is closed.
    with closing(connect(path, read_only=True)) as connection:
        together, version = _seq(connection), connection.execute("PRAGMA user_version").fetchone()[0]
    if held < version or together < held:
        raise LedgerCorrupt(
            f"{log} does not belong to {path}: the file ends with journal entry {held}, the log "
            + (f"continues one that held {version}" if held < version else f"leads back to {together}")
            + "; if the file is a restored copy, move the log away, start the bot and audit"
        )


def seq_of_file(path: Path, *, looks: int = _LOOKS) -> int | None:
    """
    Return the number of the newest journal entry that the file holds without its log; None if it cannot be read.

    A reading that fails is repeated: another process of ours may be carrying the log over.
    """
    for look in range(looks):
        if look:
            time.sleep(0.02)
        # Through SQLite: if this process opened and closed the file itself, all locks on it would be gone.
        with contextlib.suppress(sqlite3.Error), closing(_immutable(path)) as connection:
            return _seq(connection)
    return None


def _immutable(path: Path) -> sqlite3.Connection:
    """
    Open the file without its log.

    While a reader holds an older state, carrying leaves out pages that were written again since: the file may lack its last pages,
    and would be called malformed for it. `writable_schema` lets what is there be read all the same.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
    connection.execute("PRAGMA writable_schema = ON")
    return connection


def _seq(connection: sqlite3.Connection) -> int:
    row = connection.execute(_SEQ_SQL).fetchone()
    return int(row[0]) if row is not None else 0


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
