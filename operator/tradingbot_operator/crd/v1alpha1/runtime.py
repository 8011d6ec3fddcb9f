"""How a bot is run: replicas, shutdown, ledger, logs, engine, and what may be changed about its pods."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tradingbot_operator.crd.v1alpha1.base import (
    DNS_SUBDOMAIN,
    QUALIFIED,
    FromSecret,
    Model,
    PrunedNulls,
    Quantity,
    Scalar,
    Unit,
)

ShortText = Annotated[str, Field(max_length=317)]
QualifiedName = Annotated[str, Field(max_length=317, pattern=QUALIFIED)]
LongText = Annotated[str, Field(max_length=65_536)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]


class Scaling(Model):
    """How tokens are spread over pods. A HorizontalPodAutoscaler exists if, and only if, maxReplicas is set."""

    shards: Annotated[int, Field(ge=1, le=1024), Unit("shards")] = 64
    """Into how many slices the tokens are cut; immutable."""
    min_replicas: Annotated[int, Field(ge=1, le=1024), Unit("pods")] = 1
    """The autoscaler goes no lower."""
    max_replicas: Annotated[int, Field(ge=1, le=1024), Unit("pods")] | None = None
    """The autoscaler goes no higher; absent: no autoscaling."""
    target_queue_utilization_percent: Annotated[int, Field(ge=1, le=100), Unit("%")] = 60
    """The queue utilisation that the autoscaler aims at."""
    scale_down_stabilization_seconds: Annotated[int, Field(ge=0, le=3600), Unit("s")] = 300
    """How long utilisation must be low before a pod goes."""


class Shutdown(Model):
    """How long a drain may take."""

    trade_timeout_seconds: Annotated[int, Field(ge=1, le=3600), Unit("s")] = 30
    """Trades in flight are followed this long; what is then open stays in the ledger for the next owner."""
    force_timeout_seconds: Annotated[int, Field(ge=1, le=7200), Unit("s")] = 60
    """After this the engine is ended."""


class Sqlite(Model):
    """A ledger in one file: one engine at a time."""

    size: Quantity | None = None
    """Size of the volume on a cluster; absent: 1Gi. Without meaning on a laptop."""
    storage_class_name: Annotated[str, Field(pattern=DNS_SUBDOMAIN, max_length=253)] | None = None
    """Storage class of the volume on a cluster; absent: the cluster's default."""


class Ledger(Model):
    """Where trades are journalled: sqlite, or PostgreSQL by urlFrom."""

    sqlite: Sqlite | None = None
    """A file of the bot's own."""
    url_from: FromSecret | None = None
    """Address of a PostgreSQL database (postgresql://…), from a Secret."""


class Logging(Model):
    """What the engine logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged."""
    json_lines: Annotated[bool, Field(alias="json")] = True
    """One JSON object per line; false: text for people."""


class Engine(Model):
    """The engine's image and any other setting of it."""

    image: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\x00-\x20]+$")] | None = None
    """Image of the engine on a cluster; absent: the operator's own version."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled; absent: as Kubernetes decides."""
    settings: Annotated[
        dict[Annotated[str, Field(max_length=128)], Scalar],
        Field(max_length=256, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}),
    ] = Field(default_factory=dict)
    """Any other setting of the engine by its dotted name, such as execution.workers, checked against what the engine publishes."""


class Resources(Model):
    """What a pod asks for and may use."""

    requests: Annotated[dict[QualifiedName, Quantity], Field(max_length=16), PrunedNulls] = Field(default_factory=dict)
    """By resource: what is reserved."""
    limits: Annotated[dict[QualifiedName, Quantity], Field(max_length=16), PrunedNulls] = Field(default_factory=dict)
    """By resource: what is never exceeded."""


class Toleration(Model):
    """One taint that pods may be placed in spite of."""

    key: ShortText | None = None
    """Key of the taint; absent: every key."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How the value is compared."""
    value: ShortText | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; absent: every effect."""
    toleration_seconds: Annotated[int, Field(ge=0, le=2**31), Unit("s")] | None = None
    """How long a NoExecute taint is tolerated; absent: for ever."""


class PodTemplate(Model):
    """Overrides of the pods on a cluster; without meaning on a laptop."""

    resources: Resources | None = None
    """Resources of the engine's container."""
    node_selector: Annotated[dict[QualifiedName, LabelValue], Field(max_length=64), PrunedNulls] = Field(
        default_factory=dict
    )
    """Labels that a node must carry."""
    tolerations: Annotated[list[Toleration], Field(max_length=64)] = Field(default_factory=list)
    """Taints that are tolerated."""
    affinity: Annotated[
        dict[str, Any], Field(max_length=16, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    ] = Field(default_factory=dict)
    """Affinity as in a pod's spec."""
    annotations: Annotated[dict[QualifiedName, LongText], Field(max_length=64), PrunedNulls] = Field(
        default_factory=dict
    )
    """Annotations that pods carry besides the operator's."""
    labels: Annotated[dict[QualifiedName, LabelValue], Field(max_length=64), PrunedNulls] = Field(default_factory=dict)
    """Labels that pods carry besides the operator's."""
