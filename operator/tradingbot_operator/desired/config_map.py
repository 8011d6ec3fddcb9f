"""The ConfigMap with the engine's settings, as the laptop renders them, with the places of a pod; it holds no secret."""

import hashlib
import json
from typing import Any

from tradingbot_operator.crd.v1alpha1 import TradingBot, effective_risk
from tradingbot_operator.crd.v1alpha1.trading import Risk
from tradingbot_operator.crd.v1alpha1.tradingbot import ObjectMeta
from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.localnet import Localnet, localnet_chain_of, localnet_of
from tradingbot_operator.desired.metadata import metadata
from tradingbot_operator.desired.names import Names
from tradingbot_operator.wire.chain import Chain, Node
from tradingbot_operator.wire.render import WATCHED_ONLY, Places, Resolved, render

SETTINGS_FILE = "engine.json"
SETTINGS_DIR = "/etc/tradingbot"
TOKEN_DIR = "/etc/tradingbot-admin"  # noqa: S105  # a directory
TOKEN_KEY = "token"  # noqa: S105  # a key's name
WALLET_DIR = "/etc/tradingbot-wallet"
WALLET_FILE = "wallet"
LEDGER_DIR = "/var/lib/tradingbot"
ADMIN_PORT = 8080


def config_map(bot: Bot, *, context: Context, localnet: Localnet | None = None) -> dict[str, Any]:
    """Return the ConfigMap that every pod of the bot mounts."""
    return settings_map(Names(bot.name).settings, bot, context=context, localnet=localnet)


def settings_map(
    name: str, bot: Bot, *, context: Context, localnet: Localnet | None = None, owned: bool = True
) -> dict[str, Any]:
    """Return a ConfigMap with the engine's settings under a name."""
    text = json.dumps(engine_settings(bot, context=context, localnet=localnet), indent=2, sort_keys=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, bot, context, owned=owned),
        "data": {SETTINGS_FILE: text + "\n"},
    }


def engine_settings(bot: Bot, *, context: Context, localnet: Localnet | None = None) -> dict[str, Any]:
    """
    Return the engine's settings in a pod.

    What the manifest takes from Secrets is left out: the environment tells it (`references`).

    Args:
        bot: A sound bot.
        context: What the operator knows.
        localnet: The localnet that it shares; absent: the one that it would have alone.
    """
    resource = TradingBot.model_construct(
        api_version="tradingbot.dev/v1alpha1",
        kind="TradingBot",
        metadata=ObjectMeta(name=bot.name, namespace=bot.namespace),
        spec=bot.spec,
    )
    wallet = bot.spec.wallet
    has_key = wallet.secret_ref is not None or bot.on_localnet
    return render(
        resource,
        places=Places(
            sqlite=f"{LEDGER_DIR}/ledger.db" if bot.on_sqlite else None,
            wallet_key=f"{WALLET_DIR}/{WALLET_FILE}" if has_key else None,
            admin_token=f"{TOKEN_DIR}/{TOKEN_KEY}",
            admin_host="0.0.0.0",  # noqa: S104  # the NetworkPolicy says who reaches it, the token who may speak
            admin_port=ADMIN_PORT,
        ),
        resolved=Resolved(
            chain=_chain(bot, localnet),
            wallet_address=wallet.address or (None if has_key else WATCHED_ONLY),
        ),
        cluster_id=context.cluster_id,
        generation=bot.generation,
    )


def config_hash(bot: Bot, *, context: Context, localnet: Localnet | None = None) -> str:
    """
    Return a short hash of the settings that only a new start brings into force.

    The pause, the generation and the risk numbers are left out, since the admin port takes them; capital and slippage are
    in, since it does not.
    """
    spec = bot.spec
    slippage = effective_risk(spec).max_slippage_bps
    fixed = spec.model_copy(
        update={
            "paused": False,
            "risk": Risk(capital=spec.risk.capital),
            "execution": spec.execution.model_copy(update={"max_slippage_bps": slippage}),
        }
    )
    still = Bot(namespace=bot.namespace, name=bot.name, uid=bot.uid, generation=0, spec=fixed, created=bot.created)
    shared = localnet or (localnet_of([bot]) if bot.on_localnet else None)
    settings = engine_settings(still, context=context, localnet=shared)
    clock = shared.speed if shared else None  # the engine learns the market's clock when it starts
    text = json.dumps([settings, clock], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _chain(bot: Bot, localnet: Localnet | None) -> Chain:
    if bot.on_localnet:
        return localnet_chain_of(localnet or localnet_of([bot]))
    return Chain(
        nodes=tuple(
            Node(
                node.name,
                node.url or "",
                node.websocket_url,
                node.requests_per_second,
                node.concurrency,
                node.priority,
            )
            for node in bot.spec.rpc.endpoints
        )
    )
