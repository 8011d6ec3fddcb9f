"""The charts' values: every one described, unknown ones refused, and one source for values, schema and reference."""

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from charts import emit
from charts.crds import template
from charts.values import ChartValues, CrdValues
from pydantic import BaseModel

ROOT = Path(__file__).parents[2]
CHARTS: dict[str, type[BaseModel]] = {"tradingbot-operator": ChartValues, "tradingbot-crds": CrdValues}


def schema_of(chart: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "charts" / chart / "values.schema.json").read_text())
    return found


def values_of(chart: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "charts" / chart / "values.yaml").read_text())
    return found


def objects(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a schema that has properties, lists followed."""
    if "properties" in node:
        yield path, node
        for name, inner in node["properties"].items():
            yield from objects(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(node.get("items"), dict):
        yield from objects(node["items"], path)


def test_the_generated_files_are_up_to_date() -> None:
    """`make generate` writes them, nobody else does."""
    line = [sys.executable, str(ROOT / "hack/charts/generate.py"), "--check"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("chart", CHARTS)
def test_the_default_values_satisfy_the_schema(chart: str) -> None:
    """Else nobody could install the chart."""
    wrong = jsonschema.Draft7Validator(schema_of(chart)).iter_errors(values_of(chart))
    assert [f"{error.json_path}: {error.message}" for error in wrong] == []


@pytest.mark.parametrize("chart", CHARTS)
def test_every_value_is_described(chart: str) -> None:
    """In the schema, where editors show it; the same words stand in values.yaml and in the README."""
    text = (ROOT / "charts" / chart / "README.md").read_text()
    for path, node in objects(schema_of(chart)):
        for name, inner in node["properties"].items():
            assert inner["description"].endswith("."), f"{path}.{name}"
    for leaf in emit.leaves(CHARTS[chart]):
        assert f"| `{leaf.name}` |" in text
        assert leaf.meaning in text


@pytest.mark.parametrize("chart", CHARTS)
def test_unknown_values_are_refused_at_every_depth(chart: str) -> None:
    """A misspelt value would otherwise be a setting that silently is not in force."""
    schema, defaults = schema_of(chart), values_of(chart)
    for path, node in objects(schema):
        assert node["additionalProperties"] is False, path
        changed = copy.deepcopy(defaults)
        place = changed
        for name in filter(None, path.split(".")):
            inner = place[name]
            place = inner if isinstance(inner, dict) else inner.append({}) or inner[-1]
        place["misspelt"] = 1
        with pytest.raises(jsonschema.ValidationError, match="misspelt"):
            jsonschema.validate(changed, schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("image.repository", ""), ("image.repository", "Upper/Case"), ("image.tag", "a b"), ("image.digest", "sha256:12"),
        ("image.pullPolicy", "Sometimes"), ("watch.namespaces", "trading"), ("watch.namespaces", ["Trading"]),
        ("logging.level", "loud"), ("networkPolicy.apiServer.cidrs", ["10.0.0.1"]), ("networkPolicy.apiServer.ports", []),
        ("networkPolicy.apiServer.ports", [0]), ("serviceMonitor.interval", "30"), ("rbac.create", "yes"),
        ("prometheusRule.runbookBaseUrl", "runbooks"), ("podLabels", {"a": 1}), ("fullnameOverride", "x" * 51),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(path: str, value: Any) -> None:
    """Before anything is rendered."""
    changed = values_of("tradingbot-operator")
    *groups, last = path.split(".")
    place = changed
    for name in groups:
        place = place[name]
    place[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed, schema_of("tradingbot-operator"))


def test_a_crd_becomes_a_template_that_says_the_same() -> None:
    """Only annotations are added; braces of CEL messages are not read as a template."""
    crd = "apiVersion: v1\nkind: CustomResourceDefinition\nmetadata:\n  name: a\nspec:\n  text: 'write {{x}}'\n"
    made = template(crd)
    assert """text: 'write {{ "{{" }}x{{ "}}" }}\'""" in made
    assert "metadata:\n{{- if or .Values.keep .Values.annotations }}\n  annotations:\n" in made
    with_annotations = crd.replace("  name: a\n", "  annotations:\n    b: c\n  name: a\n")
    assert "  annotations:\n{{- if .Values.keep }}\n    helm.sh/resource-policy: keep\n" in template(with_annotations)


@pytest.mark.parametrize(
    "text", ["kind: ConfigMap\nmetadata:\n  name: a\n", "kind: CustomResourceDefinition\nmetadata: {name: a}\n"]
)
def test_what_cannot_become_a_template_is_refused(text: str) -> None:
    """Rather than written without the annotation that keeps every bot of the cluster."""
    with pytest.raises(ValueError, match="no CRD"):
        template(text)
