"""Processes are known by id and moment of start, so that nothing foreign is ever signalled in place of one that ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

STATE_AND_LATER = 2
STARTED_AT = 21
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def started_at(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if there is none, or only its exit code is left."""
    try:
        with open(f"/proc/{pid}/stat") as handle:
            text = handle.read()
    except OSError:
        return None
    # The name in brackets may hold spaces and brackets of its own.
    fields = text[text.rindex(")") + 1 :].split()
    state, ticks = fields[0], fields[STARTED_AT + 1 - STATE_AND_LATER - 1]
    return None if state in "ZX" else int(ticks)


@dataclass(frozen=True)
class Process:
    """One process, never another that got its number."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the process that has this number now, None if there is none."""
        started = started_at(pid)
        return None if started is None else cls(pid, started)

    def alive(self) -> bool:
        """Say whether it still runs."""
        return started_at(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                # The number can't be given to another while the handle is open and the process was alive after that.
                if self.alive():
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; return whether it has."""
        deadline = time.monotonic() + timeout_s
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            while self.alive() and (left := deadline - time.monotonic()) > 0:
                select.select([handle], [], [], min(left, 1.0))
            return not self.alive()
        finally:
            os.close(handle)

    def stop(self, *, grace_s: float = 10.0) -> None:
        """Ask it to end, make it end after `grace_s` seconds."""
        self.signal(signal.SIGTERM)
        if not self.wait(grace_s):
            self.signal(signal.SIGKILL)
            self.wait(grace_s)


def die_with_parent() -> Callable[[], None]:
    """
    Return a `preexec_fn` by which the kernel kills the child when the thread that starts it is gone.

    It is in force when `Popen` returns. (`setpriv --pdeathsig` takes effect some time after that.)
    """
    parent = os.getpid()

    def arrange() -> None:
        if _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(127)

    return arrange
