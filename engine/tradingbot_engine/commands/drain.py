"""`tradingbot-engine drain`: ask a running engine to drain and wait until it has."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tradingbot_engine.commands.admin import UNREACHABLE, ask
from tradingbot_engine.redact import scrub
from tradingbot_engine.settings import SettingsInvalid, load_settings


@click.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path), required=True, help="Settings of the running engine, JSON."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True, max=86_400),
    help="Seconds to wait, above 0; default: shutdown.force_timeout_s.",
)
def drain(path: Path, timeout_s: float | None) -> None:
    """
    Drain the engine that runs with these settings, through its admin port; the preStop hook of its pod.

    Exit codes: 0 drained, 1 not reached or not in time, 3 drained with trades still open in the ledger.
    """
    try:
        settings = load_settings(path)
    except SettingsInvalid as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    try:
        body = ask(settings, "POST", "/v1/drain", timeout_s=timeout_s or settings.shutdown.force_timeout_s)
    except UNREACHABLE as error:
        click.echo(scrub(f"the engine's admin port could not be asked: {error}"), err=True)
        sys.exit(1)
    if not body.get("drained"):
        click.echo(scrub(f"not drained: {body.get('error', body)}"), err=True)
        sys.exit(1)
    click.echo(f"drained; trades still open in the ledger: {body['openIntents']}")
    sys.exit(3 if body["openIntents"] else 0)
