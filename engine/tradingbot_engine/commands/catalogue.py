"""`tradingbot-engine catalogue`: what the engine offers, for the operator and for people."""

from __future__ import annotations

import json
from typing import Any

import click

from tradingbot_engine.core.catalogue import catalogue as strategies
from tradingbot_engine.settings.rules import published_rules
from tradingbot_engine.settings.schema import settings_schema


@click.command()
def catalogue() -> None:
    """Print strategies (version, feeds, parameters) and settings (type, range, unit, default), as JSON."""
    click.echo(json.dumps(published(), indent=2))


def published() -> dict[str, Any]:
    """
    Return the whole catalogue as plain JSON data.

    Beside the strategies: `settings`, the JSON Schema of a flat map {dotted name: value}, and `settingsRules`, the rules
    between settings that are plain comparisons.
    """
    return {**strategies(), "settings": settings_schema(), "settingsRules": published_rules()}
