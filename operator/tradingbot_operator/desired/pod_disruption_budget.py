"""The PodDisruptionBudget: one pod at a time, and one that is broken anyway never holds a node's drain up."""

from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.metadata import metadata, pod_selector
from tradingbot_operator.desired.names import Names


def pod_disruption_budget(bot: Bot, *, context: Context) -> dict[str, Any]:
    """Return the PodDisruptionBudget."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(Names(bot.name).engine, bot, context),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": pod_selector(bot)},
        },
    }
