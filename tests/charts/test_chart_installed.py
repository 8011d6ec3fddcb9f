"""The charts installed by Helm on a real API server: the operator's account can make all that a bot becomes, and no more."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.api_server import kube_api
from support.helm_charts import program

from tradingbot_cluster.control_plane import ControlPlane
from tradingbot_cluster.errors import Failed
from tradingbot_operator.kube.kinds import WRITTEN

__all__ = ["kube_api"]
pytestmark = [pytest.mark.slow, pytest.mark.kubernetes]
ROOT = Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests/unit/operator/golden").glob("*.objects.yaml"))
NAMESPACE = "trading-system"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:tradingbot-operator"


def helm(plane: ControlPlane, *arguments: str) -> str:
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
    line = [program("helm"), *arguments, f"--namespace={NAMESPACE}"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(kube_api: ControlPlane) -> Iterator[ControlPlane]:
    """Both charts, as the README installs them; no controller runs, so nothing starts."""
    kube_api.kubectl("delete", "crd", "tradingbots.tradingbot.dev", "--ignore-not-found")
    helm(kube_api, "install", "tradingbot-crds", "charts/tradingbot-crds", "--create-namespace")
    kube_api.kubectl("wait", "--for=condition=Established", "crd/tradingbots.tradingbot.dev", "--timeout=60s")
    helm(kube_api, "install", "tradingbot-operator", "charts/tradingbot-operator")
    yield kube_api
    helm(kube_api, "uninstall", "tradingbot-operator")


def test_the_operator_can_make_everything_that_bots_become(installed: ControlPlane) -> None:
    """By server-side apply, as it does; the Role of an engine among it, which grants nothing that the operator has not."""
    made, wanted = set(), set()
    for path in GOLDEN:
        for found in filter(None, yaml.safe_load_all(path.read_text())):
            namespace = found["metadata"]["namespace"]
            wanted.add((found["kind"], namespace, found["metadata"]["name"]))
            if namespace not in made:
                installed.kubectl("apply", "--filename=-", text_in=yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))  # fmt: skip
                made.add(namespace)
            found["metadata"].pop("ownerReferences", None)  # of bots that are not there
            if found["kind"] == "Secret":  # made once, never applied
                installed.kubectl("create", f"--as={ACCOUNT}", "--filename=-", text_in=yaml.safe_dump(found))
                continue
            installed.kubectl(
                "apply", "--server-side", "--field-manager=tradingbot-operator", f"--as={ACCOUNT}", "--filename=-",
                "--validate=strict", text_in=yaml.safe_dump(found),
            )  # fmt: skip
    assert {kind for kind, _, _ in wanted} == {kind.name for kind in WRITTEN}, "no kind is left out"
    plurals = ",".join(kind.plural for kind in WRITTEN)
    there = json.loads(installed.kubectl("get", plurals, "--all-namespaces", "--output=json"))["items"]
    assert wanted <= {(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]) for body in there}


def may(plane: ControlPlane, verb: str, resource: str, group: str = "", part: str = "") -> bool:
    """Return the API server's answer on the operator's account, in all namespaces."""
    asked = {"verb": verb, "resource": resource, "group": group, "subresource": part}
    review = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "resourceAttributes": {name: value for name, value in asked.items() if value}},
    }  # fmt: skip
    answer = yaml.safe_load(plane.kubectl("create", "--filename=-", "--output=yaml", text_in=yaml.safe_dump(review)))
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize(
    "question",
    [
        ("list", "secrets"), ("watch", "secrets"), ("delete", "persistentvolumeclaims"), ("create", "pods"), ("delete", "pods"),
        ("create", "pods", "", "exec"), ("create", "clusterroles", "rbac.authorization.k8s.io"), ("patch", "nodes"),
        ("escalate", "roles", "rbac.authorization.k8s.io"), ("bind", "roles", "rbac.authorization.k8s.io"),
        ("impersonate", "users"), ("list", "namespaces"), ("create", "serviceaccounts", "", "token"),
        ("delete", "tradingbots", "tradingbot.dev"), ("create", "tradingbots", "tradingbot.dev"),
        ("patch", "customresourcedefinitions", "apiextensions.k8s.io"),
    ],
)  # fmt: skip
def test_the_operator_can_do_nothing_else(installed: ControlPlane, question: tuple[str, ...]) -> None:
    """What whoever takes an operator over would reach for."""
    assert may(installed, *question) is False


def test_the_question_can_be_answered_with_yes(installed: ControlPlane) -> None:
    """Else the test above would be content with an account that does not exist."""
    assert may(installed, "patch", "deployments", "apps") is True


def test_a_role_with_more_rights_than_its_own_is_refused(installed: ControlPlane) -> None:
    """The API server's own rule, which the chart must not lift."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "greedy", "namespace": "default"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}],
    }  # fmt: skip
    with pytest.raises(Failed, match="attempting to grant RBAC permissions not currently held"):
        installed.kubectl("apply", "--server-side", f"--as={ACCOUNT}", "--filename=-", text_in=yaml.safe_dump(role))


def test_upgrading_and_uninstalling_keeps_the_resource_and_its_bots(installed: ControlPlane) -> None:
    """Both charts upgraded; the chart of the resource uninstalled; the bot is still there."""
    installed.kubectl("apply", "--namespace=default", "--filename", ROOT / "crds/samples/first-bot.yaml")
    helm(installed, "upgrade", "tradingbot-crds", "charts/tradingbot-crds", "--set=annotations.team=a")
    helm(installed, "upgrade", "tradingbot-operator", "charts/tradingbot-operator", "--set=logging.level=debug")
    helm(installed, "uninstall", "tradingbot-crds")
    assert "first-bot" in installed.kubectl("get", "tradingbots", "--namespace=default", "--output=name")
    helm(installed, "install", "tradingbot-crds", "charts/tradingbot-crds", "--take-ownership")


def test_viewers_and_editors_of_a_namespace_are_those_of_its_bots(installed: ControlPlane) -> None:
    """By aggregation into the cluster's own roles, which a controller does; the labels are what it looks for."""
    for role, label in (("view", "aggregate-to-view"), ("edit", "aggregate-to-edit")):
        name = f"{NAMESPACE}-tradingbot-operator-{role}"
        found = yaml.safe_load(installed.kubectl("get", "clusterrole", name, "--output=yaml"))
        assert found["metadata"]["labels"][f"rbac.authorization.k8s.io/{label}"] == "true"
