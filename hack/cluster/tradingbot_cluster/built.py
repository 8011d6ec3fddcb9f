"""What is built once per machine: kept under a hash of everything that went into it, so that a changed input is a new thing."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

UNUSED_FOR_S = 30 * 86_400
"""What was not used for this long is removed when something of the same name is built anew, in seconds."""


def fingerprint(files: Iterable[Path], *words: str, base: Path) -> str:
    """
    Return a hash of files (their paths below `base`, permission to execute, contents) and words; 16 hexadecimal digits.

    The order of the files does not matter, that of the words does.
    """
    digest = hashlib.sha256()

    def put(data: bytes) -> None:
        digest.update(len(data).to_bytes(8, "big"))  # else "ab" + "c" and "a" + "bc" were the same
        digest.update(data)

    for word in words:
        put(word.encode())
    for path in sorted(files):
        put(str(path.relative_to(base)).encode())
        put(b"link" if path.is_symlink() else b"run" if os.access(path, os.X_OK) else b"")
        put(os.readlink(path).encode() if path.is_symlink() else path.read_bytes())
    return digest.hexdigest()[:16]


def files_below(*folders: Path) -> list[Path]:
    """Return all files and links below the folders, Python's own caches excepted."""
    found = (p for folder in folders for p in folder.rglob("*") if p.is_symlink() or p.is_file())
    return [p for p in found if "__pycache__" not in p.parts]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; it ends with the process that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def kept(folder: Path, name: str, key: str, make: Callable[[Path], None]) -> Path:
    """
    Return the folder `name-key`; if there is none yet, `make` fills it, and nobody sees it half filled.

    Args:
        folder: Where everything built is kept.
        name: What it is; versions of the same name that nobody used for a month are removed when a new one is made.
        key: Hash of its inputs.
        make: Fills the empty folder that it is given.
    """
    home = folder / f"{name}-{key}"
    if not home.is_dir():
        with locked(folder / f".{name}.lock"):
            if not home.is_dir():
                _make(folder, home, make)
                _remove_unused(folder, name, but=home)
    os.utime(home)  # the moment of its last use
    return home


def _make(folder: Path, home: Path, make: Callable[[Path], None]) -> None:
    for stale in folder.glob(f".{home.name}.*"):  # of a build that was killed: we hold the lock
        shutil.rmtree(stale, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=folder))
    try:
        make(draft)
        draft.chmod(0o755)
        draft.rename(home)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _remove_unused(folder: Path, name: str, *, but: Path) -> None:
    for old in folder.glob(f"{name}-" + "[0-9a-f]" * 16):
        if old != but and time.time() - old.stat().st_mtime > UNUSED_FOR_S:
            shutil.rmtree(old, ignore_errors=True)
