"""Child processes of a chaos run: started in their own session, logged to a file, ended by pid and by nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).parents[1]


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is not just waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def signal_pid(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


async def wait_gone(pid: int, *, limit_s: float) -> bool:
    """Wait until a process is gone; False if it still runs after `limit_s`."""
    for _ in range(int(limit_s / 0.02)):
        if not is_running(pid):
            return True
        await asyncio.sleep(0.02)
    return not is_running(pid)


class Process:
    """One child; `pid` is the process that matters, which may be the child of a runner."""

    def __init__(self, child: subprocess.Popen[bytes], *, log: Path, pid: int | None = None) -> None:
        self.child = child
        self.pid = child.pid if pid is None else pid
        self.log = log

    @classmethod
    def start(cls, command: Sequence[str], *, log: Path, stdout: Path | None = None, **env: str) -> Process:
        """Start a command with `tests/` importable, standard error (and output, unless told) appended to `log`."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TRADINGBOT_")}
        path = os.pathsep.join(p for p in (str(TESTS), os.environ.get("PYTHONPATH", "")) if p)
        clean |= {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | env
        with log.open("ab") as err, (stdout or log).open("wb" if stdout else "ab") as out:
            child = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=clean, start_new_session=True
            )
        return cls(child, log=log)

    @property
    def running(self) -> bool:
        self.child.poll()
        return is_running(self.pid)

    @property
    def killed(self) -> bool:
        """Whether it died by SIGKILL (only known of a direct child)."""
        return self.child.poll() == -signal.SIGKILL

    def send(self, number: signal.Signals) -> bool:
        return signal_pid(self.pid, number)

    async def kill(self) -> None:
        """End it for good, its runner too."""
        self.send(signal.SIGKILL)
        if self.child.pid != self.pid:
            signal_pid(self.child.pid, signal.SIGKILL)
        await wait_gone(self.pid, limit_s=10)
        self.child.wait(10)


def engine_command(*arguments: str) -> list[str]:
    """Return the engine's command line, with the strategy of the chaos run known to it."""
    return [sys.executable, str(TESTS / "chaos" / "launch.py"), *arguments]
