"""The RoleBinding between a bot's ServiceAccount and its Role."""

from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.metadata import metadata
from tradingbot_operator.desired.names import Names


def role_binding(bot: Bot, *, context: Context) -> dict[str, Any]:
    """Return the RoleBinding."""
    name = Names(bot.name).engine
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(name, bot, context),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": bot.namespace}],
    }
