"""Read settings, and say everything that is wrong with them at once."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from tradingbot_engine.errors import PermanentError
from tradingbot_engine.settings.engine import EngineSettings


class SettingsInvalid(PermanentError):
    """The settings cannot be used; the text lists every problem, one a line."""


_SECRET_FIELDS = frozenset({"url", "websocket_url", "api_key", "key_file"})


def problems_of(error: ValidationError) -> list[str]:
    """Return one line per problem: path, what is wrong, and the value unless it could be a secret."""
    lines = []
    for item in error.errors(include_url=False):
        path = ".".join(str(part) for part in item["loc"]) or "settings"
        shown = ""
        if not item["loc"] or (
            item["loc"][-1] not in _SECRET_FIELDS and not isinstance(item.get("input"), dict | list)
        ):
            value = item.get("input")
            shown = "" if isinstance(value, dict | list) else f" (value {value!r})"
        lines.append(f"{path}: {item['msg'].removeprefix('Value error, ')}{shown}")
    return lines


def load_settings(path: Path) -> EngineSettings:
    """
    Read settings from a JSON file and the environment.

    Raises:
        SettingsInvalid: The file cannot be read, is not JSON, or has problems (all of them listed).
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsInvalid(f"{path}: is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise SettingsInvalid(f"{path}: must hold a JSON object")
    try:
        return EngineSettings(**data)
    except ValidationError as error:
        raise SettingsInvalid("\n".join(problems_of(error))) from error
