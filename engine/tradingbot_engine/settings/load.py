"""Read settings from file and environment, and say everything that is wrong with them at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_settings import EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from tradingbot_engine.errors import PermanentError
from tradingbot_engine.key_file import KeyUnusable, read_keypair
from tradingbot_engine.redact import remember, remember_wallet, scrub
from tradingbot_engine.settings.engine import Contradictions, EngineSettings
from tradingbot_engine.settings.hints import misread, nearest
from tradingbot_engine.settings.rules import Loc, View, broken_rules
from tradingbot_engine.settings.schema import secrets_in

ENV_PREFIX, ENV_DELIMITER = "TRADINGBOT_", "__"
MAX_FILE_BYTES = 4 * 1024 * 1024
_SHOWN_CHARS = 80
_MAX_ELEMENTS = 1024


class SettingsInvalid(PermanentError):
    """The settings cannot be used; the text lists every problem, one a line."""


_SECRET_FIELDS = frozenset({"url", "websocket_url", "api_key", "key_file", "base_url", "history_url", "price_url"})


@dataclass(frozen=True)
class Sources:
    """What file and environment said, before defaults: plain data, each in the shape of `EngineSettings`."""

    file: dict[str, Any] = field(default_factory=dict, repr=False)
    environment: dict[str, Any] = field(default_factory=dict, repr=False)
    problems: tuple[str, ...] = ()
    """Variables of the environment that cannot be read; the settings are judged without them, and not used."""

    def merged(self) -> dict[str, Any]:
        """Return both; the environment wins, setting by setting."""
        return _merge(self.file, self.environment)


def problems_of(error: ValidationError, *, under: str = "") -> list[str]:
    """
    Return one line per problem: path, what is wrong, and the value unless it could be a secret.

    `under` is the group that was judged, where the error does not name it.
    """
    lines: list[str] = []
    for item in error.errors(include_url=False):
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, Contradictions):
            lines += cause.problems
            continue
        path = ".".join(str(part)[:_SHOWN_CHARS] for part in ((under,) if under else ()) + item["loc"]) or "settings"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = f"no such setting{nearest(path)}"
        lines.append(scrub(f"{path}: {message}{_shown(item['loc'], item.get('input'))}"))
    return lines


def load_settings(path: Path) -> EngineSettings:
    """
    Read settings from a JSON file and the environment.

    Raises:
        SettingsInvalid: The file cannot be read, is not JSON, or has problems (all of them listed).
    """
    return settings_from(read_sources(path))


def read_sources(path: Path | None) -> Sources:
    """
    Return what a file (None: no file) and the environment say.

    Raises:
        SettingsInvalid: The file cannot be read.
    """
    environment, problems = _environment()
    return Sources(file=_file(path) if path is not None else {}, environment=environment, problems=problems)


def settings_from(sources: Sources) -> EngineSettings:
    """
    Return the settings in force.

    Raises:
        SettingsInvalid: They have problems: all of them, also those between settings that are sound.
    """
    data, untold = _with_address(sources.merged())
    try:
        quoted = [scrub(line) for line in misread(sources.file)]
        settings = EngineSettings(**data)
    except ValidationError as error:
        broken: list[Loc] = [tuple(item["loc"]) for item in error.errors(include_url=False) if item["loc"]]
        told = {line.partition(":")[0] for line in quoted}
        lines = [line for line in problems_of(error) if line.partition(":")[0] not in told]
        if broken:  # pydantic stops before the rules between groups
            lines += broken_rules(View(_sound_groups(data, broken), broken))
        lines = [*sources.problems, *untold, *quoted, *lines]
        raise SettingsInvalid("\n".join(dict.fromkeys(lines))) from None  # the cause would show the values
    except RecursionError:
        raise SettingsInvalid("settings: nested too deeply") from None
    if sources.problems or quoted:
        raise SettingsInvalid("\n".join((*sources.problems, *quoted)))
    remember(*secrets_in(settings))
    remember_wallet(settings.wallet.address)
    return settings


def _file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsInvalid(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise SettingsInvalid(f"{path}: is larger than {MAX_FILE_BYTES} bytes")
    try:
        data = json.loads(raw, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        raise SettingsInvalid(f"{path}: is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise SettingsInvalid(f"{path}: must hold a JSON object")
    return data


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:_SHOWN_CHARS]!r} stands twice in one object")
    return data


def _environment() -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what the environment sets, and one line for each variable that cannot be meant or read."""
    source = EnvSettingsSource(EngineSettings)
    groups = tuple(f"{ENV_PREFIX}{name}{ENV_DELIMITER}".upper() for name in EngineSettings.model_fields)
    # A Secret made from a file often ends with a newline.
    ours = {name: text.strip() for name, text in os.environ.items() if name.upper().startswith(ENV_PREFIX)}
    problems, sound = [], {}
    for name, text in sorted(ours.items()):
        if ENV_DELIMITER in name[len(ENV_PREFIX) :] and not name.upper().startswith(groups):
            problems.append(f"{name}: no such group of settings: there are {', '.join(EngineSettings.model_fields)}")
            continue
        source.env_vars = {name.lower(): text}
        try:
            source()
        except SettingsError:
            problems.append(f"{name}: is not JSON: write a list or a group as JSON")
        else:
            sound[name.lower()] = text
    source.env_vars = sound
    return dict(source()), tuple(problems)


def _shown(loc: tuple[str | int, ...], value: Any) -> str:
    """Return the value for a problem's line: short, and nothing that could be a secret."""
    if isinstance(value, dict | list) or (loc and loc[-1] in _SECRET_FIELDS):
        return ""
    text = repr(value)
    return f" (value {text})" if len(text) <= _SHOWN_CHARS else f" (value of {len(text)} characters)"


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(under)
    for name, value in over.items():
        out[name] = _merged(out.get(name), value)
    return out


def _merged(below: Any, value: Any) -> Any:
    """Return one setting of both; `{"0": …}` stands for elements of a list, as the environment names them."""
    if not isinstance(value, dict):
        return value
    if isinstance(below, dict):
        return _merge(below, value)
    if not value or not all(key.isdecimal() and int(key) < _MAX_ELEMENTS for key in value):
        return value
    elements = list(below) if isinstance(below, list) else []
    elements += [{} for _ in range(max(map(int, value)) + 1 - len(elements))]
    for key, element in value.items():
        elements[int(key)] = _merged(elements[int(key)], element)
    return elements


def _with_address(data: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the settings with the wallet's address, which its key tells where nobody states it; and why it does not."""
    wallet = data.get("wallet")
    if not isinstance(wallet, dict) or wallet.get("address") is not None or not isinstance(wallet.get("key_file"), str):
        return data, ()
    try:
        address = str(read_keypair(Path(wallet["key_file"])).pubkey())
    except KeyUnusable as error:
        return data, (f"wallet.key_file: {error}",)
    return {**data, "wallet": {**wallet, "address": address}}, ()


def _sound_groups(data: Mapping[str, Any], broken: list[Loc]) -> dict[str, Any]:
    """Return every group that can be read once its broken settings have their defaults."""
    groups: dict[str, Any] = {}
    for name, info in EngineSettings.model_fields.items():
        here = [loc[1:] for loc in broken if loc[0] == name]
        if any(not loc for loc in here):
            continue
        value = data.get(name, info.get_default(call_default_factory=True))
        if not isinstance(value, BaseModel):
            for loc in sorted(here, key=str, reverse=True):
                value = _without(value, loc)
        try:
            groups[name] = TypeAdapter[Any](info.annotation or Any).validate_python(value)
        except ValidationError:
            continue
    return groups


def _without(value: Any, loc: Loc) -> Any:
    """Return a copy of plain data without one entry; lists are cut off whole, since their other indices would shift."""
    if isinstance(value, dict) and loc and loc[0] in value:
        if len(loc) == 1:
            return {key: inner for key, inner in value.items() if key != loc[0]}
        return {**value, loc[0]: _without(value[loc[0]], loc[1:])}
    return value
