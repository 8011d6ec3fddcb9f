"""`tradingbot-engine close-out`: have a running engine sell all that it holds and buy nothing any more, and wait for it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from tradingbot_engine.commands.admin import UNREACHABLE, ask
from tradingbot_engine.redact import scrub
from tradingbot_engine.settings import EngineSettings, SettingsInvalid, load_settings

EVERY_S = 0.5
"""Pause between two looks at how far it is."""
ANSWER_S = 10.0
"""Limit of one request."""
_OTHERS = frozenset({"ClosingOut"})
"""Reasons that say nothing beside the progress."""


@click.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path), required=True, help="Settings of the running engine, JSON."
)
@click.option("--undo", is_flag=True, help="Let the bot trade again; what is sold stays sold.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, max=604_800),
    help="Seconds to wait for the end, 0: none; default: until it is done. What was asked for stays in force.",
)
def close_out(path: Path, undo: bool, timeout_s: float | None) -> None:
    """
    Sell every position of the engine that runs with these settings, through its admin port; it opens none any more.

    The wish is kept in the ledger: an engine that dies, is stopped or replaced goes on with it at its next start, and
    `settle --sell` does so where no engine runs. The engine itself goes on running; end it by a drain.

    Exit codes: 0 nothing is held any more (or: it trades again), 1 the engine was not reached, there is still something
    left after the timeout, or somebody undid it meanwhile, 2 bad settings.
    """
    try:
        settings = load_settings(path)
    except SettingsInvalid as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    if undo:
        answer = _ask(settings, "POST", "/v1/reopen")
        click.echo(
            "the bot may open positions again" if "error" not in answer else _refused(answer), err="error" in answer
        )
        sys.exit(1 if "error" in answer else 0)
    answer = _ask(settings, "POST", "/v1/close-out", body={"by": "close-out by hand"})
    if "error" in answer:
        click.echo(_refused(answer), err=True)
        sys.exit(1)
    sys.exit(_wait(settings, timeout_s))


def _wait(settings: EngineSettings, timeout_s: float | None) -> int:
    """Print each change of the progress until it is done; return the exit code."""
    ends_s = None if timeout_s is None else time.monotonic() + timeout_s
    told = ""
    while True:
        status = _ask(settings, "GET", "/v1/status")
        closing = status.get("closing") or {}
        if (text := _progress(status, closing)) != told:
            told = text
            click.echo(text)
        if closing.get("done"):
            return 0
        if "closing" in status and status["closing"] is None:
            click.echo("somebody let the bot trade again meanwhile", err=True)
            return 1
        if ends_s is not None and time.monotonic() >= ends_s:
            click.echo("it is not done yet; the engine goes on with it", err=True)
            return 1
        time.sleep(EVERY_S)


def _progress(status: dict[str, Any], closing: dict[str, Any]) -> str:
    if closing.get("done"):
        return "closed out: nothing is held any more"
    lines = [
        f"positions left: {_number(closing.get('positionsLeft'))}, trades open: {_number(closing.get('openIntents'))}",
        *(
            f"  {position.get('symbol')} of {position.get('strategy')}: {position['trouble']}"
            for position in closing.get("positions") or ()
            if position.get("trouble")
        ),
        *(
            f"  {reason.get('type')}: {reason.get('message')}"
            for reason in status.get("reasons") or ()
            if reason.get("type") not in _OTHERS
        ),
    ]
    return scrub("\n".join(lines))


def _number(value: Any) -> str:
    return "not known yet" if value is None else str(value)


def _refused(answer: dict[str, Any]) -> str:
    return scrub(f"the engine refuses: {answer.get('error')}")


def _ask(settings: EngineSettings, method: str, path: str, *, body: Any = None) -> dict[str, Any]:
    try:
        return ask(settings, method, path, body=body, timeout_s=ANSWER_S)
    except UNREACHABLE as error:
        click.echo(scrub(f"the engine's admin port could not be asked: {error}"), err=True)
        sys.exit(1)
