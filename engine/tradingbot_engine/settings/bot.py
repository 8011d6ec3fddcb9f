"""Who the bot is, and its wallet."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradingbot_engine.settings.base import LINE, Base58Key, FilePath, Group

GENESIS_HASHES = {
    "mainnet-beta": "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d",
    "devnet": "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG",
}
"""What `getGenesisHash` answers on the public clusters. Source: the constants of Solana's own clients."""


class BotSettings(Group):
    """Who this bot is."""

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")
    """Name of the TradingBot resource."""
    namespace: str = Field(default="default", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    """Namespace of the TradingBot resource."""
    bot_id: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    """Adopt this id instead of making one (a bot that moved)."""
    mode: Literal["Paper", "Live"] = "Paper"
    """Paper fills trades from live quotes and sends nothing; Live sends transactions that the wallet signs."""
    cluster: Literal["mainnet-beta", "devnet", "localnet"] = "localnet"
    """Which Solana cluster."""
    genesis_hash: Base58Key | None = None
    """Genesis hash that every node must show before it is asked anything; absent: the public cluster's own, and on localnet
    the first node's word at the bot's first start."""
    cluster_id: str = Field(default="laptop", min_length=1, max_length=253, pattern=LINE)
    """Where the bot's processes run; a ledger held from elsewhere is refused until adopted."""
    adopt: bool = False
    """Take over a ledger that another cluster id holds."""
    generation: int = Field(default=1, ge=0, le=2**63 - 1)
    """Generation of the manifest that these settings were rendered from."""
    paused: bool = False
    """Takes no new signal while true."""
    shards: int = Field(default=1, ge=1, le=1024)
    """How many slices the tokens are spread over; one engine owns all of them here."""

    @property
    def expected_genesis_hash(self) -> str | None:
        """The genesis hash that is known before any node was asked; None on a localnet that nobody described."""
        return self.genesis_hash or GENESIS_HASHES.get(self.cluster)


class WalletSettings(Group):
    """The wallet that trades."""

    address: Base58Key
    """Its public key; where file and environment state none, the key file's own."""
    key_file: FilePath | None = None
    """Solana CLI JSON (64 numbers) or base58; its public key must equal `address`. Not needed on paper."""
