"""Running other programs, and saying well why one failed."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tradingbot_cluster.errors import Failed

LAST_LINES = 15


def run(
    *command: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    text_in: str | None = None,
    timeout_s: float | None = None,
) -> str:
    """
    Run a program to its end and return what it printed (both streams).

    Args:
        command: The program and its arguments.
        cwd: Where it runs.
        env: Added to this process' environment.
        log: What it prints is appended to this file as it comes, too.
        text_in: Its standard input; by default empty.
        timeout_s: It is killed after this time.

    Raises:
        Failed: It could not be started, took too long, or ended with another code than 0.
    """
    words = [str(word) for word in command]
    shown = shlex.join(words)
    out = log.open("a+b") if log else None
    start = out.seek(0, os.SEEK_END) if out else 0
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=None if text_in is None else text_in.encode(),
            stdin=subprocess.DEVNULL if text_in is None else None,
            stdout=out or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
        if out:
            out.seek(start)
        printed = (out.read() if out else done.stdout).decode(errors="replace")
    except FileNotFoundError as error:
        raise Failed(f"{words[0]}: no such program or folder ({error.filename})") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{shown}: no end after {timeout_s:g} s") from error
    finally:
        if out:
            out.close()
    if done.returncode != 0:
        raise Failed(
            f"{shown}: ended with {done.returncode}\n{last_lines(printed)}" + (f"\n(all of it: {log})" if log else "")
        )
    return printed


def last_lines(text: str, count: int = LAST_LINES) -> str:
    """Return the last lines of a text, indented."""
    return "\n".join("  " + line for line in text.rstrip().splitlines()[-count:])
