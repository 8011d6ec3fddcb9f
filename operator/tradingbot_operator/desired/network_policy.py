"""The NetworkPolicy of a bot's pods: who may speak to them, and whom they may speak to."""

from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.config_map import ADMIN_PORT
from tradingbot_operator.desired.localnet import Localnet, gateway_port, localnet_of, node_ports
from tradingbot_operator.desired.metadata import metadata, pod_selector
from tradingbot_operator.desired.names import LOCALNET_LABEL, Names

NAMESPACE = "kubernetes.io/metadata.name"
CLOUD_METADATA = "169.254.0.0/16"
"""Link-local: where clouds hand out the node's credentials, which no engine needs."""


def network_policy(bot: Bot, *, context: Context, localnet: Localnet | None = None) -> dict[str, Any]:
    """Return the NetworkPolicy."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(Names(bot.name).engine, bot, context),
        "spec": {
            "podSelector": {"matchLabels": pod_selector(bot)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": _ingress(context),
            "egress": _egress(bot, localnet),
        },
    }


def _ingress(context: Context) -> list[dict[str, Any]]:
    """The operator's pods, and those that read metrics; the token stands before everything but these."""
    operator = {
        "namespaceSelector": {"matchLabels": {NAMESPACE: context.operator_namespace}},
        "podSelector": {"matchLabels": dict(context.operator_labels)},
    }
    scrapers = [{"namespaceSelector": {"matchLabels": {NAMESPACE: name}}} for name in context.scraper_namespaces]
    return [{"from": [operator, *scrapers], "ports": [{"protocol": "TCP", "port": ADMIN_PORT}]}]


def _egress(bot: Bot, localnet: Localnet | None) -> list[dict[str, Any]]:
    names = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}  # in pods, or on the node
    if not bot.on_localnet:
        return [names, {"to": _everywhere(), "ports": [{"protocol": "TCP"}]}]
    shared = localnet or localnet_of([bot])
    chain = {
        "to": [{"podSelector": {"matchLabels": {LOCALNET_LABEL: shared.name}}}],
        "ports": [{"protocol": "TCP", "port": port} for port in (*node_ports(shared), gateway_port(shared))],
    }
    database = [] if bot.on_sqlite else [{"to": _everywhere(), "ports": [{"protocol": "TCP"}]}]
    return [names, chain, *database]


def _everywhere() -> list[dict[str, Any]]:
    """Nodes and databases may stand in Secrets, at any address and port: all of TCP but the cloud's own."""
    return [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [CLOUD_METADATA]}}, {"ipBlock": {"cidr": "::/0"}}]
