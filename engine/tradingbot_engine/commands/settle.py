"""`tradingbot-engine settle`: follow what a stopped engine left open to its end, and trade nothing; or sell what it held."""

from __future__ import annotations

from pathlib import Path

import click

from tradingbot_engine.commands.run import work


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="Settings, JSON.")
@click.option("--sell", is_flag=True, help="Sell every position as well, by exits as the engine makes them.")
@click.option(
    "--by", default="settle --sell", show_default=True, help="With --sell: who wants it, in words; kept in the ledger."
)
@click.option(
    "--if-ours", is_flag=True, help="Of a ledger that belongs to another bot say that nothing is open, and end."
)
def settle(path: Path, sell: bool, by: str, if_ours: bool) -> None:
    """
    Resolve every open trade of the ledger: resend what was signed, prove what became of it, and end; sign nothing new.

    For a bot that is being deleted. It takes the shards, so the bot's engine must have stopped. While something cannot be
    settled it goes on; the admin port tells what is open and why.

    With --sell the wish to sell everything is written into the ledger first, where it stays: the bot opens no position any
    more until `close-out --undo` says so. Then every position is sold by exits of the highest urgency, and what cannot be
    sold now (no route, no money for fees, no node) is tried again until it can.

    --if-ours is for a bot that is known to have had no ledger yet. Any other may have traded in one that it is only not given any
    more: what is open there is then not to be seen, and a ledger of another bot ends nothing.

    Exit codes: 0 nothing is open (with --sell: nor held), 1 failed, 2 bad settings, 3 told to stop with trades still open
    in the ledger (with --sell: or positions held).
    """
    work(path, settle=not sell, close_out_by=by if sell else None, if_ours=if_ours)
