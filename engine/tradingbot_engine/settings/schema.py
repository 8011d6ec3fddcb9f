"""
The settings as a list of names with type, range, unit and meaning: for the operator, the reference and `config`.

A name is the dotted path that errors and the reference use, for example `rpc.request_timeout_s`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from tradingbot_engine.settings.engine import EngineSettings

UNITS = {
    "_s": "s",
    "_ms": "ms",
    "_minutes": "min",
    "_hours": "h",
    "_days": "d",
    "_percent": "%",
    "_bps": "bps",
    "_lamports": "lamports",
    "_usd": "USD",
    "_per_second": "1/s",
    "_threshold": "share",
    "_bytes": "bytes",
}
"""Unit by the end of a setting's name; a field may state another."""
_KEPT = (
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
    "minItems", "maxItems", "pattern", "format", "writeOnly",
)  # fmt: skip


@dataclass(frozen=True)
class Leaf:
    """
    One setting.

    Attributes:
        name: Dotted path; `[]` stands for each element of a list.
        schema: JSON Schema of its value: type, range, pattern.
        default: JSON value; None where absent is the default, or where the setting is required.
        required: Whether it must be stated (within its element, for lists).
        unit: Unit of the number, or "".
        meaning: In words.
        secret: Whether its value is never shown.
        seed: Names of the same setting in the system that this one grew from.
        protection: For a switch that protects trading: what is lost while it is off, as its field states it; else "".
    """

    name: str
    schema: dict[str, Any]
    default: Any
    required: bool
    unit: str
    meaning: str
    secret: bool
    seed: tuple[str, ...]
    protection: str

    @property
    def in_a_list(self) -> bool:
        return "[]" in self.name


@cache
def leaves() -> tuple[Leaf, ...]:
    """Return every setting, in the order of the groups."""
    root = EngineSettings.model_json_schema()
    return tuple(_leaves(root, root["$defs"], ""))


def settings_schema() -> dict[str, Any]:
    """
    Return the JSON Schema of a flat map {name: value} of settings, as a manifest's `engine.settings` holds.

    Settings within lists are left out: lists are set as a whole, by the manifest's own fields.
    """
    properties = {}
    for leaf in leaves():
        if leaf.in_a_list or leaf.schema.get("type") in ("array", "object"):
            continue
        entry = {**leaf.schema, "description": leaf.meaning}
        if leaf.unit:
            entry["unit"] = leaf.unit
        if leaf.default is not None:
            entry["default"] = leaf.default
        properties[leaf.name] = entry
    return {"type": "object", "additionalProperties": False, "properties": properties}


def value_at(settings: BaseModel, name: str) -> Any:
    """Return the value of a setting by its dotted name; None below an absent group."""
    value: Any = settings
    for step in name.split("."):
        value = getattr(value, step, None)
    return value


def secrets_in(value: Any) -> Iterator[str]:
    """Yield every secret text inside settings: those of secret fields, and what addresses carry beside their host."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from secrets_in(inner)
    elif isinstance(value, str) and value.startswith(("http://", "https://")):
        parts = urlsplit(value)
        if parts.query or parts.password:
            yield value


def _leaves(node: dict[str, Any], defs: dict[str, Any], prefix: str) -> Iterator[Leaf]:
    required = set(node.get("required", ()))
    for name, field in node.get("properties", {}).items():
        path = f"{prefix}{name}"
        schema, items = _resolve(field, defs), None
        if schema.get("type") == "array":
            items = _resolve(schema.get("items", {}), defs)
        if "properties" in schema:
            yield from _leaves(schema, defs, f"{path}.")
        elif items is not None and "properties" in items:
            yield from _leaves(items, defs, f"{path}[].")
        else:
            yield _leaf(path, {**schema, **{k: v for k, v in field.items() if k != "anyOf"}}, name in required)


def _resolve(field: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, and take the one alternative of a nullable field."""
    if "$ref" in field:
        target: dict[str, Any] = defs[field["$ref"].rpartition("/")[2]]
        return target
    options = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    return _resolve(options[0], defs) if len(options) == 1 else field


def _leaf(path: str, field: dict[str, Any], required: bool) -> Leaf:
    name = path.rpartition(".")[2]
    seed = str(field.get("seed", ""))
    unit = field.get("unit")
    if unit is None:
        unit = next((UNITS[end] for end in sorted(UNITS, key=len, reverse=True) if name.endswith(end)), "")
    secret = bool(field.get("writeOnly"))
    default = field.get("default")
    return Leaf(
        name=path,
        schema={key: field[key] for key in _KEPT if key in field},
        default=None if secret else default,
        required=required,
        unit=unit,
        meaning=" ".join(field.get("description", "").split()),
        secret=secret,
        seed=tuple(part.strip() for part in seed.split(",") if part.strip()),
        protection=field.get("protection", ""),
    )
