"""What the builders are given: the bot, and what the operator knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tradingbot_operator.crd.v1alpha1 import TradingBot, TradingBotSpec, effective_cluster


@dataclass(frozen=True, kw_only=True)
class Bot:
    """
    A sound TradingBot as it stands in the cluster.

    Attributes:
        namespace: Its namespace.
        name: Its name, at most 40 characters.
        uid: Its uid, for the owner references.
        generation: Generation of its spec.
        created: Its creationTimestamp; the oldest bot of a shared localnet says how that one plays.
        spec: What it should be, defaults filled in.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    spec: TradingBotSpec
    created: str = ""

    @classmethod
    def of(cls, resource: TradingBot) -> "Bot":
        """Return the bot of a resource that an API server has stored."""
        meta = resource.metadata
        return cls(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid or "",
            generation=meta.generation or 0,
            created=meta.creation_timestamp or "",
            spec=resource.spec,
        )

    @property
    def on_localnet(self) -> bool:
        """Whether it trades on the embedded cluster."""
        return effective_cluster(self.spec) == "localnet"

    @property
    def live(self) -> bool:
        """Whether it sends transactions."""
        return self.spec.mode == "Live"

    @property
    def on_sqlite(self) -> bool:
        """Whether its ledger is a file of its own: one engine at a time."""
        return self.spec.ledger is None or self.spec.ledger.url_from is None


@dataclass(frozen=True, kw_only=True)
class Context:
    """
    What the operator knows, the same for every bot.

    Attributes:
        engine_image: Image of the engine where a bot states none.
        operator_version: Version of the operator.
        operator_namespace: Where the operator runs.
        operator_labels: Labels of its pods: who may reach the admin port.
        cluster_id: Uid of the cluster's namespace kube-system; a ledger held from another cluster is refused.
        pull_policy: When the image is pulled where a bot states nothing; None: as Kubernetes decides.
        pull_secrets: Names of Secrets with the registry's credentials, in the bot's namespace.
        scraper_namespaces: Namespaces whose pods may read the metrics.
    """

    engine_image: str
    operator_version: str
    operator_namespace: str
    cluster_id: str
    operator_labels: Mapping[str, str] = field(
        default_factory=lambda: {"app.kubernetes.io/name": "tradingbot-operator"}
    )
    pull_policy: str | None = None
    pull_secrets: tuple[str, ...] = ()
    scraper_namespaces: tuple[str, ...] = ()
