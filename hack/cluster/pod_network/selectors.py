"""Label selectors, as the API defines them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]


def selects(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """
    Say whether a label selector selects an object with these labels.

    An empty selector selects everything, a missing one (None) nothing.

    Raises:
        ValueError: It has an operator that the API does not know.
    """
    if selector is None:
        return False
    wanted: Json = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions") or [])


def _holds(expression: Json, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values  # an object without the label counts as not in
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            raise ValueError(f"label selector: no operator {other!r}")
