"""All that a bot becomes, in the order in which to apply it."""

from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.config_map import config_map
from tradingbot_operator.desired.deployment import deployment
from tradingbot_operator.desired.localnet import Localnet
from tradingbot_operator.desired.network_policy import network_policy
from tradingbot_operator.desired.persistent_volume_claim import persistent_volume_claim
from tradingbot_operator.desired.pod_disruption_budget import pod_disruption_budget
from tradingbot_operator.desired.role import role
from tradingbot_operator.desired.role_binding import role_binding
from tradingbot_operator.desired.service import service
from tradingbot_operator.desired.service_account import service_account


def children(bot: Bot, *, context: Context, localnet: Localnet | None = None) -> tuple[dict[str, Any], ...]:
    """
    Return the objects of a bot as plain Kubernetes objects, for server-side apply in this order.

    Policy and rights come before the pods. Not among them: Secrets that are made once (`token_secret`, `wallet_secret`),
    the localnet that several bots may share (`localnet_objects`), and what settles a deletion (`settle_objects`).

    Args:
        bot: A sound bot, with its defaults filled in.
        context: What the operator knows.
        localnet: The localnet that it shares with others; absent: the one that it would have alone.
    """
    before = (
        service_account(bot, context=context),
        role(bot, context=context),
        role_binding(bot, context=context),
        network_policy(bot, context=context, localnet=localnet),
        config_map(bot, context=context, localnet=localnet),
        service(bot, context=context),
        pod_disruption_budget(bot, context=context),
    )
    claim = (persistent_volume_claim(bot, context=context),) if bot.on_sqlite else ()
    return (*before, *claim, deployment(bot, context=context, localnet=localnet))
