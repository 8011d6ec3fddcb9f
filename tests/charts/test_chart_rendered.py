"""The charts as Helm renders them: valid objects for every switch, and the promises of their README."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.helm_charts import Rendered, helm, program, render, render_text
from support.kube_schemas import misfits
from support.rights import operator_rules

from tradingbot_operator.__main__ import main
from tradingbot_operator.desired.bot import Context
from tradingbot_operator.desired.names import BOT_LABEL
from tradingbot_operator.desired.pod import IMAGE_USER, container_security, pod_security

pytestmark = pytest.mark.slow  # make charts
ROOT = Path(__file__).parents[2]
PUBLISHED_ELSEWHERE = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator; their schemas are not Kubernetes' own."""
SWITCHES = {
    "defaults": (),
    "everything": (
        "--set=serviceMonitor.enabled=true", "--set=prometheusRule.enabled=true", "--set=priorityClassName=high",
        "--set=bots.metricsFrom={monitoring}", "--set=engineImage.pullPolicy=Never", "--set=engineImage.pullSecrets={registry}",
        "--set=imagePullSecrets[0].name=registry", "--set=podLabels.team=a", "--set=podAnnotations.note=b",
        "--set=nodeSelector.disk=fast", "--set=tolerations[0].operator=Exists", "--set=serviceAccount.annotations.a=b",
        "--set=networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.name=monitoring",
        "--set=networkPolicy.apiServer.cidrs={10.0.0.1/32}", "--set=prometheusRule.labels.release=p",
        "--set=affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key=a",
        "--set=affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator=Exists",
    ),
    "namespaces": ("--set=watch.namespaces={trading,research}", "--set=rbac.aggregate=false", "--set=bots.clusterId=lab"),
    "least": (
        "--set=serviceAccount.create=false", "--set=rbac.create=false", "--set=rbac.aggregate=false",
        "--set=podDisruptionBudget.enabled=false", "--set=networkPolicy.enabled=false",
    ),
}  # fmt: skip


def pod_specs(rendered: Rendered) -> list[dict[str, Any]]:
    deployments = [found["spec"]["template"]["spec"] for (kind, _), found in rendered.items() if kind == "Deployment"]
    return deployments + [found["spec"] for (kind, _), found in rendered.items() if kind == "Pod"]


def the(kind: str, rendered: Rendered) -> dict[str, Any]:
    (found,) = [found for (name, _), found in rendered.items() if name == kind]
    return found


@pytest.mark.parametrize("chart", ["tradingbot-operator", "tradingbot-crds"])
def test_helm_finds_nothing_to_say(chart: str) -> None:
    """`helm lint --strict`."""
    assert "0 chart(s) failed" in helm("lint", "--strict", f"charts/{chart}")


@pytest.mark.parametrize("version", ["1.29", "1.35"])
@pytest.mark.parametrize("switch", SWITCHES)
def test_every_object_fits_the_api(switch: str, version: str) -> None:
    """The oldest Kubernetes that the chart names, and the one of e2e; unknown fields are refused."""
    rendered = render("tradingbot-operator", *SWITCHES[switch])
    assert misfits(((name, found) for (kind, name), found in rendered.items() if kind not in PUBLISHED_ELSEWHERE), version) == []  # fmt: skip


def test_a_bot_fits_the_schema_that_the_chart_installs(tmp_path: Path) -> None:
    """kubeconform with the CRD's own schema, and a misspelt field is found."""
    (crd,) = render("tradingbot-crds").values()
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    folder = tmp_path / "schemas"
    folder.mkdir()
    (folder / "tradingbot-tradingbot-v1alpha1.json").write_text(json.dumps(closed(schema)))
    samples = sorted((ROOT / "crds/samples").glob("*.yaml"))
    location = "{{ .ResourceKind }}-{{ .Group }}-{{ .ResourceAPIVersion }}.json"
    (folder / "tradingbot-tradingbot-v1alpha1.json").rename(folder / "tradingbot-tradingbot.dev-v1alpha1.json")
    line = [program("kubeconform"), "-strict", "-summary", f"-schema-location={folder}/{location}"]
    done = subprocess.run([*line, *map(str, samples)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Valid: {len(samples)}" in done.stdout
    wrong = yaml.safe_load(samples[0].read_text())
    wrong["spec"]["markets"] = wrong["spec"].pop("market")
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    done = subprocess.run([*line, str(tmp_path / "wrong.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "markets" in done.stdout


def closed(node: Any) -> Any:
    """Return a schema that refuses unknown properties, as strict validation of the API server does."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {name: closed(inner) for name, inner in node.items()}
    if (
        "properties" in node
        and "additionalProperties" not in node
        and not node.get("x-kubernetes-preserve-unknown-fields")
    ):
        out["additionalProperties"] = False
        if "kind" in node["properties"] and "metadata" in node["properties"]:
            out["properties"]["metadata"] = {"type": "object"}
    return out


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_pod_is_restricted(switch: str) -> None:
    """As strictly as the bots' own pods; with requests, a memory limit, and nothing that it could write but /tmp."""
    for spec in pod_specs(render("tradingbot-operator", *SWITCHES[switch])):
        wanted = {name: value for name, value in pod_security().items() if not name.startswith("fsGroup")}
        assert wanted.items() <= spec["securityContext"].items()
        assert spec["enableServiceLinks"] is False
        for container in spec["containers"]:
            assert container["securityContext"] == container_security()
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]


def test_there_is_one_operator_and_never_two_at_a_time() -> None:
    """kopf's peering is no lock."""
    spec = the("Deployment", render("tradingbot-operator"))["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


@pytest.mark.parametrize("switch", SWITCHES)
def test_service_policy_budget_and_monitor_select_the_operators_pod_and_no_other(switch: str) -> None:
    """The pod of `helm test` must not become an endpoint."""
    rendered = render("tradingbot-operator", *SWITCHES[switch])
    labels = the("Deployment", rendered)["spec"]["template"]["metadata"]["labels"]
    other = the("Pod", rendered)["metadata"]["labels"]
    selectors = [
        the("Service", rendered)["spec"]["selector"],
        the("Deployment", rendered)["spec"]["selector"]["matchLabels"],
    ]
    for (kind, _), found in rendered.items():
        if kind == "NetworkPolicy":
            selectors.append(found["spec"]["podSelector"]["matchLabels"])
        if kind == "PodDisruptionBudget":
            selectors.append(found["spec"]["selector"]["matchLabels"])
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= other.items()


@pytest.mark.parametrize("release", ["a", "tradingbot-operator", "x" * 53])
def test_bots_let_the_operator_in_whatever_its_release_is_called(release: str) -> None:
    """Their NetworkPolicy names its label; nothing but the chart's name may stand there. Names stay within 63 characters."""
    rendered = render("tradingbot-operator", release=release, namespace="n" * 63)
    labels = the("Deployment", rendered)["spec"]["template"]["metadata"]["labels"]
    wanted = Context(engine_image="a", operator_version="b", operator_namespace="c", cluster_id="d").operator_labels
    assert dict(wanted).items() <= labels.items()
    for found in rendered.values():
        assert len(found["metadata"]["name"]) <= 63 or found["kind"].startswith("ClusterRole")


def test_the_operator_may_reach_bots_and_the_api_server() -> None:
    """The label that the operator puts on its bots' pods."""
    policy = the("NetworkPolicy", render("tradingbot-operator"))
    peers = [peer for rule in policy["spec"]["egress"] for peer in rule.get("to", ())]
    assert peers == [
        {"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": BOT_LABEL, "operator": "Exists"}]}}
    ]
    narrow = the("NetworkPolicy", render("tradingbot-operator", *SWITCHES["everything"]))
    assert {"ports": [{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]} in narrow["spec"]["egress"]  # fmt: skip


def test_cluster_wide_the_rules_stand_in_one_cluster_role() -> None:
    """Word for word those that the rights' tests look at."""
    rendered = render("tradingbot-operator", "--set=rbac.aggregate=false")
    assert the("ClusterRole", rendered)["rules"] == operator_rules() + operator_rules("operator.cluster-rules")
    assert the("Role", rendered)["rules"] == operator_rules("operator.own-rules")
    assert the("Role", rendered)["metadata"]["namespace"] == "trading-system"
    assert the("ClusterRoleBinding", rendered)["subjects"][0]["namespace"] == "trading-system"


def test_in_chosen_namespaces_nothing_cluster_wide_is_made() -> None:
    """A team without cluster rights can install the chart."""
    rendered = render("tradingbot-operator", *SWITCHES["namespaces"])
    assert rendered["Role", "trading-system/tradingbot-operator"]["rules"] == operator_rules("operator.own-rules")
    assert not [kind for kind, _ in rendered if kind.startswith("Cluster")]
    for namespace in ("trading", "research"):
        assert rendered["Role", f"{namespace}/tradingbot-operator"]["rules"] == operator_rules()
        binding = rendered["RoleBinding", f"{namespace}/tradingbot-operator"]
        assert binding["subjects"][0] == {
            "kind": "ServiceAccount", "name": "tradingbot-operator", "namespace": "trading-system",
        }  # fmt: skip


def test_an_operator_that_looks_after_its_own_namespace_has_one_role_there() -> None:
    """Two Roles of one name would be one that lacks half of the rights."""
    rendered = render("tradingbot-operator", "--set=watch.namespaces={trading-system}", "--set=bots.clusterId=lab")
    assert the("Role", rendered)["rules"] == operator_rules() + operator_rules("operator.own-rules")


def test_without_a_name_for_the_cluster_one_namespace_may_be_read() -> None:
    """And no more of the cluster than that."""
    rendered = render("tradingbot-operator", "--set=watch.namespaces={trading}", "--set=rbac.aggregate=false")
    assert the("ClusterRole", rendered)["rules"] == [
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}
    ]


@pytest.mark.parametrize("switch", SWITCHES)
def test_the_operator_understands_its_arguments(switch: str) -> None:
    """Every value that the chart passes on is an option of the command, in the words that it takes."""
    (container,) = the("Deployment", render("tradingbot-operator", *SWITCHES[switch]))["spec"]["template"]["spec"][
        "containers"
    ]
    command, *arguments = container["args"]
    found = main.commands[command]
    given = found.make_context(command, list(arguments), resilient_parsing=False).params
    assert given["operator_namespace"] == "trading-system"
    assert given["engine_image"].startswith("registry.tradingbot.dev/tradingbot-engine:")
    if switch == "everything":
        assert (given["pull_policy"], given["pull_secrets"], given["scraper_namespaces"]) == (
            "Never",
            ("registry",),
            ("monitoring",),
        )
    if switch == "namespaces":
        assert (given["namespaces"], given["cluster_id"]) == (("trading", "research"), "lab")


@pytest.mark.parametrize(
    ("option", "image"),
    [
        ("image.tag=", "registry.tradingbot.dev/tradingbot-operator:{version}"),
        ("image.tag=1.2", "registry.tradingbot.dev/tradingbot-operator:1.2"),
        (f"image.digest=sha256:{'a' * 64}", f"registry.tradingbot.dev/tradingbot-operator@sha256:{'a' * 64}"),
    ],
)
def test_the_image_is_the_charts_version_unless_tag_or_digest_say_otherwise(option: str, image: str) -> None:
    """A digest wins."""
    version = yaml.safe_load((ROOT / "charts/tradingbot-operator/Chart.yaml").read_text())["appVersion"]
    for spec in pod_specs(render("tradingbot-operator", f"--set-string={option}")):
        assert spec["containers"][0]["image"] == image.format(version=version)
        assert spec["securityContext"]["runAsUser"] == IMAGE_USER


def test_a_misspelt_value_is_refused_by_helm() -> None:
    """The schema is in the chart, not beside it."""
    with pytest.raises(AssertionError, match="additional properties 'replicas' not allowed"):
        render("tradingbot-operator", "--set=replicas=2")


def test_alerts_see_the_namespace_of_the_bot() -> None:
    """Prometheus would put the operator's own in its place, and rename the bot's."""
    rendered = render("tradingbot-operator", *SWITCHES["everything"])
    monitor = rendered["ServiceMonitor", "trading-system/tradingbot-operator"]
    assert monitor["spec"]["endpoints"][0]["honorLabels"] is True
    rules = yaml.safe_load((ROOT / "charts/tradingbot-operator/rules/operator.yaml").read_text())
    assert the("PrometheusRule", rendered)["spec"] == rules


def test_the_crd_stays_when_its_chart_goes() -> None:
    """Unless somebody says otherwise."""
    (crd,) = render("tradingbot-crds", "--set=annotations.team=a").values()
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep", "team": "a"}
    (crd,) = render("tradingbot-crds", "--set=keep=false").values()
    assert "annotations" not in crd["metadata"]


def test_the_installed_crd_is_the_generated_one() -> None:
    """Annotations aside, nothing is changed by the template."""
    (crd,) = render("tradingbot-crds", "--set=keep=false").values()
    assert crd == yaml.safe_load((ROOT / "crds/tradingbots.yaml").read_text())


@pytest.mark.parametrize("namespaces", ["", "trading"])
def test_the_notes_tell_the_next_step(namespaces: str) -> None:
    """And say so where the resource is missing."""
    options = [f"--set=watch.namespaces={{{namespaces}}}"] if namespaces else []
    line = [
        "install",
        "tradingbot-operator",
        "charts/tradingbot-operator",
        "--dry-run=client",
        "--namespace=trading-system",
    ]
    notes = helm(*line, *options).split("NOTES:")[1]
    assert "The TradingBot resource is missing" in notes
    where = "--namespace trading " if namespaces else ""
    assert f"kubectl {where}apply -f crds/samples/first-bot.yaml" in notes
    assert "helm --namespace trading-system test tradingbot-operator" in notes


def test_rendering_twice_gives_the_same_bytes() -> None:
    """Nothing is drawn at random, so that GitOps sees no difference where there is none."""
    assert render_text("tradingbot-operator") == render_text("tradingbot-operator")
