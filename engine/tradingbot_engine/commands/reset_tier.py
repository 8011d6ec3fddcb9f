"""`tradingbot-engine reset-tier`: clear a drawdown tier by hand, journalled with who and why."""

from __future__ import annotations

import asyncio
import getpass
import sys
from pathlib import Path

import click

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.core.risk.tiers import reset_tier as cleared
from tradingbot_engine.domain.portfolio import RiskState
from tradingbot_engine.errors import EngineError
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.settings import EngineSettings, SettingsInvalid, load_settings


@click.command("reset-tier")
@click.option("--config", "path", type=click.Path(path_type=Path), help="Settings of the bot, JSON.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="State directory of `tradingbot run`.")
@click.option("--reason", required=True, help="Why; goes to the tier journal.")
def reset_tier(path: Path | None, state_dir: Path | None, reason: str) -> None:
    """Set the tier back to NORMAL with the peak and the day's start at today's equity; a running engine follows within a second."""
    if (path is None) == (state_dir is None):
        raise click.UsageError("name exactly one of --config and --state-dir")
    try:
        settings = load_settings(path or Path(state_dir or ".") / "engine.json")
        old, new = asyncio.run(_reset(settings, reason))
    except SettingsInvalid as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except EngineError as error:
        click.echo(f"not reset: {error}", err=True)
        sys.exit(1)
    click.echo(f"tier {old.tier.value} → {new.tier.value}: {reason}")


async def _reset(settings: EngineSettings, reason: str) -> tuple[RiskState, RiskState]:
    clock = SystemClock()
    ledger = open_ledger(settings.ledger, holder="", clock=clock, paper=settings.bot.mode == "Paper")
    await ledger.open()
    try:
        old = await ledger.risk()
        new = await ledger.update_risk(
            lambda risk: cleared(risk, reason=reason, at_ms=clock.now_ms()), ownership=None, actor=getpass.getuser()
        )
        return old, new
    finally:
        await ledger.close()
