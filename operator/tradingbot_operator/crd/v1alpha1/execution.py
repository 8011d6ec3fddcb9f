"""How trades are sent and proven: swap API, mark, slippage, fees, commitment; and the queue before them."""

from typing import Annotated, Literal

from pydantic import Field

from tradingbot_operator.crd.v1alpha1.base import EXACT_MAX, FromSecret, HttpUrl, Model, Unit


class Swap(Model):
    """The Jupiter-shaped swap API."""

    base_url: HttpUrl | None = None
    """Its address; absent: Jupiter's for the version. On localnet it is provided and none may be stated."""
    version: Literal["v1", "v2"] = "v1"
    """The shapes that it speaks."""
    api_key_from: FromSecret | None = None
    """Its key, from a Secret."""


class PriorityFee(Model):
    """What is paid for landing sooner."""

    level: Literal["medium", "high", "veryHigh"] = "medium"
    """How much, in the swap API's words."""
    max_lamports: Annotated[int, Field(ge=0, le=1_000_000_000), Unit("lamports")] = 1_000_000
    """Never more than this for one transaction."""


class ExpiryProof(Model):
    """When a transaction counts as expired, so that another may be made."""

    providers: Annotated[int, Field(ge=1, le=9), Unit("nodes")] = 2
    """How many independent nodes must agree."""
    above_lamports: Annotated[int, Field(ge=0, le=EXACT_MAX), Unit("lamports")] = 10_000_000_000
    """For trades above this size; below it one node's proof is enough within 300 slots."""


class Execution(Model):
    """How trades are sent and proven."""

    swap: Swap = Field(default_factory=Swap)
    """The API that finds routes."""
    mark: Literal["Memo", "Guard", "None"] = "Memo"
    """How a trade carries its intent's id on chain. Without it no audit can prove anything."""
    max_slippage_bps: Annotated[int, Field(ge=1, le=5000), Unit("bps")] | None = None
    """Worst price accepted, against the quote; absent: the profile's."""
    priority_fee: PriorityFee = Field(default_factory=PriorityFee)
    """What is paid for landing sooner."""
    commitment: Literal["processed", "confirmed"] = "confirmed"
    """Of the blockhash and the preflight; fills are always taken at finalized."""
    expiry_proof: ExpiryProof = Field(default_factory=ExpiryProof)
    """When a transaction counts as expired."""


class Queue(Model):
    """The queue between signals and trades."""

    max_size: Annotated[int, Field(ge=1, le=1_000_000), Unit("signals")] = 10_000
    """Signals that may wait; beyond it lower priorities are shed first."""
    warning_threshold: Annotated[float, Field(gt=0, le=1), Unit("share of maxSize")] = 0.8
    """From here on low priorities are refused."""
    critical_threshold: Annotated[float, Field(gt=0, le=1), Unit("share of maxSize")] = 0.95
    """From here on only critical signals are taken."""
    deadline_milliseconds: Annotated[int, Field(ge=1, le=600_000), Unit("ms")] = 5000
    """A signal that waited this long is shed."""
