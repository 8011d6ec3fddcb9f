"""Which volumes a node makes for claims, and which it removes."""

from __future__ import annotations

from typing import Any

from pod_volumes.claims import FOLDER, released, volume, wanted

UID = "0f6c1f0a-3b1e-4a57-9d0e-1c9f5a1d2b3c"


def a_claim(node: str | None = "n1", **spec: Any) -> dict[str, Any]:
    annotations = {"volume.kubernetes.io/selected-node": node} if node else {}
    return {
        "metadata": {"name": "ledger", "namespace": "trading", "uid": UID, "annotations": annotations},
        "spec": {
            "storageClassName": "standard",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
        | spec,
    }


def a_released_volume(**metadata: Any) -> dict[str, Any]:
    made = volume(a_claim(), "n1")
    return {**made, "metadata": made["metadata"] | metadata, "status": {"phase": "Released"}}


def test_a_claim_placed_on_this_node_gets_a_volume_there_that_is_its_own() -> None:
    """Bound to the claim by its uid, and to the node: a claim made again under its name gets another."""
    (made,) = wanted([a_claim()], "n1")
    assert made["spec"]["claimRef"]["uid"] == UID
    assert made["spec"]["local"]["path"] == f"{FOLDER}/pvc-{UID}"
    assert made["spec"]["capacity"] == {"storage": "1Gi"}
    assert "n1" in str(made["spec"]["nodeAffinity"])


def test_claims_of_others_get_nothing() -> None:
    """Another node's, another class's, one without a pod yet, one that is bound, one that is being deleted."""
    ending = a_claim()
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    others = [a_claim("n2"), a_claim(None), a_claim(storageClassName="fast"), a_claim(volumeName="v"), ending]
    assert wanted(others, "n1") == []


def test_a_volume_goes_with_its_claim() -> None:
    """Only on its node, and only one that this service made: its name becomes a directory that is removed."""
    assert released([a_released_volume()], "n1") == [f"pvc-{UID}"]
    assert released([a_released_volume()], "n2") == []
    assert released([a_released_volume() | {"status": {"phase": "Bound"}}], "n1") == []
    assert released([a_released_volume(annotations={})], "n1") == []
    assert released([a_released_volume(name="..")], "n1") == []
