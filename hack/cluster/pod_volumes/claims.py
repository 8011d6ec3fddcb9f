"""What a node does for the claims placed on it: a volume for each that waits, an end for each volume that nobody claims."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CLASS = "standard"
PROVISIONER = "tradingbot.dev/pod-volumes"
FOLDER = Path("/var/pod-volumes")
NODE = "volume.kubernetes.io/selected-node"
MADE_BY = "pv.kubernetes.io/provisioned-by"
OURS = re.compile(r"pvc-[0-9a-f-]{36}")

Json = Mapping[str, Any]


def wanted(claims: Iterable[Json], node: str) -> list[dict[str, Any]]:
    """Return the volumes to make: one for each claim of our class that has none and that the scheduler placed on this node."""
    return [
        volume(claim, node)
        for claim in claims
        if claim["spec"].get("storageClassName") == CLASS
        and not claim["spec"].get("volumeName")
        and not claim["metadata"].get("deletionTimestamp")
        and (claim["metadata"].get("annotations") or {}).get(NODE) == node
    ]


def volume(claim: Json, node: str) -> dict[str, Any]:
    """Return the volume of a claim: bound to it, on this node alone, and to be deleted with it."""
    meta = claim["metadata"]
    name = f"pvc-{meta['uid']}"
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {MADE_BY: PROVISIONER}},
        "spec": {
            "storageClassName": CLASS,
            "accessModes": list(claim["spec"]["accessModes"]),
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "local": {"path": str(FOLDER / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def released(volumes: Iterable[Json], node: str) -> list[str]:
    """Return the names of this node's volumes whose claims are gone."""
    return [
        str(found["metadata"]["name"])
        for found in volumes
        if (found["metadata"].get("annotations") or {}).get(MADE_BY) == PROVISIONER
        and (found.get("status") or {}).get("phase") == "Released"
        and found["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and _node_of(found) == node
        and OURS.fullmatch(found["metadata"]["name"])
    ]


def _node_of(found: Json) -> str | None:
    terms = found["spec"].get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms") or []
    names = [name for term in terms for expression in term.get("matchExpressions", []) for name in expression["values"]]
    return str(names[0]) if len(names) == 1 else None
