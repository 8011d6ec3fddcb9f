"""`tradingbot-engine catalogue`: what strategies there are, for the operator and for people."""

from __future__ import annotations

import json

import click

from tradingbot_engine.core.catalogue import catalogue as published


@click.command()
def catalogue() -> None:
    """Print every strategy with version, feeds and parameters (type, range, unit, default), as JSON."""
    click.echo(json.dumps(published(), indent=2))
