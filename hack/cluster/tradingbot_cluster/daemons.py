"""Programs that run in the background for as long as the process that started them, each with a log of its own in one folder."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tradingbot_cluster.commands import last_lines
from tradingbot_cluster.errors import Failed
from tradingbot_cluster.processes import die_with_parent

END_WITHIN_S = 15.0


@dataclass
class Daemons:
    """What runs, by name, in the order of its start."""

    folder: Path
    """Their working directory, and where their logs are: NAME.log."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def spawn(
        self, name: str, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """
        Start a program; the kernel kills it when this process is gone.

        Args:
            name: Names it and its log, to which is appended.
            command: The program and its arguments.
            environment: All that it finds in its environment; by default that of this process.
        """
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [str(word) for word in command],
                preexec_fn=die_with_parent(),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C in a terminal is for the starter, which then stops these in their order
            )
        return self.running[name]

    def stop(self, name: str, *, kill: bool = False) -> None:
        """Stop one of them: as a shutdown would, or at once."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_until(self, true: Callable[[], bool], timeout_s: float) -> None:
        """
        Wait until something is true.

        Raises:
            Failed: A program ended, or it took too long; with the last lines of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not true():
            ended = [name for name, process in self.running.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                name = ended[0] if ended else list(self.running)[-1]
                what = "ended" if ended else f"was not ready after {timeout_s:g} s"
                raise Failed(f"{name} {what}\n{last_lines((self.folder / f'{name}.log').read_text(errors='replace'))}")
            time.sleep(0.05)

    def close(self) -> None:
        """Stop everything that runs, what was started first last."""
        for name in reversed(list(self.running)):
            self.stop(name)
