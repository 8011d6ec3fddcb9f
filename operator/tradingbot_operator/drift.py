"""
Whether an object of the cluster still is what we want: field by field, with what Kubernetes itself fills in left aside.

An API server rewrites what it is given (a quantity "1000m" becomes "1"). What looks different once is applied, and when the
server answers with the same again, that look is remembered as equal: a pass never repeats an apply in vain.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from tradingbot_operator.kube.gateway import Object
from tradingbot_operator.observed import Child

APPLIED = "tradingbot.dev/applied"
"""Annotation of every child: a hash of what we last applied. A field that we drop shows in nothing else."""
GRANULAR = {
    "containers": "name", "initContainers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath",
    "imagePullSecrets": "name", "topologySpreadConstraints": "topologyKey", "ownerReferences": "uid",
}  # fmt: skip
"""Lists that several may write, by what tells their elements apart; every other list is ours as a whole."""
SHOWN = 4


def stamped(body: Object) -> dict[str, Any]:
    """Return an object with the annotation that tells what was applied."""
    meta = body["metadata"]
    digest = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    return {**body, "metadata": {**meta, "annotations": {**(meta.get("annotations") or {}), APPLIED: digest}}}


def digest_of(body: Object) -> str:
    """Return the hash that a stamped object carries; "" if it carries none."""
    return str((body["metadata"].get("annotations") or {}).get(APPLIED) or "")


def differs(wanted: Object, child: Child | None, confirmed: tuple[str, str] | None = None) -> str:
    """
    Return why a stamped object has to be applied; "" if it need not be.

    Args:
        wanted: The stamped object.
        child: The one of the cluster, None if there is none.
        confirmed: `mark` of the same object when the API server called it equal.
    """
    if child is None:
        return "it does not exist"
    if child.deleting:
        return ""
    if digest_of(child.body) != digest_of(wanted):
        return (
            "the manifest or the operator changed" if digest_of(child.body) else "it was not applied by this operator"
        )
    found = _differences(wanted, child.body)
    if not found or _mark(wanted, found) == confirmed:
        return ""
    places = [place for place, _ in found]
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    return f"changed by somebody else: {', '.join(places[:SHOWN])}{more}"


def mark(wanted: Object, applied: Object) -> tuple[str, str] | None:
    """Return how an object looks otherwise than applied, right after the API server applied it; None if it does not."""
    found = _differences(wanted, applied)
    return _mark(wanted, found) if found else None


def _mark(wanted: Object, found: list[tuple[str, Any]]) -> tuple[str, str]:
    return (digest_of(wanted), hashlib.sha256(orjson.dumps(found)).hexdigest()[:16])


def _differences(wanted: Object, found: Object) -> list[tuple[str, Any]]:
    places: list[tuple[str, Any]] = []
    _compare(wanted, found, "", places)
    return places


def _compare(wanted: Any, found: Any, where: str, places: list[tuple[str, Any]]) -> None:
    """Collect the fields of `wanted` that `found` lacks or holds otherwise; what it holds besides is no difference."""
    if isinstance(wanted, Mapping):
        if isinstance(found, Mapping):
            for key, value in wanted.items():
                _compare(value, found.get(key), f"{where}.{key}" if where else key, places)
        elif wanted:  # an empty map may be left out
            places.append((where, found))
    elif isinstance(wanted, list | tuple):
        _compare_lists(wanted, found, where, places)
    elif wanted != found and not (wanted in (None, "", False) and found is None):
        places.append((where, found))


def _compare_lists(wanted: Any, found: Any, where: str, places: list[tuple[str, Any]]) -> None:
    if not isinstance(found, list):
        if wanted:
            places.append((where, found))
        return
    key = _key(wanted, where)
    if key is not None:
        by_key = {item.get(key): item for item in found if isinstance(item, Mapping)}
        for item in wanted:
            _compare(item, by_key.get(item[key]), f"{where}[{item[key]}]", places)
        return
    for index, item in enumerate(wanted[: len(found)]):
        _compare(item, found[index], f"{where}[{index}]", places)
    if len(found) != len(wanted):
        places.append((where, len(found)))


def _key(wanted: Any, where: str) -> str | None:
    """Return what tells the elements of a list apart that others may add to; None for a list that is all ours."""
    name = where.rpartition(".")[2]
    if name == "ports":  # of containers and Services; those of a NetworkPolicy are one value
        key = next((k for k in ("containerPort", "targetPort") if wanted and all(k in item for item in wanted)), None)
        return {"containerPort": "containerPort", "targetPort": "port"}.get(key or "")
    return GRANULAR.get(name) if wanted else None
