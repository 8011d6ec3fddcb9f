"""Who owns which field of an object, as server-side apply keeps book of it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tradingbot_operator.kube.gateway import FIELD_MANAGER, Object

CONTROL_PLANE = frozenset(
    {"kube-controller-manager", "kube-scheduler", "kubelet", "kube-apiserver", "cloud-controller-manager"}
)
"""Managers that fill in what Kubernetes itself decides: a volume's name, a cluster address."""
ROOTS = ("f:spec", "f:data", "f:stringData", "f:binaryData", "f:rules", "f:subjects", "f:roleRef")
"""Labels, annotations and status are everybody's."""
HARMLESS = ("kubectl.kubernetes.io/restartedAt",)
"""`kubectl rollout restart` leaves this behind, and is a fair thing to do."""
SHOWN = 10

Path = tuple[str, ...]


def foreign_fields(body: Object) -> tuple[str, ...]:
    """
    Return what others than us and Kubernetes itself have put into an object: "spec.template.spec.containers[sidecar]".

    A list element that is all theirs is named once, without its fields. At most ten, sorted.
    """
    ours: set[Path] = set()
    theirs: set[Path] = set()
    for entry in (body.get("metadata") or {}).get("managedFields") or ():
        fields = {root: tree for root, tree in (entry.get("fieldsV1") or {}).items() if root in ROOTS}
        if entry.get("subresource") or entry.get("manager") in CONTROL_PLANE:
            continue
        (ours if entry.get("manager") == FIELD_MANAGER else theirs).update(_owned(fields, ()))
    foreign = {path for path in theirs - ours if not any(word in path[-1] for word in HARMLESS)}
    whole = {path[:-1] for path in foreign if path[-1] == "." and path[:-1] not in _beginnings(ours)}
    return tuple(
        sorted({_text(_cut(path, whole)) for path in foreign if path[-1] != "." or path[:-1] in whole})[:SHOWN]
    )


def _owned(tree: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for key, inner in tree.items():
        if key == "." or not inner:
            yield (*path, key)
        else:
            yield from _owned(inner, (*path, key))


def _beginnings(paths: set[Path]) -> set[Path]:
    return {path[:length] for path in paths for length in range(1, len(path) + 1)}


def _cut(path: Path, whole: set[Path]) -> Path:
    """Return the outermost element of a list that is all theirs, or the path itself."""
    for length in range(1, len(path)):
        if path[:length] in whole:
            return path[:length]
    return path


def _text(path: Path) -> str:
    text = ""
    for step in path:
        mark, _, rest = step.partition(":")
        if mark == "f":
            text += f".{rest}" if text else rest
        elif mark == "k":
            text += f"[{','.join(str(value) for value in json.loads(rest).values())}]"
        elif mark == "v":
            text += f"[{rest}]"
    return text
