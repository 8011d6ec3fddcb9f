"""The generated CustomResourceDefinition: structural, bounded, with every rule; and random specs that reach all of them."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from random_specs import MIXED, SCHEMA, models_verdict

from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.crd.structural import INT_OR_STRING, PRESERVE, RULES
from tradingbot_operator.crd.v1alpha1.definition import definition, status_schema
from tradingbot_operator.crd.v1alpha1.rules import ELEMENT_RULES, SPEC_RULES, TRANSITION_RULES
from tradingbot_operator.crd.v1alpha1.status import TradingBotStatus
from tradingbot_operator.manifest.verdict import problems_of

CRD = Path(__file__).parents[3] / "crds" / "tradingbots.yaml"
seen: Counter[str] = Counter()


def walk(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    for below in ("items", "additionalProperties"):
        if isinstance(node.get(below), dict):
            yield from walk(node[below], f"{path}[]")


def nodes() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from walk(SCHEMA, "spec")
    yield from walk(status_schema(), "status")


def test_the_committed_file_is_what_the_models_say():
    """As `hack/gen_crds.py --check`; the file is small enough for kubectl apply, which keeps a copy in an annotation."""
    text = CRD.read_text()
    assert yaml.safe_load(text) == json.loads(json.dumps(definition()))
    assert len(json.dumps(definition())) < 262_144


def test_every_node_has_one_type_and_an_end():
    """What a structural schema demands, and what CEL's cost limit needs."""
    for path, node in nodes():
        assert ("type" in node) or node.get(INT_OR_STRING), path
        assert not {"$ref", "oneOf", "allOf", "not", "const", "title", "patternProperties"} & node.keys(), path
        if node.get("type") == "string":
            assert {"maxLength", "enum"} & node.keys(), path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if node.get("type") == "object" and "properties" not in node and not path.endswith("sqlite"):
            assert "maxProperties" in node, path
        assert not (node.get(PRESERVE) and "additionalProperties" in node), path


def test_every_field_of_the_schema_says_what_it_means():
    """`kubectl explain` shows it."""
    for path, node in nodes():
        for name, inner in node.get("properties", {}).items():
            assert inner.get("description"), f"{path}.{name}"


def test_every_rule_is_in_the_schema_with_its_message_and_its_place():
    """At the object that it reads, and shown at the field that is to be changed."""
    written = {(path, rule["rule"], rule["message"]) for path, node in nodes() for rule in node.get(RULES, ())}
    wanted = {("spec", rule.cel, rule.message) for rule in (*SPEC_RULES, *TRANSITION_RULES)}
    wanted |= {(f"spec.{place}[]", rule.cel, rule.message) for place, _, rules in ELEMENT_RULES for rule in rules}
    assert wanted <= written


def test_the_condition_that_stands_there_first_is_one_of_ours():
    """Ready=Unknown with a reason: generic tools take a missing Ready for healthy."""
    status = TradingBotStatus.model_validate(status_schema()["default"])
    assert [(c.type, c.status) for c in status.conditions] == [("Ready", "Unknown")]


@pytest.mark.parametrize("path", sorted((CRD.parent / "samples").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_sample_is_sound(path: Path):
    """What people start from has no problem, and no field that is not there."""
    for document in yaml.safe_load_all(path.read_text()):
        _, problems = problems_of(document, catalogue())
        assert [str(problem) for problem in problems] == []


@settings(max_examples=1000, deadline=None, derandomize=True)  # not by chance that a rule is missed
@given(MIXED)
def _collect(spec: dict[str, Any]) -> None:
    parsed, broken = models_verdict(spec)
    seen["sound" if parsed is not None else "broken"] += 1
    if len(broken) == 1:
        seen[broken[0]] += 1


def test_random_specs_are_sound_often_enough_and_break_every_rule_alone():
    """Otherwise the comparison with the API server would compare little."""
    _collect()
    assert seen["sound"] > 0.15 * (seen["sound"] + seen["broken"])
    rules = (*SPEC_RULES, *(rule for _, _, rules in ELEMENT_RULES for rule in rules))
    assert [rule.id for rule in rules if not seen[rule.id]] == []
    assert seen["unique strategies"] + seen["unique rpc.endpoints"] + seen["unique market.tokens"]
