"""Secrets that the operator makes once: the token of the admin port, and the wallet of a bot on localnet."""

import base64
from typing import Any

from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.config_map import TOKEN_KEY, WALLET_FILE
from tradingbot_operator.desired.metadata import metadata
from tradingbot_operator.desired.names import Names


def token_secret(bot: Bot, *, context: Context, token: str) -> dict[str, Any]:
    """
    Return the Secret with the token of the admin port; to be created once, and never written again.

    Args:
        bot: Whose pods it is for.
        context: What the operator knows.
        token: At least 32 random characters, made by the caller.
    """
    return opaque(metadata(Names(bot.name).admin_token, bot, context), {TOKEN_KEY: token})


def wallet_secret(bot: Bot, *, context: Context, keypair: str) -> dict[str, Any]:
    """
    Return the Secret with the wallet of a bot on localnet that names none; to be created once, and never written again.

    It has no owner, as the ledger that is tied to the wallet has none.

    Args:
        bot: Whose wallet it is.
        context: What the operator knows.
        keypair: A new key as Solana CLI JSON, made by the caller.
    """
    return opaque(metadata(Names(bot.name).wallet, bot, context, owned=False), {WALLET_FILE: keypair})


def needs_wallet(bot: Bot) -> bool:
    """Whether the operator makes the bot's wallet."""
    return bot.on_localnet and bot.spec.wallet.secret_ref is None


def opaque(meta: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """Return a Secret that is never changed, only made anew."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta,
        "type": "Opaque",
        "immutable": True,
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }
