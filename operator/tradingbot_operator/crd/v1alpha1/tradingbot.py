"""The resource itself: type, metadata, spec, status."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tradingbot_operator.crd.v1alpha1.base import DNS_1035, DNS_LABEL, Model
from tradingbot_operator.crd.v1alpha1.spec import TradingBotSpec
from tradingbot_operator.crd.v1alpha1.status import TradingBotStatus

API_VERSION = "tradingbot.dev/v1alpha1"
KIND = "TradingBot"


class ObjectMeta(Model):
    """Name and labels; the other fields are Kubernetes' own and accepted as it writes them."""

    name: Annotated[str, Field(pattern=DNS_1035, min_length=1, max_length=40)]
    """Name of the bot: lower case letters, digits and '-', at most 40, beginning with a letter."""
    namespace: Annotated[str, Field(pattern=DNS_LABEL, max_length=63)] = "default"
    """Namespace of the bot."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations."""
    finalizers: list[str] = Field(default_factory=list)
    """Kubernetes' own."""
    owner_references: list[dict[str, Any]] = Field(default_factory=list)
    """Kubernetes' own."""
    managed_fields: list[dict[str, Any]] = Field(default_factory=list)
    """Kubernetes' own."""
    uid: str | None = None
    """Kubernetes' own."""
    resource_version: str | None = None
    """Kubernetes' own."""
    generation: int | None = None
    """Kubernetes' own."""
    generate_name: str | None = None
    """Kubernetes' own."""
    creation_timestamp: str | None = None
    """Kubernetes' own."""
    deletion_timestamp: str | None = None
    """Kubernetes' own."""
    deletion_grace_period_seconds: int | None = None
    """Kubernetes' own."""
    self_link: str | None = None
    """Kubernetes' own."""


class TradingBot(Model):
    """One trading bot."""

    api_version: Literal["tradingbot.dev/v1alpha1"]
    """tradingbot.dev/v1alpha1"""
    kind: Literal["TradingBot"]
    """TradingBot"""
    metadata: ObjectMeta
    """Name, namespace, labels."""
    spec: TradingBotSpec
    """What the bot should be."""
    status: TradingBotStatus | None = None
    """What the operator saw; ignored when a manifest is read."""
