"""Rules that hold for whatever a bot becomes: names, owners, security, and what restarts pods and what does not."""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from manifest_cases import BONK, REF, bot, elsewhere
from random_specs import FULL, WIF, models_verdict, specs

from tradingbot_operator.crd.v1alpha1 import TradingBotSpec
from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.children import children
from tradingbot_operator.desired.config_map import config_hash, engine_settings
from tradingbot_operator.desired.localnet import disagreements, localnet_objects, localnet_of
from tradingbot_operator.desired.names import BOT_LABEL, CONFIG_HASH
from tradingbot_operator.desired.settle_job import settle_objects
from tradingbot_operator.desired.token_secret import needs_wallet, token_secret, wallet_secret

CONTEXT = Context(
    engine_image="engine:1", operator_version="0.1.0", operator_namespace="tradingbot-system", cluster_id="cluster-uid"
)
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


def a_bot(data: dict[str, Any], **changes: Any) -> Bot:
    spec = TradingBotSpec.model_validate(data["spec"])
    return replace(Bot(namespace="trading", name="bot", uid="uid", generation=3, spec=spec), **changes)


def everything(one: Bot) -> list[dict[str, Any]]:
    found = [*children(one, context=CONTEXT), token_secret(one, context=CONTEXT, token="t")]
    found += [wallet_secret(one, context=CONTEXT, keypair="[]")] if needs_wallet(one) else []
    found += localnet_objects(localnet_of([one]), context=CONTEXT) if one.on_localnet else []
    return found + list(settle_objects(one, context=CONTEXT, token="t"))


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in objects:
        if one["kind"] in ("Deployment", "Job"):
            yield one["spec"]["template"]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs())
def test_whatever_the_spec_names_labels_and_pods_are_right(data: dict[str, Any]):
    """Names fit every kind that has them, each only once; pods run under the restricted profile and ask nothing of the API."""
    parsed, _ = models_verdict(data)
    if parsed is None:
        return
    one = Bot(namespace="trading", name="b" * 40, uid="uid", generation=3, spec=parsed)
    objects = everything(one)
    keys = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(set(keys)) == len(keys)
    for o in objects:
        assert len(o["metadata"]["name"]) <= 63
        assert DNS_1035.fullmatch(o["metadata"]["name"])
        assert o["metadata"]["namespace"] == "trading"
        assert all(len(v) <= 63 and LABEL_VALUE.fullmatch(v) for v in o["metadata"]["labels"].values())
    for template in pods(objects):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in spec["volumes"]}
    for o in objects:
        if o["kind"] == "Deployment":
            labels = o["spec"]["template"]["metadata"]["labels"]
            assert o["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_what_outlives_a_bot_has_no_owner_and_all_else_has_one():
    """A ledger, the wallet that it is tied to, what several bots share, and what must survive a foreground deletion."""
    unowned = {
        (o["kind"], o["metadata"]["name"]) for o in everything(a_bot(bot())) if "ownerReferences" not in o["metadata"]
    }
    assert unowned == {
        ("PersistentVolumeClaim", "bot-ledger"),
        ("Secret", "bot-wallet"),
        *((kind, "shared-localnet") for kind in ("PersistentVolumeClaim", "Service", "NetworkPolicy", "Deployment")),
        *((kind, "bot-settle") for kind in ("NetworkPolicy", "ConfigMap", "Secret", "ServiceAccount", "Job")),
    }
    for o in everything(a_bot(bot())):
        for reference in o["metadata"].get("ownerReferences", ()):
            assert (reference["kind"], reference["name"], reference["uid"]) == ("TradingBot", "bot", "uid")


BASE = elsewhere(spec__risk={"capital": 5}, spec__strategies=[{"name": "m", "type": "momentum_5m"}])
HARMLESS: dict[str, dict[str, Any]] = {
    "paused": {"paused": True},
    "position": {"risk": {"capital": 5, "maxPositionPercent": 1}},
    "strategy": {"risk": {"capital": 5, "maxStrategyPercent": 50}},
    "drawdown": {"risk": {"capital": 5, "drawdown": {"warningPercent": 1}}},
    "daily loss": {"risk": {"capital": 5, "dailyLoss": {"haltPercent": 9}}},
    "stated defaults": {"queue": {"maxSize": 10_000}},
}
RESTARTING: dict[str, dict[str, Any]] = {
    "capital": {"risk": {"capital": 6}},
    "slippage": {"execution": {"maxSlippageBps": 7}},
    "profile with another slippage": {"risk": {"capital": 5, "profile": "Aggressive"}},
    "token": {"market": {"tokens": [{"mint": WIF}]}},
    "strategy": {"strategies": [{"name": "m", "type": "momentum_5m", "allocationPercent": 5}]},
    "endpoint": {"rpc": {"endpoints": [{"name": "a", "url": "https://other.example"}]}},
    "engine setting": {"engine": {"settings": {"execution.workers": 3}}},
    "queue": {"queue": {"maxSize": 5}},
}


def changed(changes: dict[str, Any]) -> Bot:
    data = copy.deepcopy(BASE)
    data["spec"] |= changes
    return a_bot(data, generation=4)


@pytest.mark.parametrize("changes", HARMLESS.values(), ids=HARMLESS)
def test_what_the_admin_port_takes_restarts_no_pod(changes: dict[str, Any]):
    """The pod template stays as it is, to the letter; the mounted settings carry the change to the next start."""
    before, after = ({o["kind"]: o for o in children(one, context=CONTEXT)} for one in (a_bot(BASE), changed(changes)))
    assert before["Deployment"] == after["Deployment"]
    assert before["ConfigMap"]["data"] != after["ConfigMap"]["data"]


@pytest.mark.parametrize("changes", [c for n, c in HARMLESS.items() if n not in ("paused", "stated defaults")])
def test_risk_numbers_are_told_as_risk_alone(changes: dict[str, Any]):
    """What a running engine takes by its admin port must not hide a second time in what it read when it started."""
    before, after = (engine_settings(one, context=CONTEXT) for one in (a_bot(BASE), changed(changes)))
    assert {name for name in before if before[name] != after[name]} == {"bot", "risk"}
    assert before["bot"] | {"generation": 4} == after["bot"]


@pytest.mark.parametrize("changes", RESTARTING.values(), ids=RESTARTING)
def test_what_only_a_new_start_brings_into_force_rolls_the_pods(changes: dict[str, Any]):
    """By the hash of the settings on the pod template."""
    assert config_hash(a_bot(BASE), context=CONTEXT) != config_hash(changed(changes), context=CONTEXT)


def test_another_operator_with_the_same_engine_rolls_nothing():
    """An upgrade of the operator alone leaves running pods in peace."""
    newer = replace(CONTEXT, operator_version="9.9.9")
    old, new = (
        next(o for o in children(a_bot(BASE), context=c) if o["kind"] == "Deployment") for c in (CONTEXT, newer)
    )
    assert old["spec"] == new["spec"]


def test_a_ledger_in_a_file_is_never_opened_by_two_pods():
    """SQLite: Recreate on a claim; PostgreSQL: the next pod is there before the last one goes, and no claim is made."""
    on_file = {o["kind"]: o for o in children(a_bot(elsewhere()), context=CONTEXT)}
    on_server = {o["kind"]: o for o in children(a_bot(elsewhere(spec__ledger={"urlFrom": REF})), context=CONTEXT)}
    assert on_file["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    assert on_file["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    rolling = on_server["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert (rolling, "PersistentVolumeClaim" in on_server) == ({"maxSurge": 1, "maxUnavailable": 0}, False)


def test_overrides_of_the_template_never_take_what_is_ours():
    """People add labels and annotations; the selector's and the hash stay."""
    mine = {BOT_LABEL: "other", "team": "a"}
    data = elsewhere(spec__template={"labels": mine, "annotations": {CONFIG_HASH: "x", "team": "a"}})
    (deployment,) = (o for o in children(a_bot(data), context=CONTEXT) if o["kind"] == "Deployment")
    meta = deployment["spec"]["template"]["metadata"]
    assert (meta["labels"][BOT_LABEL], meta["labels"]["team"]) == ("bot", "a")
    assert (meta["annotations"]["team"], meta["annotations"][CONFIG_HASH] == "x") == ("a", False)


def test_no_secret_of_a_reference_is_in_any_object_but_by_its_name():
    """Addresses with keys in them reach the engine from their Secret, not through us."""
    text = json.dumps(everything(a_bot({"spec": FULL})))
    assert '"TRADINGBOT_RPC__ENDPOINTS__1__URL"' in text
    assert '"TRADINGBOT_LEDGER__URL"' in text
    assert "postgres" not in text


def test_bots_share_a_localnet_as_the_oldest_says_with_the_tokens_of_all():
    """A younger bot that asks for something else is told; one that asks for nothing is not."""
    old = a_bot(bot(spec__localnet={"speed": 60, "scenario": "Viral"}), name="old", created="2026-01-01T00:00:00Z")
    young = a_bot(
        bot(spec__localnet={"speed": 2}, spec__market__tokens=[{"mint": WIF}]), name="young", created="2026-01-02"
    )
    quiet = a_bot(bot(), name="quiet", created="2026-01-03T00:00:00Z")
    shared = localnet_of([quiet, young, old])
    assert (shared.name, shared.speed, shared.scenario, shared.tokens) == ("shared", 60, "Viral", (BONK, WIF))
    told = disagreements([quiet, young, old])
    assert list(told) == ["young"]
    assert "speed 2.0 (it has 60.0)" in told["young"]
    settings = {
        name: next(o for o in children(one, context=CONTEXT, localnet=shared) if o["kind"] == "Deployment")
        for name, one in (("old", old), ("quiet", quiet))
    }
    assert (
        settings["old"]["spec"]["template"]["spec"]["volumes"]
        != settings["quiet"]["spec"]["template"]["spec"]["volumes"]
    )
    faster = replace(shared, speed=120.0)
    assert config_hash(quiet, context=CONTEXT, localnet=shared) != config_hash(quiet, context=CONTEXT, localnet=faster)
    more = replace(shared, tokens=(*shared.tokens, "x"))
    assert config_hash(quiet, context=CONTEXT, localnet=shared) == config_hash(quiet, context=CONTEXT, localnet=more)
