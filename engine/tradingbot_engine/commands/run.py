"""`tradingbot-engine run`: trade until told to drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.engine import EXIT_BAD_INPUT, Engine
from tradingbot_engine.logs import configure_logs
from tradingbot_engine.settings import SettingsInvalid, load_settings


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="Settings, JSON.")
@click.option("--parent-pid", type=int, help="Drain when this process, the runner, is gone.")
def run(path: Path, parent_pid: int | None) -> None:
    """
    Trade as the settings say; SIGTERM, SIGINT, SIGHUP and SIGUSR1 drain, SIGQUIT leaves at once.

    Exit codes: 0 drained, 1 failed, 2 bad settings, 3 stopped with trades still open in the ledger.
    """
    work(path, parent_pid=parent_pid)


def work(
    path: Path,
    *,
    parent_pid: int | None = None,
    settle: bool = False,
    close_out_by: str | None = None,
    if_ours: bool = False,
) -> NoReturn:
    """Run an engine with the settings of a file, and end the process with its exit code; see `Engine`."""
    try:
        settings = load_settings(path)
    except SettingsInvalid as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_BAD_INPUT)
    configure_logs(settings.logging)
    import uvloop  # here, so that other commands start without it

    engine = Engine(
        settings=settings,
        clock=SystemClock(),
        parent_pid=parent_pid,
        settle=settle,
        close_out_by=close_out_by,
        if_ours=if_ours,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(engine.run())
    leave(code)


def leave(code: int) -> NoReturn:
    """
    End the process now.

    All is closed and written. Taking the interpreter apart would only free memory that the system frees anyway, object by
    object, which keeps a successor waiting for a slot on a busy machine.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)
