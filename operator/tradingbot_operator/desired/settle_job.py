"""The Job that settles what a deletion left open, or sells what the bot held as well, with settings and token of its own: the bot's may be gone already."""

from collections.abc import Mapping
from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.config_map import TOKEN_KEY, settings_map
from tradingbot_operator.desired.engine_pod import CONFIG, admin_port, engine_container, pod_spec
from tradingbot_operator.desired.localnet import Localnet
from tradingbot_operator.desired.metadata import metadata, pod_labels
from tradingbot_operator.desired.names import BOT_LABEL, Names, close_out_by
from tradingbot_operator.desired.network_policy import network_policy
from tradingbot_operator.desired.token_secret import opaque

COMPONENT = "settle"
IF_OURS = "--if-ours"
BACKOFF_LIMIT = 100
"""Failures of the pod; what is open stays open until somebody settles it."""


def settle_objects(
    bot: Bot, *, context: Context, token: str, localnet: Localnet | None = None, unborn: bool = False
) -> tuple[dict[str, Any], ...]:
    """
    Return NetworkPolicy, ConfigMap, Secret, ServiceAccount and Job in the order in which to apply them.

    None has an owner: a foreground deletion takes what the bot owns at once. Whoever applies them removes them.

    Args:
        bot: The bot that is being deleted.
        context: What the operator knows.
        token: Token of the Job's admin port, made by the caller.
        localnet: The localnet that the bot shares.
        unborn: Whether it is known that the bot never had a ledger: one that belongs to another bot keeps it no longer.
    """
    name = Names(bot.name).settle
    secret = opaque(_metadata(name, bot, context), {TOKEN_KEY: token})
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(name, bot, context),
        "automountServiceAccountToken": False,
    }
    settings = settings_map(name, bot, context=context, localnet=localnet, owned=False)
    settings["metadata"] = _metadata(name, bot, context)
    policy = network_policy(bot, context=context, localnet=localnet)
    policy["metadata"] = _metadata(name, bot, context)
    policy["spec"]["podSelector"] = {"matchLabels": {BOT_LABEL: bot.name, "app.kubernetes.io/component": COMPONENT}}
    return (policy, settings, secret, account, _job(name, bot, context, unborn=unborn))


def command_of(job: Mapping[str, Any]) -> list[str]:
    """Return what a Job of ours does, apart from how it ends."""
    found = job["spec"]["template"]["spec"]["containers"][0].get("command") or []
    return [word for word in found if word != IF_OURS]


def _job(name: str, bot: Bot, context: Context, *, unborn: bool) -> dict[str, Any]:
    command = ["settle", "--config", CONFIG, *([IF_OURS] if unborn else [])]
    if bot.spec.deletion_policy == "ClosePositions":
        command += ["--sell", "--by", close_out_by(bot.namespace, bot.name, bot.uid)]
    container = engine_container(bot, context=context, command=command)
    spec = pod_spec(bot, context=context, containers=[container | {"ports": [admin_port()]}], settings=name, token=name)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(name, bot, context),
        "spec": {
            "backoffLimit": BACKOFF_LIMIT,
            "completions": 1,
            "parallelism": 1,
            "template": {
                "metadata": {"labels": pod_labels(bot, COMPONENT)},
                "spec": spec | {"serviceAccountName": name, "restartPolicy": "OnFailure"},
            },
        },
    }


def _metadata(name: str, bot: Bot, context: Context) -> dict[str, Any]:
    return metadata(name, bot, context, owned=False, component=COMPONENT)
