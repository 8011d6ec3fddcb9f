"""The ServiceAccount of a bot's pods; no token is mounted, since the engine asks no API server."""

from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.metadata import metadata
from tradingbot_operator.desired.names import Names


def service_account(bot: Bot, *, context: Context) -> dict[str, Any]:
    """Return the ServiceAccount."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(Names(bot.name).engine, bot, context),
        "automountServiceAccountToken": False,
    }
