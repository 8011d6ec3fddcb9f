"""What a cluster needs and this machine lacks, built before anybody waits for a cluster."""

from __future__ import annotations

from pathlib import Path

from tradingbot_cluster.doctor import LACKS, Finding
from tradingbot_cluster.engine_store import engine_store
from tradingbot_cluster.errors import Missing
from tradingbot_cluster.node_image import node_image
from tradingbot_cluster.places import Places
from tradingbot_cluster.programs import HELM, KIND, KUBEBOX, KUBECONFORM, PROGRAMS, Say

NODE_IMAGE, ENGINE_STORE = "node-image", "engine-store"
PARTS = (*PROGRAMS, NODE_IMAGE, ENGINE_STORE)


def needed(findings: list[Finding], *, own_engine: bool) -> tuple[str, ...]:
    """
    Return the parts that clusters, and the tests of charts, need here, in the order in which to build them.

    Args:
        findings: What the doctor says of this machine.
        own_engine: It has a container engine. The node image is then kind's own; whether a registry has it shows at the first `up`.

    Raises:
        Missing: This machine can't have a cluster: said at once, not after the minutes of a build.
    """
    if lacking := [f"{finding.what}: {finding.detail}" for finding in findings if finding.verdict == LACKS]:
        raise Missing(
            "this machine can't have a cluster\n"
            + "".join(f"  {line}\n" for line in lacking)
            + f"An API server alone, which most tests on Kubernetes want, needs Go only: python hack/cluster build {KUBEBOX.name}"
        )
    # The store of a private engine holds the node image, and that holds Kubernetes.
    return (KUBEBOX.name if own_engine else ENGINE_STORE, KIND.name, HELM.name, KUBECONFORM.name)


def build(part: str, places: Places, say: Say) -> Path:
    """
    Return where one of PARTS stands, built if need be.

    Raises:
        Missing: A program that it is made with is not there.
        Failed: It could not be made.
    """
    if part == NODE_IMAGE:
        return node_image(places, say)[0]
    if part == ENGINE_STORE:
        return engine_store(places, node_image(places, say)[0], say)
    return PROGRAMS[part].build(places, say)
