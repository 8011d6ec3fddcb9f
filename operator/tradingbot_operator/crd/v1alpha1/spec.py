"""The desired state of a bot, top to bottom."""

from typing import Annotated, Literal

from pydantic import Field

from tradingbot_operator.crd.v1alpha1.base import Model, Unit
from tradingbot_operator.crd.v1alpha1.chain import Localnet, Rpc, Wallet
from tradingbot_operator.crd.v1alpha1.execution import Execution, Queue
from tradingbot_operator.crd.v1alpha1.runtime import Engine, Ledger, Logging, PodTemplate, Scaling, Shutdown
from tradingbot_operator.crd.v1alpha1.trading import BY_NAME, Market, Risk, Strategy

Cluster = Literal["mainnet-beta", "devnet", "localnet"]


class TradingBotSpec(Model):
    """What the bot should be."""

    mode: Literal["Paper", "Live"] = "Paper"
    """Paper fills trades from live quotes and sends nothing; Live sends transactions that the wallet signs."""
    paused: bool = False
    """Takes no new signal while true; applied without a restart, within 2 seconds."""
    cluster: Cluster | None = None
    """Which Solana cluster; Live must state it, absent in Paper means localnet."""
    localnet: Localnet | None = None
    """The embedded cluster's settings; only with cluster localnet."""
    wallet: Wallet = Field(default_factory=Wallet)
    """The wallet that trades; provided on localnet, needed for Live elsewhere."""
    rpc: Rpc = Field(default_factory=Rpc)
    """The JSON-RPC nodes and how they are asked."""
    market: Market = Field(default_factory=Market)
    """Which tokens are traded against what."""
    strategies: Annotated[list[Strategy], Field(max_length=32, json_schema_extra=BY_NAME)] = Field(default_factory=list)
    """What decides to buy and to sell; at least one."""
    risk: Risk = Field(default_factory=Risk)
    """Limits that no strategy can exceed."""
    execution: Execution = Field(default_factory=Execution)
    """How trades are sent and proven."""
    queue: Queue = Field(default_factory=Queue)
    """The queue between signals and trades."""
    replicas: Annotated[int, Field(ge=1, le=1024), Unit("pods")] = 1
    """Pods that share the tokens, at most scaling.shards; to stop a bot use paused. Leave it out when autoscaling."""
    scaling: Scaling = Field(default_factory=Scaling)
    """How tokens are spread over pods."""
    shutdown: Shutdown = Field(default_factory=Shutdown)
    """How long a drain may take."""
    deletion_policy: Literal["Drain", "ClosePositions", "Orphan"] = "Drain"
    """On deletion: Drain settles open trades and keeps positions, ClosePositions sells them first, Orphan leaves even open trades alone."""
    ledger: Ledger | None = None
    """Where trades are journalled; Live names it, except on localnet; absent: a SQLite file."""
    logging: Logging = Field(default_factory=Logging)
    """What the engine logs."""
    engine: Engine = Field(default_factory=Engine)
    """The engine's image and any other setting of it."""
    template: PodTemplate = Field(default_factory=PodTemplate)
    """Overrides of the pods on a cluster."""
