"""
The values of the chart tradingbot-operator: the one place where a value has its default, limits and meaning.

`values.yaml`, `values.schema.json` and the table in the chart's README are generated from these models. Unknown names are
refused everywhere but inside what Kubernetes itself defines (`OpenObject`), which the API server checks.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

OpenObject = Annotated[dict[str, Any], Field(json_schema_extra={"open": True})]
"""An object of the Kubernetes API, passed on as it stands."""
Labels = Annotated[dict[str, str], Field(json_schema_extra={"open": True})]
DnsLabel = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=50)]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Tag = Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*)?$", max_length=128)]
Digest = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")]
Repository = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/:-]*$", min_length=1, max_length=255)]
PrometheusTime = Annotated[str, Field(pattern=r"^[0-9]+(ms|s|m|h)$")]
Cidr = Annotated[str, Field(pattern=r"^[0-9a-fA-F:.]+/[0-9]{1,3}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Values(BaseModel):
    """A frozen group of values."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class Image(Values):
    """An image and how it is pulled."""

    repository: Repository
    """Registry and name."""
    tag: Tag = ""
    """Tag; empty: the chart's appVersion."""
    digest: Digest = ""
    """Digest such as sha256:…; wins over the tag."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the image is pulled."""


class EngineImage(Values):
    """The image of bots that name none in spec.engine.image."""

    repository: Repository = "registry.tradingbot.dev/tradingbot-engine"
    """Registry and name."""
    tag: Tag = ""
    """Tag; empty: the chart's appVersion."""
    digest: Digest = ""
    """Digest such as sha256:…; wins over the tag. A change rolls every bot that names no image of its own, each pod drained first."""
    pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    """When the image is pulled where a bot says nothing; empty: as Kubernetes decides."""
    pull_secrets: Annotated[list[Annotated[str, Field(min_length=1, max_length=253)]], Field(max_length=16)] = []
    """Names of Secrets with the registry's credentials. They must exist in each bot's namespace."""


class Secret(Values):
    """A Secret by its name."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""


class Bots(Values):
    """What holds for every bot."""

    metrics_from: Annotated[list[Namespace], Field(max_length=16)] = []
    """Namespaces whose pods may read the metrics of engines, such as that of your Prometheus. A change rolls no pod."""
    cluster_id: Annotated[str, Field(max_length=63)] = ""
    """Name of this cluster that no other has: a ledger held from another cluster is refused. Empty: the uid of its namespace kube-system."""


class Watch(Values):
    """Which TradingBots the operator looks after."""

    namespaces: Annotated[list[Namespace], Field(max_length=100)] = []
    """These namespaces alone, with rights in them alone; empty: the whole cluster. They must exist before the chart is installed."""


class Logging(Values):
    """What the operator logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged."""
    json_lines: Annotated[bool, Field(alias="json")] = True
    """One JSON object per line; false: text for people."""


class ServiceAccount(Values):
    """The account that the operator acts as."""

    create: bool = True
    """Make the account; false: name one that exists."""
    name: Annotated[str, Field(max_length=253)] = ""
    """Its name; empty: the release's full name if made here, else `default`."""
    annotations: Labels = {}
    """Annotations of the account."""


class Rbac(Values):
    """The operator's rights."""

    create: bool = True
    """Make the roles and bindings; false: whoever installs the chart has made them."""
    aggregate: bool = True
    """Let the cluster's own roles `view`, `edit` and `admin` read and write TradingBots."""


class PodDisruptionBudget(Values):
    """Protection from voluntary eviction."""

    enabled: bool = True
    """Make a budget. It never blocks a node's drain: one operator is enough, bots trade without it, and the next one starts elsewhere."""


class Peer(Values):
    """Who may reach a port."""

    namespace_selector: OpenObject = {}
    """Namespaces by label; empty: every namespace."""
    pod_selector: OpenObject = {}
    """Pods by label; empty: every pod of those namespaces."""


class ApiServer(Values):
    """The way to the Kubernetes API server."""

    cidrs: Annotated[list[Cidr], Field(max_length=32)] = []
    """Addresses of the API server; empty: any address on these ports."""
    ports: Annotated[list[Port], Field(min_length=1, max_length=8)] = [443, 6443]
    """Ports of the API server, as seen behind its Service."""


class NetworkPolicy(Values):
    """What may reach the operator, and what it may reach. Needs a network that enforces policies."""

    enabled: bool = True
    """Make a policy: in, metrics; out, DNS, the API server and the admin ports of bots."""
    metrics_from: Annotated[list[Peer], Field(max_length=32)] = []
    """Who may read the metrics; empty: every pod of the cluster."""
    api_server: ApiServer = ApiServer()
    """The way to the Kubernetes API server."""


class ServiceMonitor(Values):
    """Scraping by the Prometheus operator."""

    enabled: bool = False
    """Make a ServiceMonitor; the CRD of the Prometheus operator must be there."""
    bots: bool = True
    """Make a second one for the engines of all bots; bots.metricsFrom must name the namespace of your Prometheus."""
    interval: PrometheusTime = "30s"
    """Time between scrapes."""
    labels: Labels = {}
    """Labels by which your Prometheus selects it."""


class PrometheusRule(Values):
    """Alerts for the Prometheus operator."""

    enabled: bool = False
    """Make a PrometheusRule with the alerts in rules/; the CRD of the Prometheus operator must be there."""
    labels: Labels = {}
    """Labels by which your Prometheus selects it."""


class Resources(Values):
    """What a container asks for and may use."""

    requests: OpenObject = {"cpu": "50m", "memory": "160Mi"}
    """What is reserved."""
    limits: OpenObject = {"memory": "512Mi"}
    """What is never exceeded. No CPU limit: a throttled operator is a slow pause."""


class ChartValues(Values):
    """All values."""

    fullname_override: DnsLabel = ""
    """Replaces release and chart in the names of objects."""
    image: Image = Image(repository="registry.tradingbot.dev/tradingbot-operator")
    """The operator's own image."""
    engine_image: EngineImage = EngineImage()
    """The image of bots that name none in spec.engine.image."""
    image_pull_secrets: Annotated[list[Secret], Field(max_length=16)] = []
    """Secrets with credentials for the operator's registry."""
    bots: Bots = Bots()
    """What holds for every bot."""
    watch: Watch = Watch()
    """Which TradingBots the operator looks after."""
    logging: Logging = Logging()
    """What the operator logs."""
    service_account: ServiceAccount = ServiceAccount()
    """The account that the operator acts as."""
    rbac: Rbac = Rbac()
    """The operator's rights."""
    resources: Resources = Resources()
    """What the operator's container asks for and may use."""
    pod_disruption_budget: PodDisruptionBudget = PodDisruptionBudget()
    """Protection from voluntary eviction."""
    network_policy: NetworkPolicy = NetworkPolicy()
    """What may reach the operator, and what it may reach."""
    service_monitor: ServiceMonitor = ServiceMonitor()
    """Scraping by the Prometheus operator."""
    prometheus_rule: PrometheusRule = PrometheusRule()
    """Alerts for the Prometheus operator."""
    pod_annotations: Labels = {}
    """Further annotations of the operator's pod."""
    pod_labels: Labels = {}
    """Further labels of the operator's pod."""
    priority_class_name: Annotated[str, Field(max_length=253)] = ""
    """Priority class of the operator's pod."""
    node_selector: Labels = {}
    """Labels of the nodes that the operator may run on."""
    tolerations: Annotated[list[OpenObject], Field(max_length=32)] = []
    """Taints that the operator is placed in spite of."""
    affinity: OpenObject = {}
    """Affinity of the operator's pod."""


class CrdValues(Values):
    """All values of the chart tradingbot-crds."""

    keep: bool = True
    """Keep the CRD when the chart is uninstalled. Without the CRD the API server deletes every TradingBot of the cluster."""
    annotations: Labels = {}
    """Further annotations of the CRD."""
