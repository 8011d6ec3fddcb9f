"""What the process uses of the machine: whatever of it grows without end is a leak."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """One reading; None for what this system does not tell."""

    tasks: int
    """asyncio tasks of the running loop that are not done."""
    open_fds: int | None
    """Open file descriptors, sockets among them."""
    resident_bytes: int | None
    """Memory that is in RAM now, shared pages included."""


def read_process(proc: Path = PROC) -> ProcessUse:
    """Read it; must be called inside a running event loop. Takes well under a millisecond."""
    return ProcessUse(tasks=len(asyncio.all_tasks()), open_fds=_open_fds(proc), resident_bytes=_resident_bytes(proc))


def _open_fds(proc: Path) -> int | None:
    try:
        return len(os.listdir(proc / "fd")) - 1  # the one that lists them is closed again
    except OSError:
        return None


def _resident_bytes(proc: Path) -> int | None:
    try:
        pages = (proc / "statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
