"""The models as the source of a CRD: rules name real fields, everything has a limit, every default is within its range."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tradingbot_operator.crd.v1alpha1.rules import ELEMENT_RULES, SPEC_RULES, TRANSITION_RULES, UNIQUE
from tradingbot_operator.crd.v1alpha1.spec import TradingBotSpec

SCHEMA = TradingBotSpec.model_json_schema(by_alias=True)
RULES = [("", rule) for rule in (*SPEC_RULES, *TRANSITION_RULES)] + [
    (f"{place}.", rule) for place, _, rules in ELEMENT_RULES for rule in rules
]


def options(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a schema node with references followed, one for each kind of value but null."""
    if "$ref" in node:
        return options(SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[1]])
    if "anyOf" in node:
        return [found for option in node["anyOf"] if option.get("type") != "null" for found in options(option)]
    return [node]


def walk(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for found in options(node):
        yield path, found
        for name, inner in found.get("properties", {}).items():
            yield from walk(inner, f"{path}.{name}".lstrip("."))
        if isinstance(found.get("items"), dict):
            yield from walk(found["items"], path)
        if isinstance(found.get("additionalProperties"), dict):
            yield from walk(found["additionalProperties"], f"{path}.*")


PATHS = {path for path, _ in walk(SCHEMA, "")}


@pytest.mark.parametrize(("prefix", "rule"), RULES, ids=lambda value: getattr(value, "id", ""))
def test_every_rule_names_fields_that_exist(prefix: str, rule: Any):
    """In its place, in what it reads, and in its CEL; a renamed field would make a rule that never holds or never bites."""
    assert f"{prefix}{rule.path}" in PATHS
    assert all(f"{prefix}{read}" in PATHS for read in getattr(rule, "reads", ()))
    named = re.findall(r"\b(?:self|oldSelf)\.([A-Za-z.]+[A-Za-z])", rule.cel)
    assert named
    for path in named:
        assert f"{prefix}{re.sub(r'[.](size|map|all|sum)$', '', path)}" in PATHS, path
    assert rule.cel.count("(") == rule.cel.count(")")
    assert 10 < len(rule.message) < 200


def test_rules_and_lists_are_told_apart():
    """Ids are unique; the lists of named elements exist."""
    ids = [rule.id for _, rule in RULES]
    assert len(set(ids)) == len(ids)
    assert all(f"{place}.{key}" in PATHS for place, key in UNIQUE)


def test_everything_has_a_maximum():
    """Otherwise the API server's limit on the cost of CEL refuses the schema, and a manifest could be of any size."""
    unbounded = []
    for path, node in walk(SCHEMA, ""):
        kind = node.get("type")
        if kind == "array" and "maxItems" not in node:
            unbounded.append(f"{path}: list")
        if kind == "string" and not {"maxLength", "enum", "const"} & node.keys():
            unbounded.append(f"{path}: string")
        if kind == "object" and "properties" not in node and "maxProperties" not in node:
            unbounded.append(f"{path}: map")
        if kind in ("integer", "number"):
            low, high = {"minimum", "exclusiveMinimum"} & node.keys(), {"maximum", "exclusiveMaximum"} & node.keys()
            if not low or not high:
                unbounded.append(f"{path}: number")
    assert unbounded == []


def test_every_field_has_a_meaning():
    """`tradingbot explain` and `kubectl explain` tell the same words."""
    silent = [
        f"{path}.{name}"
        for path, node in walk(SCHEMA, "")
        for name, inner in node.get("properties", {}).items()
        if not inner.get("description") and not any(o.get("description") for o in options(inner))
    ]
    assert silent == []


def test_unions_are_structural():
    """A CRD's schema knows no unions but number-or-string: null aside, every field has one kind of value."""
    mixed = [
        path for path, node in walk(SCHEMA, "") for n in node.get("properties", {}).values() if len(options(n)) > 1
    ]
    assert mixed == []
