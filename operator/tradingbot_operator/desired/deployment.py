"""The Deployment of a bot's engine: drained before every stop, restarted by nothing that the admin port can change."""

from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.config_map import config_hash
from tradingbot_operator.desired.engine_pod import CONFIG, admin_port, engine_container, pod_spec
from tradingbot_operator.desired.localnet import Localnet
from tradingbot_operator.desired.metadata import metadata, pod_labels, pod_selector
from tradingbot_operator.desired.names import CONFIG_HASH, Names

REPLICAS = 1
"""One pod owns all tokens until members share them."""
PROGRESS_DEADLINE_S = 600


def deployment(bot: Bot, *, context: Context, localnet: Localnet | None = None) -> dict[str, Any]:
    """
    Return the Deployment.

    An engine on PostgreSQL rolls with a surge: the next one is ready before the last is drained. A SQLite ledger is one
    file, which refuses a second engine: its Deployment ends the old pod first.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(Names(bot.name).engine, bot, context),
        "spec": {
            "replicas": REPLICAS,
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": PROGRESS_DEADLINE_S,
            "strategy": _strategy(bot),
            "selector": {"matchLabels": pod_selector(bot)},
            "template": {
                "metadata": {
                    "labels": dict(bot.spec.template.labels) | pod_labels(bot),
                    "annotations": {
                        **bot.spec.template.annotations,
                        "kubectl.kubernetes.io/default-container": "engine",
                        CONFIG_HASH: config_hash(bot, context=context, localnet=localnet),
                    },
                },
                "spec": _pod(bot, context),
            },
        },
    }


def _strategy(bot: Bot) -> dict[str, Any]:
    if bot.on_sqlite:
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _pod(bot: Bot, context: Context) -> dict[str, Any]:
    names = Names(bot.name)
    container = engine_container(bot, context=context, command=["run", "--config", CONFIG])
    container |= {
        "ports": [admin_port()],
        "lifecycle": {"preStop": {"exec": {"command": ["tradingbot-engine", "drain", "--config", CONFIG]}}},
        "startupProbe": _probe("/livez", period_s=1, failures=120),
        "livenessProbe": _probe("/livez", period_s=10, failures=6),
        "readinessProbe": _probe("/readyz", period_s=2, failures=2),
    }
    spec = pod_spec(bot, context=context, containers=[container], settings=names.settings, token=names.admin_token)
    spec["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": pod_selector(bot)},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
    if bot.on_localnet and bot.live:
        funding = engine_container(bot, context=context, command=["fund", "--config", CONFIG])
        spec["initContainers"] = [funding | {"name": "fund"}]
    return spec


def _probe(path: str, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "admin"},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
