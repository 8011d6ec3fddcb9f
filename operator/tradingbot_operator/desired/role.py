"""The Role of a bot's pods: see the members of the namespace's bots, and renew no Lease but the bot's own."""

from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.metadata import metadata
from tradingbot_operator.desired.names import Names

MEMBERS = 1
"""Member Leases of a bot, one per possible replica."""


def role(bot: Bot, *, context: Context) -> dict[str, Any]:
    """Return the Role."""
    names = Names(bot.name)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(names.engine, bot, context),
        "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list", "watch"]},
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "resourceNames": [names.member(number) for number in range(MEMBERS)],
                "verbs": ["update"],
            },
        ],
    }
