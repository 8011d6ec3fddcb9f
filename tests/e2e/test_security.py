"""Who reaches a bot's pods, and what its pods may do."""

from __future__ import annotations

import json

import pytest
from e2e.bot import AUDIT_PORT, Bot
from e2e.kube import Json, Kube, Refused, wait_for
from e2e.story import Story
from e2e.world import World

CONNECT = """\
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=4).close()
    print("open")
except OSError as error:
    print("closed", error)
"""


def a_stranger(image: str, **labels: str) -> Json:
    """Return a pod that does nothing and can run Python."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger", "labels": {"app": "stranger", **labels}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsUser": 65532, "runAsGroup": 65532},
            "containers": [
                {"name": "c", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "infinity"]}
            ],
        },
    }


def reaches(kube: Kube, host: str, port: int) -> bool:
    """Whether the stranger of a namespace can connect."""
    return kube.python("pod/stranger", CONNECT, host, str(port)).startswith("open")


def test_strangers_pods_are_refused(trading: Bot, place: Kube, story: Story, world: World) -> None:
    """No pod but the operator's reaches the admin port; no pod of another namespace reaches the chain that gives money away."""
    for kube in (trading.kube, place):
        kube.apply(a_stranger(world.engine_image))
    for kube in (trading.kube, place):
        kube.run("wait", "pod/stranger", "--for=condition=Ready", "--timeout=120s", within_s=150)
    engine = trading.pod()["status"]["podIP"]
    chain = trading.kube.items("pods", "--selector=app.kubernetes.io/component=localnet")[0]["status"]["podIP"]
    story.breaks("strangers' pods in the bot's namespace and in another one connect to engine and chain")
    wait_for("a pod of the same namespace reaches the chain", lambda: reaches(trading.kube, chain, AUDIT_PORT))
    assert not reaches(place, chain, AUDIT_PORT), "another namespace reaches the chain"
    assert not reaches(trading.kube, engine, 8080), "a pod of the same namespace reaches the admin port"
    assert not reaches(place, engine, 8080), "another namespace reaches the admin port"
    kube = trading.kube
    kube.run("delete", "networkpolicy", trading.engine_name, "--wait=false")
    wait_for("the policy is back", lambda: kube.exists("networkpolicy", trading.engine_name))
    wait_for("the door is shut again", lambda: not reaches(place, engine, 8080))


def test_without_the_policy_the_same_strangers_get_in(trading: Bot, place: Kube, story: Story, world: World) -> None:
    """So it is the policy that refuses them, rule by rule: with the operator away, nobody puts it back."""
    place.apply(a_stranger(world.engine_image))
    place.run("wait", "pod/stranger", "--for=condition=Ready", "--timeout=120s", within_s=150)
    engine = trading.pod()["status"]["podIP"]
    assert not reaches(place, engine, 8080)
    world.system.run("scale", "deployment/tradingbot-operator", "--replicas=0")
    try:
        wait_for("the operator is gone", lambda: not world.system.items("pods"))
        trading.kube.run("delete", "networkpolicy", trading.engine_name)
        story.breaks("the engine's NetworkPolicy removed while the operator is away")
        wait_for("a stranger gets in", lambda: reaches(place, engine, 8080))
    finally:
        world.system.run("scale", "deployment/tradingbot-operator", "--replicas=1")
    with story.measured("operator back until strangers are refused"):
        wait_for("the door is shut", lambda: not reaches(place, engine, 8080))


def test_engines_account_can_do_nothing_else(trading: Bot, story: Story) -> None:
    """Its token is not even in the pod; whoever got one could look at Pods and Leases of the namespace, and no more."""
    kube, account = trading.kube, f"system:serviceaccount:{trading.kube.namespace}:{trading.engine_name}"
    story.breaks("acting as the engine's account")
    inside = "import os; print(os.path.exists('/var/run/secrets/kubernetes.io/serviceaccount/token'))"
    assert kube.python(f"deploy/{trading.engine_name}", inside, container="engine").strip() == "False"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": kube.namespace},
    }
    words = ("create", "-f", "-", "--validate=false", "--output=json", f"--as={account}")
    rules = json.loads(kube.run(*words, text_in=json.dumps(review)))["status"]["resourceRules"]
    may = {
        (verb, group, resource, *rule.get("resourceNames", ()))
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if not resource.startswith("self")  # every account may ask what it may
    }
    look = {(verb, "", "pods") for verb in ("get", "list", "watch")}
    look |= {(verb, "coordination.k8s.io", "leases") for verb in ("get", "list", "watch")}
    assert may == look | {("update", "coordination.k8s.io", "leases", f"{trading.name}-member-0")}
    for what in ("secrets", "configmaps", "tradingbots", "deployments"):
        with pytest.raises(Refused, match="cannot list resource"):
            kube.run("get", what, f"--as={account}")
