"""
Models and schema say the same, on a real API server: the same verdict on every spec, and the same defaults in the sound ones.

`make agreement` compares thousands (SPECS=…); by default it is some hundreds.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from manifest_cases import BONK, RULE_BREAKERS, bot, elsewhere
from random_specs import MIXED, SOUND, WIF, models_verdict, plain
from support.api_server import kube_api
from support.kube_client import KubeClient

from tradingbot_cluster.control_plane import ControlPlane
from tradingbot_operator.crd.v1alpha1 import TradingBotSpec
from tradingbot_operator.crd.v1alpha1.definition import definition
from tradingbot_operator.crd.v1alpha1.rules import SPEC_RULES

__all__ = ["kube_api"]
pytestmark = pytest.mark.kubernetes

BOTS = "/apis/tradingbot.dev/v1alpha1/namespaces/default/tradingbots"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
STRICT = "?dryRun=All&fieldValidation=Strict"
SPECS = int(os.environ.get("SPECS", "300"))
CREATED, REFUSED = 201, (400, 422)


@pytest.fixture(scope="module")
def api(kube_api: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeClient]:
    """The API server with our definition in force."""
    with closing(KubeClient(kube_api.kubeconfig, tmp_path_factory.mktemp("keys"))) as client:
        committed = yaml.safe_load((Path(__file__).parents[2] / "crds" / "tradingbots.yaml").read_text())
        status, answer = client.call("POST", CRDS, committed)
        assert status == CREATED, answer.get("message")
        path = f"{CRDS}/{definition()['metadata']['name']}"
        for _ in range(600):
            conditions = {c["type"]: c for c in client.call("GET", path)[1].get("status", {}).get("conditions", [])}
            if conditions.get("Established", {}).get("status") == "True" and client.call("GET", BOTS)[0] == 200:
                break
            time.sleep(0.1)
        assert "NonStructuralSchema" not in conditions, conditions
        yield client


def create(api: KubeClient, spec: Any, *, name: str = "bot", query: str = STRICT) -> tuple[int, Any]:
    body = {"apiVersion": "tradingbot.dev/v1alpha1", "kind": "TradingBot", "metadata": {"name": name}, "spec": spec}
    return api.call("POST", BOTS + query, body)


def causes(answer: Any) -> list[tuple[str, str]]:
    return [(c.get("field", ""), c["message"]) for c in answer.get("details", {}).get("causes", [])]


def as_kubectl_sends(value: Any) -> Any:
    """Return a value as it arrives: kubectl writes 5 for a manifest's 5.0, and so does the operator's own reader."""
    if isinstance(value, dict):
        return {key: as_kubectl_sends(one) for key, one in value.items()}
    if isinstance(value, list):
        return [as_kubectl_sends(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


met: Counter[str] = Counter()


def compare(api: KubeClient, spec: Any) -> None:
    """Ask both; fail with all that both said if they disagree."""
    parsed, broken = models_verdict(spec)
    status, answer = create(api, as_kubectl_sends(spec))
    assert status == CREATED or status in REFUSED, (status, answer)
    assert (status == CREATED) == (parsed is not None), (spec, broken, answer.get("message"))
    met["sound" if parsed else "broken"] += 1
    met.update(broken)
    if parsed is not None:
        stored = answer["spec"]
        assert TradingBotSpec.model_validate(stored) == parsed, (spec, stored)
        ours = plain(parsed.model_dump(by_alias=True, mode="json", exclude_none=True))
        assert plain(stored) == ours, (spec, stored, ours)


def test_random_specs_get_the_same_verdict_and_the_same_defaults(api: KubeClient):
    """Hypothesis draws them at the edges of every rule and range; a spec that only one of the two takes is shown shrunk."""

    @settings(max_examples=SPECS, deadline=None, suppress_health_check=list(HealthCheck))
    @given(MIXED)
    def together(spec: Any) -> None:
        compare(api, spec)

    together()
    print(f"\n{met['sound']} sound and {met['broken']} broken specs; rules met: {len(met) - 2}")


@pytest.mark.parametrize("rule", SPEC_RULES, ids=lambda rule: rule.id)
def test_each_rule_is_told_by_the_api_server_alone_at_its_field(api: KubeClient, rule: Any):
    """With the message that `tradingbot validate` shows, so that it says what to do."""
    status, answer = create(api, RULE_BREAKERS[rule.id]["spec"])
    assert status == 422, answer
    assert causes(answer) == [(f"spec.{rule.path}", causes(answer)[0][1])]
    assert rule.message in causes(answer)[0][1]


@pytest.mark.parametrize("spec", SOUND)
def test_sound_specs_and_the_samples_are_stored(api: KubeClient, spec: Any):
    """Otherwise the comparison could agree on refusing everything."""
    compare(api, spec)
    assert create(api, spec)[0] == CREATED


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "crds" / "samples").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_sample_is_accepted(api: KubeClient, path: Path):
    """What the README tells people to apply."""
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] == "TradingBot":
            status, answer = create(api, document["spec"], name=document["metadata"]["name"])
            assert status == CREATED, answer.get("message")


def test_a_whole_number_may_be_written_with_a_point(api: KubeClient, kube_api: ControlPlane):
    """kubectl makes 8 of 8.0 before it sends, so the models must take it, too; CEL itself would refuse to read it."""
    manifest = bot(spec__scaling={"shards": 8.0}, spec__replicas=1.0, spec__queue={"maxSize": 5.0})
    text = kube_api.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", text_in=yaml.safe_dump(manifest))
    stored = json.loads(text)["spec"]
    assert (stored["scaling"]["shards"], stored["replicas"], stored["queue"]["maxSize"]) == (8, 1, 5)
    assert TradingBotSpec.model_validate(manifest["spec"]) == TradingBotSpec.model_validate(stored)
    assert create(api, manifest["spec"])[0] == 422


@pytest.mark.parametrize(
    ("name", "right"),
    [("a", True), ("a" * 40, True), ("a" * 41, False), ("1a", False), ("a.b", False), ("a-b-1", True)],
)
def test_names_are_short_enough_for_what_derives_from_them(api: KubeClient, name: str, right: bool):
    """A Service's name must be DNS-1035, and ours are the bot's with a suffix."""
    status, answer = create(api, bot()["spec"], name=name)
    assert (status == CREATED) is right, answer.get("message")
    if not right:
        assert "at most 40 lower case letters" in answer["message"]


def test_unknown_fields_are_refused_where_the_client_asks_and_dropped_where_not(api: KubeClient):
    """kubectl and Helm ask; `tradingbot validate` always refuses."""
    spec = copy.deepcopy(bot()["spec"]) | {"pausd": True}
    status, answer = create(api, spec)
    assert (status, 'unknown field "spec.pausd"' in answer["message"]) == (400, True)
    status, answer = create(api, spec, query="?dryRun=All&fieldValidation=Ignore")
    assert (status, "pausd" in answer["spec"]) == (CREATED, False)


def test_what_is_immutable_stays(api: KubeClient):
    """Shards, and a wallet once set; also against removing the field, and removing what holds it."""
    name = "still"
    spec = elsewhere(spec__scaling={"shards": 8})["spec"]
    status, made = create(api, spec, name=name, query="")
    assert status == CREATED, made
    here = f"{BOTS}/{name}"

    def changed(**changes: Any) -> tuple[int, Any]:
        now = api.call("GET", here)[1]
        for place, value in changes.items():
            target = now["spec"]
            *steps, last = place.split("__")
            for step in steps:
                target = target[step]
            target.pop(last, None)
            if value is not None:
                target[last] = value
        return api.call("PUT", here, now)

    assert changed(wallet__address=BONK)[0] == 200
    for changes in ({"wallet__address": WIF}, {"wallet__address": None}, {"wallet": None}):
        status, answer = changed(**changes)
        assert status == 422, changes
        assert any("the wallet cannot be changed or removed once set" in message for _, message in causes(answer))
    for changes in ({"scaling__shards": 9}, {"scaling__shards": None}, {"scaling": None}):
        status, answer = changed(**changes)
        assert status == 422, changes
        assert any("shards cannot be changed" in message for _, message in causes(answer))
    assert changed(paused=True)[0] == 200
    assert api.call("DELETE", here)[0] == 200


def test_a_new_bot_is_not_ready_and_scale_writes_replicas(api: KubeClient):
    """Ready=Unknown from the first moment; /scale is what an autoscaler and `kubectl scale` write."""
    name = "fresh"
    assert (
        create(
            api,
            elsewhere(spec__ledger={"urlFrom": {"secretKeyRef": {"name": "s", "key": "k"}}})["spec"],
            name=name,
            query="",
        )[0]
        == CREATED
    )
    found = api.call("GET", f"{BOTS}/{name}")[1]
    assert [(c["type"], c["status"]) for c in found["status"]["conditions"]] == [("Ready", "Unknown")]
    scale = api.call("GET", f"{BOTS}/{name}/scale")[1]
    assert scale["spec"]["replicas"] == 1
    scale["spec"]["replicas"] = 3
    assert api.call("PUT", f"{BOTS}/{name}/scale", scale)[0] == 200
    assert api.call("GET", f"{BOTS}/{name}")[1]["spec"]["replicas"] == 3
    scale = api.call("GET", f"{BOTS}/{name}/scale")[1] | {"spec": {"replicas": 0}}
    status, answer = api.call("PUT", f"{BOTS}/{name}/scale", scale)
    assert (status, "spec.replicas" in answer["message"]) == (422, True)
    condition = {
        "type": "Trading",
        "status": "True",
        "reason": "Trading",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    apply = {"apiVersion": "tradingbot.dev/v1alpha1", "kind": "TradingBot", "status": {"conditions": [condition]}}
    path = f"{BOTS}/{name}/status?fieldManager=tradingbot-operator&force=true"
    status, answer = api.call("PATCH", path, apply, kind="application/apply-patch+yaml")
    assert status == 200, answer
    assert {c["type"] for c in answer["status"]["conditions"]} == {"Ready", "Trading"}
    assert api.call("DELETE", f"{BOTS}/{name}")[0] == 200


def test_people_see_what_matters_at_a_glance(api: KubeClient):
    """The columns of `kubectl get tb`; the others stand behind `-o wide`."""
    status, table = api.call("GET", BOTS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert status == 200
    columns = [column["name"] for column in table["columnDefinitions"] if not column["priority"]]
    assert columns == ["Name", "Mode", "Phase", "Ready", "Shards", "Queue", "In-flight", "Tier", "Age"]
