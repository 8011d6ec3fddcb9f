"""The Service of a bot's pods: where metrics are read; headless, since every pod is asked for itself."""

from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.config_map import ADMIN_PORT
from tradingbot_operator.desired.metadata import metadata, pod_selector
from tradingbot_operator.desired.names import Names


def service(bot: Bot, *, context: Context) -> dict[str, Any]:
    """Return the Service; pods that are not ready are in it too, since theirs are the metrics that are wanted most."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(Names(bot.name).engine, bot, context),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": pod_selector(bot),
            "ports": [{"name": "admin", "port": ADMIN_PORT, "targetPort": "admin", "protocol": "TCP"}],
        },
    }
