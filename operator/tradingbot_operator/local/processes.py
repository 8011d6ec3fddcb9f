"""Processes of this machine told apart for certain: a pid together with the moment its process began."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessId:
    """A process that can't be mistaken for another that was given the same pid later."""

    pid: int
    started: str
    """When it began, in the system's own words: clock ticks since boot on Linux, a date elsewhere."""

    def alive(self) -> bool:
        """Return whether this very process still runs; a zombie does not."""
        return self.started != "" and started_of(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, *, patience_s: float) -> None:
        """
        End it and wait until it is gone: SIGTERM, and SIGKILL after `patience_s` (at once if 0).

        Raises:
            TimeoutError: It does not go, as a process in uninterruptible sleep does not.
        """
        if patience_s > 0:
            self.send(signal.SIGTERM)
            if _wait_until(lambda: not self.alive(), patience_s):
                return
        self.send(signal.SIGKILL)
        if not _wait_until(lambda: not self.alive(), 10.0):
            raise TimeoutError(f"process {self.pid} does not end")


def identify(pid: int) -> ProcessId:
    """Return the identity of a process that runs now."""
    return ProcessId(pid, started_of(pid))


def started_of(pid: int) -> str:
    """Return when a process began, or nothing if there is none (or only a zombie)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return "" if fields[0] in ("Z", "X") else fields[19]
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return ""
    except (OSError, IndexError):
        return ""
    answer = subprocess.run(  # noqa: S603  # a fixed program; the argument is a number
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, began = answer.stdout.strip().partition(" ")
    return "" if not began or state.startswith("Z") else began.strip()


def _wait_until(done: Callable[[], bool], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
