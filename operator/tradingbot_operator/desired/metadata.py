"""Labels, owner references and metadata of what belongs to a bot."""

import re
from typing import Any

from tradingbot_operator.crd.v1alpha1 import API_VERSION, KIND
from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.names import BOT_LABEL, LOCALNET_LABEL

MANAGER = "tradingbot-operator"
"""Field manager, and who these objects are managed by."""


def pod_labels(bot: Bot, component: str = "engine") -> dict[str, str]:
    """Return the labels by which a bot's pods are found; nothing that changes with the operator's version."""
    return {
        "app.kubernetes.io/name": f"tradingbot-{component}",
        "app.kubernetes.io/instance": bot.name,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "tradingbot",
        "app.kubernetes.io/managed-by": MANAGER,
        BOT_LABEL: bot.name,
    }


def pod_selector(bot: Bot) -> dict[str, str]:
    """Return what selects the pods of a bot's engine; immutable in a Deployment."""
    return {BOT_LABEL: bot.name, "app.kubernetes.io/component": "engine"}


def metadata(name: str, bot: Bot, context: Context, *, owned: bool = True, component: str = "engine") -> dict[str, Any]:
    """
    Return the metadata of an object of a bot.

    Args:
        name: Of the object.
        bot: Whose it is.
        context: What the operator knows.
        owned: Whether it goes with the bot; what must outlive a deletion carries labels alone.
        component: What it is for.
    """
    meta: dict[str, Any] = {
        "name": name,
        "namespace": bot.namespace,
        "labels": pod_labels(bot, component) | {"app.kubernetes.io/version": version_label(context)},
    }
    if owned:
        meta["ownerReferences"] = [owner_reference(bot)]
    return meta


def owner_reference(bot: Bot) -> dict[str, Any]:
    """Return the reference that shows an object below its bot, and lets it go with it."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": bot.name,
        "uid": bot.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def localnet_labels(name: str) -> dict[str, str]:
    """Return the labels of a localnet, which may be several bots'."""
    return {
        "app.kubernetes.io/name": "tradingbot-localnet",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "localnet",
        "app.kubernetes.io/part-of": "tradingbot",
        "app.kubernetes.io/managed-by": MANAGER,
        LOCALNET_LABEL: name,
    }


def version_label(context: Context) -> str:
    """Return the operator's version as a label's value, which knows no '+'."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", context.operator_version)[:63].strip("-._")
