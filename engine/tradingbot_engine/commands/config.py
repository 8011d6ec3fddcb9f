"""`tradingbot-engine config`: what is in force, and where each value came from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, SecretStr

from tradingbot_engine.redact import REDACTED, is_secret_name, scrub
from tradingbot_engine.settings import EngineSettings, SettingsInvalid, switched_off
from tradingbot_engine.settings.load import Sources, read_sources, settings_from
from tradingbot_engine.settings.schema import leaves

_ABSENT = object()


@click.command()
@click.option(
    "-c", "--config", "path", type=click.Path(path_type=Path), help="Settings, JSON; absent: environment alone."
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def config(path: Path | None, output: str) -> None:
    """
    Print every setting in force with its unit and its source (file, environment, default); secrets are not shown.

    Exit codes: 0 sound, 2 not: every problem stands on a line of its own.
    """
    try:
        sources = read_sources(path)
        settings = settings_from(sources)
    except SettingsInvalid as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    entries = list(in_force(settings, sources))
    off = switched_off(settings)
    if output == "json":
        data = {"settings": entries, "switchedOff": [{"name": name, "lost": lost} for name, lost in off]}
        click.echo(json.dumps(data, indent=2))
        return
    width = max(len(entry["name"]) for entry in entries)
    for entry in entries:
        value = entry["value"] if entry["secret"] else json.dumps(entry["value"], ensure_ascii=False)
        unit = f" {entry['unit']}" if entry["unit"] and entry["value"] is not None else ""
        click.echo(f"{entry['name']:<{width}}  {value}{unit}  ({entry['source']})")
    for name, lost in off:
        click.echo(f"SWITCHED OFF: {name}: {lost}", err=True)


def in_force(settings: EngineSettings, sources: Sources) -> Iterator[dict[str, Any]]:
    """
    Yield {"name", "value", "unit", "source", "secret"} of every setting, lists element by element.

    Args:
        settings: What is in force.
        sources: What file and environment said.
    """
    units = {leaf.name: leaf.unit for leaf in leaves()}
    for steps, value in _walk(settings, ()):
        secret = isinstance(value, SecretStr) or (steps[0] == "strategies" and is_secret_name(str(steps[-1])))
        yield {
            "name": _path(steps),
            "value": REDACTED if secret and value is not None else _plain(value),
            "unit": units.get(_path(tuple("[]" if isinstance(s, int) else s for s in steps)), ""),
            "source": _source(steps, sources),
            "secret": secret and value is not None,
        }


def _walk(value: Any, steps: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name), (*steps, name))
    elif isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _walk(inner, (*steps, str(name)))
    elif isinstance(value, tuple | list) and value:
        for index, inner in enumerate(value):
            yield from _walk(inner, (*steps, index))
    else:
        yield steps, value


def _plain(value: Any) -> Any:
    if isinstance(value, str | Path):
        return scrub(str(value))
    return value if value is None or isinstance(value, bool | int | float) else [] if isinstance(value, tuple) else {}


def _path(steps: tuple[str | int, ...]) -> str:
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += step if step == "[]" or not text else f".{step}"
    return text


def _source(steps: tuple[str | int, ...], sources: Sources) -> str:
    for name, data in (("environment", sources.environment), ("file", sources.file)):
        if _get(data, steps) is not _ABSENT:
            return name
    return "default"


def _get(data: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        try:
            data = data[str(step) if isinstance(data, dict) else step]  # the environment numbers elements by text
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return data
