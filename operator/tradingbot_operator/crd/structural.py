"""
A pydantic model as a structural schema of apiextensions/v1: what an API server can hold to.

Source: "Specifying a structural schema" and "Validation rules" in Kubernetes' own documentation of CustomResourceDefinitions.
"""

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

PRESERVE, INT_OR_STRING = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"
RULES = "x-kubernetes-validations"
UNIT = "x-unit"
_DROPPED = frozenset({"title", "$defs", "propertyNames", "additionalProperties", UNIT})
_FIRST = ("type", "format", "description", "default", "enum")
_BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}


class NotStructural(TypeError):
    """The model says something that a structural schema cannot."""


def structural(model: type[BaseModel], *, words: Mapping[str, str]) -> dict[str, Any]:
    """
    Return the structural schema of a model, defaults included.

    A field whose default is another model is defaulted to {}: the API server then fills in that model's own defaults. Lists
    and maps that are empty by default stay absent.

    Args:
        model: The model.
        words: What patterns ask for, in words.

    Raises:
        NotStructural: See there.
    """
    schema = model.model_json_schema(by_alias=True)
    return _Converter(schema.get("$defs", {}), words).node(schema)


def at(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the schema of a field, or of a list's elements, by its dotted path; raise KeyError if there is none."""
    for step in path.split("."):
        schema = schema["properties"][step]
        schema = schema.get("items", schema)
    return schema


class _Converter:
    def __init__(self, defs: Mapping[str, Any], words: Mapping[str, str]) -> None:
        self._defs, self._words = defs, words

    def node(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return a node of pydantic's schema, and all below it, as structural schema."""
        node = _with_plain_values(self._resolved(dict(raw)))
        out = {key: value for key, value in node.items() if key not in _DROPPED}
        if "description" in out:
            out["description"] = " ".join(out["description"].split())
        if unit := node.get(UNIT):
            out["description"] = f"{out.get('description', '')} Unit: {unit}.".strip()
        if out.get("default", 0) is None:
            del out["default"]
        if "const" in out:
            out["enum"] = [out.pop("const")]
        for exclusive, bound in _BOUNDS.items():
            if exclusive in out:
                out[bound], out[exclusive] = out[exclusive], True
        if out.get("type") == "integer":
            out["format"] = "int64"
        if out.get(INT_OR_STRING):
            out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
        if "properties" in out:
            required = out.get("required", ())
            out["properties"] = {
                name: self._field(inner, required=name in required) for name, inner in out["properties"].items()
            }
        if "items" in out:
            out["items"] = self.node(out["items"])
        if not out.get(PRESERVE):
            out |= self._map(node)
        return {key: out[key] for key in (*_FIRST, *sorted(out.keys() - set(_FIRST))) if key in out}

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        """Return a node with its reference followed, and without the null that stands for an absent field."""
        if "anyOf" in node:
            options = [option for option in node.pop("anyOf") if option.get("type") != "null"]
            if len(options) != 1:
                raise NotStructural(f"a value of several kinds: {options}")
            node = {**options[0], **node}
        if "$ref" in node:
            target = self._defs[node.pop("$ref").rsplit("/", 1)[1]]
            node = self._resolved({**copy.deepcopy(target), **node})
        return node

    def _field(self, raw: Mapping[str, Any], *, required: bool) -> dict[str, Any]:
        """Return a field; one whose default is a whole model gets the default {}."""
        node = self.node(raw)
        nullable = any(option.get("type") == "null" for option in raw.get("anyOf", ()))
        if "properties" in node and not required and not nullable:
            return {"type": node.pop("type"), "description": node.pop("description", ""), "default": {}, **node}
        return node

    def _map(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a map of typed values says of them, and of its keys as rules: structural schemas have no word for keys."""
        values = node.get("additionalProperties")
        if values in (None, False):
            return {}
        if values is True:
            raise NotStructural(f"a map of anything that does not say so: {node.get('description')}")
        names, rules = node.get("propertyNames", {}), []
        if limit := names.get("maxLength"):
            message = f"keys: must have at most {limit} characters"
            rules.append({"rule": f"self.all(key, key.size() <= {limit})", "message": message})
        if pattern := names.get("pattern"):
            message = f"keys: {self._words.get(pattern, f'must match {pattern}')}"
            rules.append({"rule": f"self.all(key, key.matches(r'{pattern}'))", "message": message})
        return {"additionalProperties": self.node(values)} | ({RULES: rules} if rules else {})


def _with_plain_values(node: dict[str, Any]) -> dict[str, Any]:
    """Turn a map whose keys have a pattern into one of plain values that names the pattern beside the keys' other limits."""
    patterns = node.pop("patternProperties", None)
    if patterns is None:
        return node
    ((pattern, values),) = patterns.items()
    names = {**node.get("propertyNames", {}), "pattern": pattern}
    return {**node, "additionalProperties": values, "propertyNames": names}
