"""The engine's settings as its catalogue publishes them: names with type and range, and the comparisons between them."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import based58

PUBLIC_KEY_BYTES = 32
TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "boolean": (bool, "must be true or false"),
    "integer": (int, "must be a number without fraction"),
    "number": ((int, float), "must be a number"),
    "string": (str, "must be a string: put it in quotes"),
}
MISSING = object()


@dataclass(frozen=True)
class Setting:
    """One setting of the engine: its JSON Schema, unit and meaning."""

    name: str
    schema: Mapping[str, Any]

    @property
    def secret(self) -> bool:
        return bool(self.schema.get("writeOnly"))

    @property
    def unit(self) -> str:
        return str(self.schema.get("unit") or "")

    @property
    def meaning(self) -> str:
        return str(self.schema.get("description") or "")

    def fault(self, value: Any) -> str | None:
        """Return what would be right, or None if the value is."""
        expected, message = TYPES.get(self.schema.get("type", ""), (object, ""))
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            return message
        if isinstance(value, str):
            return self._text_fault(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if value != value or value in (float("inf"), float("-inf")):
            return "must be a finite number"
        return self._range_fault(value)

    def _text_fault(self, value: str) -> str | None:
        options = self.schema.get("enum")
        if options and value not in options:
            return (
                f"must be {', '.join(options[:-1])} or {options[-1]}" if len(options) > 1 else f"must be {options[0]}"
            )
        if len(value) < self.schema.get("minLength", 0):
            return f"must have at least {self.schema['minLength']} character(s)"
        if len(value) > self.schema.get("maxLength", 65_536):
            return f"must have at most {self.schema.get('maxLength', 65_536)} characters"
        pattern = self.schema.get("pattern")
        if pattern and not re.search(pattern, value):
            return f"must match {pattern}"
        if self.schema.get("format") == "public-key" and len(based58.b58decode(value.encode())) != PUBLIC_KEY_BYTES:
            return f"must be a public key of {PUBLIC_KEY_BYTES} bytes in base58"
        return None

    def _range_fault(self, value: float) -> str | None:
        unit = f" {self.unit}" if self.unit else ""
        schema = self.schema
        if "minimum" in schema and value < schema["minimum"]:
            return f"must be at least {schema['minimum']:.15g}{unit}"
        if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            return f"must be greater than {schema['exclusiveMinimum']:.15g}{unit}"
        if "maximum" in schema and value > schema["maximum"]:
            return f"must be at most {schema['maximum']:.15g}{unit}"
        if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
            return f"must be less than {schema['exclusiveMaximum']:.15g}{unit}"
        return None


@dataclass(frozen=True)
class SettingsSchema:
    """All settings by dotted name, and the rules between them."""

    settings: Mapping[str, Setting]
    rules: tuple[Mapping[str, Any], ...]

    def broken_rules(self, value_of: Callable[[str], Any], stated: set[str]) -> Iterator[tuple[str, str]]:
        """
        Yield (name of the stated setting, what would be right) for rules that one of the stated settings breaks.

        Args:
            value_of: Returns the value in force of a setting by its name, or MISSING where it is not known.
            stated: Names that the manifest states under engine.settings; other rules are the manifest's own affair.
        """
        for rule in self.rules:
            reads = (rule["left"], rule["right"]) if "left" in rule else (rule["name"], rule["needed"])
            at = next((name for name in reads if name in stated), None)
            values = [value_of(name) for name in reads]
            if at is not None and MISSING not in values and (problem := _broken(rule, *values)) is not None:
                yield at, problem


def parse_settings(data: Mapping[str, Any]) -> SettingsSchema:
    """Return the schema from the catalogue's JSON; a catalogue without one offers no setting."""
    properties = data.get("settings", {}).get("properties", {})
    return SettingsSchema(
        settings={name: Setting(name, schema) for name, schema in properties.items()},
        rules=tuple(rule for rule in data.get("settingsRules", ()) if rule.get("rule") in ("below", "atMost", "needs")),
    )


def _broken(rule: Mapping[str, Any], first: Any, second: Any) -> str | None:
    if rule["rule"] == "needs":
        if first != rule["value"] or second == rule["be"]:
            return None
        be = str(rule["be"]).lower() if isinstance(rule["be"], bool) else rule["be"]
        return f"{rule['needed']} must be {be} with {rule['name']} {rule['value']}: {rule['why']}"
    if first is None or second is None:
        return None
    limit = second * rule.get("scale", 1)
    if first < limit or (rule["rule"] == "atMost" and first == limit):
        return None
    word = "below" if rule["rule"] == "below" else "at most"
    factor = f" × {rule['scale']:g}" if rule.get("scale", 1) != 1 else ""
    return f"{rule['left']} must be {word} {rule['right']}{factor}: {first:g} against {limit:g}"
