"""RBAC rules as a set of single rights, for comparing what is granted with what is needed."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/tradingbot-operator/templates/_rules.tpl"
Right = tuple[str, str, str]
"""Group, resource with its subresource, verb."""


def operator_rules(name: str = "operator.rules") -> list[dict[str, Any]]:
    """Return the rules that the chart grants; they stand in a template without any placeholder."""
    found = re.search(rf'define "{re.escape(name)}" -}}}}\n(.*?)\n{{{{- end }}}}', RULES.read_text(), re.DOTALL)
    assert found is not None
    rules: list[dict[str, Any]] = yaml.safe_load(found[1])
    return rules


def rights(rules: Iterable[Mapping[str, Any]]) -> set[Right]:
    """Return each right of the rules on its own; names of resources are left aside."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
