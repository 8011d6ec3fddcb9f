"""The pod that runs an engine, shared by the Deployment and by the Job that settles what a deletion left open."""

from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.config_map import (
    ADMIN_PORT,
    LEDGER_DIR,
    SETTINGS_DIR,
    SETTINGS_FILE,
    TOKEN_DIR,
    TOKEN_KEY,
    WALLET_DIR,
    WALLET_FILE,
)
from tradingbot_operator.desired.names import Names
from tradingbot_operator.desired.pod import TMP_DIR, container_security, image, pod_security, pull_secrets, resources
from tradingbot_operator.desired.references import environment

CONFIG = f"{SETTINGS_DIR}/{SETTINGS_FILE}"
AFTER_FORCE_S = 5
"""Seconds between the engine's own end by force and the kubelet's."""


def pod_spec(
    bot: Bot, *, context: Context, containers: list[dict[str, Any]], settings: str, token: str
) -> dict[str, Any]:
    """
    Return the spec of a pod of the engine.

    Args:
        bot: Whose it is.
        context: What the operator knows.
        containers: What runs in it.
        settings: Name of the ConfigMap with the engine's settings.
        token: Name of the Secret with the token of the admin port.
    """
    template = bot.spec.template
    spec: dict[str, Any] = {
        "serviceAccountName": Names(bot.name).engine,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": bot.spec.shutdown.force_timeout_seconds + AFTER_FORCE_S,
        "securityContext": pod_security(),
        **pull_secrets(context),
        "containers": containers,
        "volumes": _volumes(bot, settings=settings, token=token),
    }
    if template.node_selector:
        spec["nodeSelector"] = dict(template.node_selector)
    if template.tolerations:
        spec["tolerations"] = [t.model_dump(by_alias=True, exclude_none=True) for t in template.tolerations]
    if template.affinity:
        spec["affinity"] = dict(template.affinity)
    return spec


def engine_container(bot: Bot, *, context: Context, command: list[str]) -> dict[str, Any]:
    """Return a container that runs one of the engine's commands with the bot's settings, secrets and files."""
    engine = bot.spec.engine
    return {
        "name": "engine",
        **image(context, engine.image, engine.image_pull_policy),
        "command": ["tradingbot-engine", *command],
        "env": [{"name": "HOME", "value": TMP_DIR}, *environment(bot)],
        "resources": _resources(bot),
        "securityContext": container_security(),
        "volumeMounts": _mounts(bot),
    }


def admin_port() -> dict[str, Any]:
    """Return the container port of the admin port."""
    return {"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}


def has_wallet(bot: Bot) -> bool:
    """Whether a file with the wallet's key is mounted."""
    return bot.spec.wallet.secret_ref is not None or bot.on_localnet


def _resources(bot: Bot) -> dict[str, Any]:
    stated = bot.spec.template.resources
    if stated is None:
        return resources(cpu="100m", memory="256Mi", memory_limit="512Mi")
    asked = {"requests": dict(stated.requests), "limits": dict(stated.limits)}
    return {kind: {name: str(amount) for name, amount in sorted(of.items())} for kind, of in asked.items() if of}


def _mounts(bot: Bot) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "settings", "mountPath": SETTINGS_DIR, "readOnly": True},
        {"name": "admin-token", "mountPath": TOKEN_DIR, "readOnly": True},
    ]
    if has_wallet(bot):
        mounts.append({"name": "wallet", "mountPath": WALLET_DIR, "readOnly": True})
    if bot.on_sqlite:
        mounts.append({"name": "ledger", "mountPath": LEDGER_DIR})
    return [*mounts, {"name": "tmp", "mountPath": TMP_DIR}]


def _volumes(bot: Bot, *, settings: str, token: str) -> list[dict[str, Any]]:
    names = Names(bot.name)
    volumes: list[dict[str, Any]] = [
        {"name": "settings", "configMap": {"name": settings}},
        {"name": "admin-token", "secret": _secret(token, TOKEN_KEY, TOKEN_KEY)},
    ]
    if has_wallet(bot):
        stated = bot.spec.wallet.secret_ref
        secret, key = (stated.name, stated.key) if stated else (names.wallet, WALLET_FILE)
        volumes.append({"name": "wallet", "secret": _secret(secret, key, WALLET_FILE)})
    if bot.on_sqlite:
        volumes.append({"name": "ledger", "persistentVolumeClaim": {"claimName": names.ledger}})
    return [*volumes, {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]


def _secret(name: str, key: str, path: str) -> dict[str, Any]:
    """Return a volume of one value, readable by the engine's group alone."""
    return {"secretName": name, "defaultMode": 0o440, "items": [{"key": key, "path": path}]}
