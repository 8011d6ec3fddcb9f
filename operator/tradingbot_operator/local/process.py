"""One child process: in its own session, its output in a log file, known to the state directory while it runs."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tradingbot_operator.local.state_dir import StateDir

ENGINE = (sys.executable, "-m", "tradingbot_engine")
"""The engine's own command, under the Python that runs now."""
ENV_PREFIX = "TRADINGBOT_"
WAIT_S = 0.03


def child_environment() -> dict[str, str]:
    """Return this process's environment without settings of the engine: the manifest alone says what the bot does."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(ENV_PREFIX)}
    return keep | {"PYTHONUNBUFFERED": "1"}


class Child:
    """A running child; `start` makes it."""

    def __init__(self, role: str, process: "subprocess.Popen[bytes]", log: Path, log_from: int) -> None:
        self.role, self.log, self._process, self._log_from = role, log, process, log_from

    @classmethod
    def start(cls, role: str, command: Sequence[str], *, state: StateDir, stdout: Path | None = None) -> "Child":
        """
        Start a child in its own session: a Ctrl-C reaches the runner alone, which then drains.

        Not a coroutine: a cancellation between its start and its record would leave an orphan.

        Args:
            role: Its name in logs and in the state directory.
            command: Program and arguments; never a secret.
            state: Where it is recorded, and where its log lies.
            stdout: A file for its standard output, emptied first; absent: the log.
        """
        with contextlib.ExitStack() as files:
            path = state.log(role)
            log = files.enter_context(path.open("ab"))
            log_from = log.tell()
            out = files.enter_context(stdout.open("wb")) if stdout else log
            process = subprocess.Popen(  # noqa: S603  # our own program; secrets travel in 0600 files
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
                env=child_environment(),
            )
        state.record(role, process.pid)
        return cls(role, process, path, log_from)

    @property
    def pid(self) -> int:
        return self._process.pid

    def last_words(self, *, lines: int = 5, most_bytes: int = 4096) -> str:
        """Return the end of what this very child logged, to be shown beside an error."""
        with self.log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(self._log_from, stream.tell() - most_bytes))
            text = stream.read().decode(errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    async def wait(self) -> int:
        """Wait for its end; return the exit code, negative for a signal."""
        while (code := self._process.poll()) is None:
            await asyncio.sleep(WAIT_S)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if not self.ended:
            self._process.send_signal(number)

    async def end(self, *, patience_s: float, first: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, wait, then end it by force; return its exit code."""
        if patience_s > 0:
            self.send(first)
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(self.wait(), patience_s)
        self.send(signal.SIGKILL)
        return await self.wait()


class Backoff:
    """How long to wait before the next start: doubled at each crash, forgotten after a long life."""

    def __init__(self, *, first_s: float = 0.5, most_s: float = 30.0, forget_after_s: float = 60.0) -> None:
        self._first_s, self._most_s, self._forget_after_s = first_s, most_s, forget_after_s
        self._next_s = first_s

    def after(self, lived_s: float) -> float:
        """Return the pause after a life of `lived_s` seconds."""
        if lived_s >= self._forget_after_s:
            self._next_s = self._first_s
        pause_s = self._next_s
        self._next_s = min(self._next_s * 2, self._most_s)
        return pause_s


def how_it_ended(code: int) -> str:
    """Return an exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
