"""Everything a bot becomes, given to a real API server: accepted word for word, and run under the restricted profile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.api_server import kube_api
from support.kube_client import KubeClient

from tradingbot_cluster.control_plane import ControlPlane

__all__ = ["kube_api"]
pytestmark = pytest.mark.kubernetes

GOLDEN = Path(__file__).parents[1] / "unit" / "operator" / "golden"
CASES = sorted(path.name.removesuffix(".objects.yaml") for path in GOLDEN.glob("*.objects.yaml"))
PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
}
APPLY = "application/apply-patch+yaml"


@pytest.fixture(scope="module")
def api(kube_api: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeClient]:
    with closing(KubeClient(kube_api.kubeconfig, tmp_path_factory.mktemp("keys"))) as client:
        yield client


@pytest.fixture
def namespace(api: KubeClient, request: pytest.FixtureRequest) -> str:
    """A namespace that enforces the restricted profile."""
    name = f"desired-{abs(hash(request.node.name)) % 10**8}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    status, answer = api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    assert status == 201, answer
    return name


def applied(api: KubeClient, thing: dict[str, Any], namespace: str) -> dict[str, Any]:
    """Apply an object as the operator does, with every field checked."""
    path = PATHS[thing["kind"]].format(namespace) + f"/{thing['metadata']['name']}"
    query = "?fieldManager=tradingbot-operator&force=true&fieldValidation=Strict"
    status, answer = api.call("PATCH", path + query, thing, kind=APPLY)
    assert status in (200, 201), (thing["kind"], answer["message"])
    return dict(answer)


@pytest.mark.parametrize("case", CASES)
def test_every_object_is_accepted_and_applying_it_again_changes_nothing(api: KubeClient, namespace: str, case: str):
    """No unknown field, no value out of range; the same desired state twice is one write, so that a resync wakes nobody."""
    for thing in yaml.safe_load_all((GOLDEN / f"{case}.objects.yaml").read_text()):
        thing["metadata"]["namespace"] = namespace
        for subject in thing.get("subjects", ()):
            subject["namespace"] = namespace
        applied(api, thing, namespace)
        again = applied(
            api, thing, namespace
        )  # a claim is written once more, without a difference that anybody can see
        last = applied(api, thing, namespace)
        assert again["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"], thing["kind"]


@pytest.mark.parametrize("case", CASES)
def test_every_pod_may_run_where_only_restricted_pods_may(api: KubeClient, namespace: str, case: str):
    """Pod Security Admission itself says so, for the engine, localnet and what settles a deletion."""
    count = 0
    for thing in yaml.safe_load_all((GOLDEN / f"{case}.objects.yaml").read_text()):
        if thing["kind"] not in ("Deployment", "Job"):
            continue
        spec = thing["spec"]["template"]["spec"]
        account = {"metadata": {"name": spec.setdefault("serviceAccountName", "default")}}
        api.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
        pod = {
            "metadata": {"name": f"pod-{count}", "labels": thing["spec"]["template"]["metadata"]["labels"]},
            "spec": spec,
        }
        status, answer = api.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict", pod)
        assert status == 201, answer["message"]
        count += 1
    assert count >= 2
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert api.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)[0] == 403
