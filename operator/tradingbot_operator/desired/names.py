"""
Names of everything that belongs to a bot.

A bot's name has at most 40 characters, so each of these has at most 63. Every kind of owner has a suffix of its own, so
that the objects of a bot and those of a localnet never meet, whatever people call them.
"""

from dataclasses import dataclass

ANNOTATION_PREFIX = "tradingbot.dev/"
CONFIG_HASH = ANNOTATION_PREFIX + "config-hash"
BOT_LABEL = ANNOTATION_PREFIX + "bot"
LOCALNET_LABEL = ANNOTATION_PREFIX + "localnet"


@dataclass(frozen=True)
class Names:
    """Names of one bot's objects."""

    bot: str

    @property
    def engine(self) -> str:
        """Deployment, Service, ServiceAccount, Role, RoleBinding, PodDisruptionBudget, NetworkPolicy."""
        return f"{self.bot}-engine"

    @property
    def settings(self) -> str:
        """ConfigMap with the engine's settings."""
        return f"{self.bot}-settings"

    @property
    def admin_token(self) -> str:
        """Secret with the token of the admin port."""
        return f"{self.bot}-admin"

    @property
    def wallet(self) -> str:
        """Secret with the wallet that a bot on localnet is given."""
        return f"{self.bot}-wallet"

    @property
    def ledger(self) -> str:
        """PersistentVolumeClaim of the SQLite ledger."""
        return f"{self.bot}-ledger"

    @property
    def settle(self) -> str:
        """Job, ConfigMap and Secret that settle what a deletion left open."""
        return f"{self.bot}-settle"

    def member(self, number: int) -> str:
        """Lease of a member."""
        return f"{self.bot}-member-{number}"


DELETION = "deletion of "
"""Begins the words by which an engine knows that a deletion wants everything sold."""


def close_out_by(namespace: str, name: str, uid: str) -> str:
    """
    Return on whose behalf an engine sells everything, for good: the ledger keeps it.

    The uid tells a bot that is being deleted from one that is made again under its name, on the same ledger.
    """
    return f"{DELETION}{namespace}/{name} ({uid})"


def localnet_object(name: str) -> str:
    """Return the name of a localnet's Deployment, Service, NetworkPolicy and PersistentVolumeClaim."""
    return f"{name}-localnet"
