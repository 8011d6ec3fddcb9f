"""The claim of a SQLite ledger: labels and no owner, since a ledger outlives the bot that wrote it."""

from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.metadata import metadata
from tradingbot_operator.desired.names import Names

DEFAULT_SIZE = "1Gi"


def persistent_volume_claim(bot: Bot, *, context: Context) -> dict[str, Any]:
    """Return the claim."""
    sqlite = bot.spec.ledger.sqlite if bot.spec.ledger else None
    size = sqlite.size if sqlite and sqlite.size is not None else DEFAULT_SIZE
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": str(size)}},
    }
    if sqlite and sqlite.storage_class_name:
        spec["storageClassName"] = sqlite.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(Names(bot.name).ledger, bot, context, owned=False),
        "spec": spec,
    }
