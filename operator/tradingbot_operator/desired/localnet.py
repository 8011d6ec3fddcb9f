"""The embedded Solana cluster of a namespace's bots, for trials: one Deployment with its Service, claim and NetworkPolicy."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tradingbot_operator.crd.v1alpha1 import TradingBotSpec
from tradingbot_operator.crd.v1alpha1.chain import Localnet as LocalnetSpec
from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.metadata import localnet_labels, version_label
from tradingbot_operator.desired.names import LOCALNET_LABEL, localnet_object
from tradingbot_operator.desired.pod import container_security, image, pod_security, pull_secrets, resources
from tradingbot_operator.wire.chain import MANY, Chain, Node

SHARED = "shared"
"""Name of the localnet of all bots of a namespace that name none."""
FIRST_PORT = 8899
STATE_DIR = "/var/lib/localnet"
VOLUME_SIZE = "2Gi"


@dataclass(frozen=True, kw_only=True)
class Localnet:
    """
    A localnet of a namespace.

    Attributes:
        namespace: Where it runs.
        name: Its name within the namespace.
        nodes: Number of JSON-RPC nodes.
        scenario: What the simulated traders do.
        speed: How many times as fast as wall time the market plays.
        tokens: Mints that its bots trade, sorted.
        image: Image of the engine; None: the operator's own.
        pull_policy: When the image is pulled; None: the operator's own.
    """

    namespace: str
    name: str
    nodes: int = 3
    scenario: str = "Calm"
    speed: float = 1.0
    tokens: tuple[str, ...] = ()
    image: str | None = None
    pull_policy: str | None = None


def localnet_name(spec: TradingBotSpec) -> str:
    """Return the name of the localnet that a spec asks for."""
    return (spec.localnet.name if spec.localnet else None) or SHARED


def localnet_of(bots: Iterable[Bot]) -> Localnet:
    """
    Return the localnet that bots of one namespace share: the oldest says how it plays, each adds its tokens.

    Args:
        bots: At least one, all on localnet and of the same `localnet_name`.
    """
    by_age = sorted(bots, key=_age)
    first = by_age[0]
    stated = first.spec.localnet or LocalnetSpec()
    return Localnet(
        namespace=first.namespace,
        name=localnet_name(first.spec),
        nodes=stated.nodes,
        scenario=stated.scenario,
        speed=stated.speed,
        tokens=tuple(sorted({token.mint for bot in by_age for token in bot.spec.market.tokens})),
        image=first.spec.engine.image,
        pull_policy=first.spec.engine.image_pull_policy,
    )


def disagreements(bots: Iterable[Bot]) -> dict[str, str]:
    """Return, by the name of each bot that asks of a shared localnet what an older bot decided otherwise, what to do."""
    by_age = sorted(bots, key=_age)
    first, found = by_age[0], dict[str, str]()
    plays = first.spec.localnet or LocalnetSpec()
    for bot in by_age[1:]:
        asked = bot.spec.localnet or LocalnetSpec()
        differs = [
            f"{name} {getattr(asked, name)} (it has {getattr(plays, name)})"
            for name in ("nodes", "scenario", "speed")
            if name in asked.model_fields_set and getattr(asked, name) != getattr(plays, name)
        ]
        if differs:
            found[bot.name] = (
                f"the localnet {localnet_name(bot.spec)} plays as its oldest bot {first.name} says, not with "
                f"{', '.join(differs)}: name one of its own in spec.localnet.name"
            )
    return found


def localnet_chain_of(localnet: Localnet) -> Chain:
    """Return how a pod of the same namespace reaches a localnet."""
    host = localnet_object(localnet.name)
    nodes = tuple(
        Node(f"localnet-{n}", f"http://{host}:{port}", f"ws://{host}:{port}", MANY, MANY)
        for n, port in enumerate(node_ports(localnet), start=1)
    )
    gateway = f"http://{host}:{gateway_port(localnet)}"
    return Chain(
        nodes=nodes,
        swap_url=gateway,
        history_url=gateway,
        price_url=gateway,
        clock_url=f"{gateway}/localnet/info",
    )


def node_ports(localnet: Localnet) -> list[int]:
    """Return the port of each node; the port after it is the node's too."""
    return [FIRST_PORT + 2 * n for n in range(localnet.nodes)]


def audit_port(localnet: Localnet) -> int:
    """Return the port of one node more, which no engine asks and no fault touches: an audit from outside asks it."""
    return FIRST_PORT + 2 * localnet.nodes


def gateway_port(localnet: Localnet) -> int:
    """Return the port of swap API, prices, history and faucet."""
    return audit_port(localnet) + 2


def localnet_objects(localnet: Localnet, *, context: Context) -> tuple[dict[str, Any], ...]:
    """
    Return the objects of a localnet in the order in which to apply them.

    They carry labels and no owner reference, since they are of all their bots: whoever applies them removes them when the
    last bot is gone (the claim may stay: a localnet that finds it goes on with its chain, as do the bots' ledgers).
    """
    return (
        _claim(localnet, context),
        _service(localnet, context),
        _policy(localnet, context),
        _deployment(localnet, context),
    )


def _claim(localnet: Localnet, context: Context) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(localnet, context),
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": VOLUME_SIZE}}},
    }


def _service(localnet: Localnet, context: Context) -> dict[str, Any]:
    ports = {f"node-{n}": port for n, port in enumerate(node_ports(localnet), start=1)} | {
        "audit": audit_port(localnet)
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(localnet, context),
        "spec": {
            "selector": _selector(localnet),
            "ports": [
                {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
                for name, port in [*ports.items(), ("gateway", gateway_port(localnet))]
            ],
        },
    }


def _policy(localnet: Localnet, context: Context) -> dict[str, Any]:
    """
    Only pods of the same namespace reach it: it gives money away and takes faults from anybody who asks.

    It speaks to nobody: the type Egress without a rule. (An empty list would be dropped by the API server, and differ for ever.)
    """
    ports = [*node_ports(localnet), audit_port(localnet), gateway_port(localnet)]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(localnet, context),
        "spec": {
            "podSelector": {"matchLabels": _selector(localnet)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": port} for port in ports]}
            ],
        },
    }


def _deployment(localnet: Localnet, context: Context) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(localnet, context),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": _selector(localnet)},
            "template": {
                "metadata": {"labels": localnet_labels(localnet.name)},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 15,
                    "securityContext": pod_security(),
                    **pull_secrets(context),
                    "containers": [_container(localnet, context)],
                    "volumes": [
                        {"name": "state", "persistentVolumeClaim": {"claimName": localnet_object(localnet.name)}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
                    ],
                },
            },
        },
    }


def _container(localnet: Localnet, context: Context) -> dict[str, Any]:
    command = ["tradingbot-engine", "localnet", "--output", "json", "--host", "0.0.0.0"]  # noqa: S104  # in a pod
    command += ["--port", str(FIRST_PORT), "--state-dir", STATE_DIR, "--nodes", str(localnet.nodes + 1)]
    command += ["--scenario", localnet.scenario, "--speed", f"{localnet.speed:g}"]
    command += ["--audit-node", str(localnet.nodes)]
    for mint in localnet.tokens:
        command += ["--token", mint]
    alive = {"httpGet": {"path": "/localnet/info", "port": "gateway"}, "timeoutSeconds": 5}
    return {
        "name": "localnet",
        **image(context, localnet.image, localnet.pull_policy),
        "command": command,
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108  # the pod's own
        "ports": [
            *(
                {"name": f"node-{n}", "containerPort": port, "protocol": "TCP"}
                for n, port in enumerate(node_ports(localnet), start=1)
            ),
            {"name": "audit", "containerPort": audit_port(localnet), "protocol": "TCP"},
            {"name": "gateway", "containerPort": gateway_port(localnet), "protocol": "TCP"},
        ],
        "startupProbe": {**alive, "periodSeconds": 1, "failureThreshold": 120},
        "readinessProbe": {**alive, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**alive, "periodSeconds": 10, "failureThreshold": 6},
        "resources": resources(cpu="250m", memory="256Mi", memory_limit="1Gi"),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "state", "mountPath": STATE_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # the pod's own
        ],
    }


def _metadata(localnet: Localnet, context: Context) -> dict[str, Any]:
    labels = localnet_labels(localnet.name) | {"app.kubernetes.io/version": version_label(context)}
    return {"name": localnet_object(localnet.name), "namespace": localnet.namespace, "labels": labels}


def _selector(localnet: Localnet) -> dict[str, str]:
    return {LOCALNET_LABEL: localnet.name, "app.kubernetes.io/component": "localnet"}


def _age(bot: Bot) -> tuple[str, str]:
    return (bot.created, bot.name)
