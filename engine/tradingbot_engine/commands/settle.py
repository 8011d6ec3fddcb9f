"""`tradingbot-engine settle`: follow what a stopped engine left open to its end, and trade nothing."""

from __future__ import annotations

from pathlib import Path

import click

from tradingbot_engine.commands.run import work


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="Settings, JSON.")
def settle(path: Path) -> None:
    """
    Resolve every open trade of the ledger: resend what was signed, prove what became of it, and end; sign nothing new.

    For a bot that is being deleted. It takes the shards, so the bot's engine must have stopped. While something cannot be
    settled it goes on; the admin port tells what is open and why.

    Exit codes: 0 nothing is open, 1 failed, 2 bad settings, 3 told to stop with trades still open in the ledger.
    """
    work(path, settle=True)
