"""SQLite connections for a ledger: opened durable, refused where they cannot be, and their errors in the engine's words."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from tradingbot_engine.errors import EngineError, LedgerCorrupt, LedgerNotDurable, LedgerUnavailable, PermanentError
from tradingbot_engine.ledger.migrate import upgrade_script

BUSY_TIMEOUT_MS = 2000
"""How long another process may hold the file before a write is refused."""
CACHE_KIB = 8192
"""What the writer keeps of the file in memory: the upper pages of all indexes, and the newest rows."""
NETWORK_FILE_SYSTEMS = frozenset(
    {"afs", "ceph", "cifs", "fuse.sshfs", "fuse.glusterfs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
)
"""Their locks and their fsync are not those that SQLite relies on."""
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_AWAY = {
    sqlite3.SQLITE_BUSY: "locked by another process",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reports an I/O error",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_PERM: "no permission",
    sqlite3.SQLITE_AUTH: "no permission",
    sqlite3.SQLITE_PROTOCOL: "its locks cannot be had",
    sqlite3.SQLITE_INTERRUPT: "interrupted",
    sqlite3.SQLITE_NOLFS: "the file system holds no large files",
}


def translated(error: sqlite3.Error, path: Path) -> EngineError:
    """Return the error that says what the caller does next."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _CORRUPT:
        return LedgerCorrupt(f"{path}: {error}; restore a backup, then audit")
    if code in _AWAY:
        return LedgerUnavailable(f"{path}: {_AWAY[code]} ({error})")
    return PermanentError(f"{path}: the ledger refuses the write: {error}")


def is_about_the_file(error: BaseException) -> bool:
    """Whether the error concerns the whole transaction (file, disk, lock) rather than one operation in it."""
    if not isinstance(error, sqlite3.Error):
        return False
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return code in _CORRUPT or code in _AWAY


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """
    Return a connection in autocommit mode that any thread may use (one at a time).

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}{'?mode=ro' if read_only else ''}",
        uri=True,
        timeout=BUSY_TIMEOUT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def file_id(path: Path) -> tuple[int, int]:
    """
    Return what tells a file from another one of the same name.

    Raises:
        OSError: There is none.
    """
    found = os.stat(path)
    return found.st_dev, found.st_ino


def check_same(path: Path, opened: tuple[int, int] | None) -> None:
    """
    Make sure that a path still leads to the file that was opened.

    Raises:
        LedgerCorrupt: It was moved, deleted or replaced: what is written now would be found by nobody.
    """
    try:
        found = file_id(path)
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise LedgerUnavailable(f"{path}: {error.strerror}") from error
    if found != opened:
        what = "replaced by another file" if found else "deleted or moved away"
        raise LedgerCorrupt(
            f"{path} was {what} while it was in use; stop the bot, put the newest ledger back "
            f"(with its own {path.name}-wal, or without any), start it and audit"
        )


def log_of(path: Path) -> Path:
    """Return where the write-ahead log of a ledger lies."""
    return path.with_name(path.name + "-wal")


def set_log_aside(path: Path, opened: tuple[int, int] | None) -> None:
    """
    Move the log of a file that was replaced out of the way of the new one, which must never be read together with it.

    Nothing is done to another log than the one that was opened: that one came with the new file.
    """
    log = log_of(path)
    with contextlib.suppress(
        OSError
    ):  # gone already, or not ours to move: the error that the caller raises says what to do
        if opened is not None and path.exists() and file_id(log) == opened:
            log.rename(log.with_name(log.name + ".of-replaced-ledger"))


def open_durable(path: Path) -> sqlite3.Connection:
    """
    Return the writing connection of a ledger of the newest revision, made if there is none.

    Raises:
        LedgerNotDurable: The file system or the settings cannot promise that a commit stays.
        LedgerCorrupt: The file is no ledger, or is damaged.
        sqlite3.Error: The file is away.
    """
    kind = file_system_of(path.parent)
    if kind in NETWORK_FILE_SYSTEMS:
        raise LedgerNotDurable(f"{path} is on a network file system ({kind}); put the ledger on a local disk")
    connection = connect(path)
    try:
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise LedgerCorrupt(f"{path}: {damage}; restore a backup, then audit")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise LedgerNotDurable(f"{path}: SQLite keeps journal mode {mode} instead of WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `sqlite_log`
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone leaves data in the drive's cache
        migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to the newest revision, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")  # of two processes that start together, one migrates
    try:
        script = upgrade_script("sqlite", since=revision_of(connection, path))
        for statement in statements(script):
            connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def revision_of(connection: sqlite3.Connection, path: Path) -> str | None:
    """Return the revision that a file is of, None if it is empty."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "alembic_version" not in tables:
        if tables:
            raise LedgerCorrupt(f"{path} is a database, but no ledger: it holds {', '.join(sorted(tables)[:5])}")
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def statements(script: str) -> list[str]:
    """Return a script's single statements."""
    found, waiting = [], ""
    for line in script.splitlines(keepends=True):
        waiting += line
        if sqlite3.complete_statement(waiting):
            found.append(waiting)
            waiting = ""
    return found


def file_system_of(folder: Path, *, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the kind of file system that holds a folder, "" where the system does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    target, best, kind = folder.resolve(), -1, ""
    for line in lines:
        head, _, tail = line.partition(" - ")
        mount = Path(head.split()[4].replace("\\040", " "))
        if target.is_relative_to(mount) and len(mount.parts) >= best:
            best, kind = len(mount.parts), tail.split()[0]
    return kind
