"""The faults that can be asked for, each a typed and validated model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, model_validator


class FaultModel(BaseModel):
    """Base of all faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeFaultModel(FaultModel):
    """A fault of one or more nodes."""

    nodes: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    """Indexes of the nodes that have it, from 0; nodes that are not named are not touched."""


class MethodFaultModel(NodeFaultModel):
    """A fault of how calls are answered."""

    methods: tuple[str, ...] = ()
    """Methods that have it; empty means every method."""
    probability: float = Field(default=1.0, gt=0, le=1)
    """Share of the calls that meet it; drawn from localnet's seed."""


class Latency(MethodFaultModel):
    """Answers come late, by `latency_ms` and up to `jitter_ms` more."""

    kind: Literal["latency"]
    latency_ms: float = Field(ge=0)
    jitter_ms: float = Field(default=0, ge=0)


class RateLimited(MethodFaultModel):
    """HTTP 429, with Retry-After unless that is null."""

    kind: Literal["rate_limited"]
    retry_after_s: float | None = Field(default=1, ge=0)


class HttpError(MethodFaultModel):
    """An HTTP error of the server or of a proxy before it."""

    kind: Literal["http_error"]
    status: int = Field(default=503, ge=400, le=599)


class HtmlBody(MethodFaultModel):
    """A web page instead of JSON, by default with status 200."""

    kind: Literal["html"]
    status: int = Field(default=200, ge=200, le=599)


class Hang(MethodFaultModel):
    """The connection stays open and no answer comes; nothing of the call is done."""

    kind: Literal["hang"]


class Down(MethodFaultModel):
    """The connection is reset before anything of the call is done."""

    kind: Literal["down"]


class LoseAnswer(MethodFaultModel):
    """The node does what the call asks, then resets the connection or hangs: the caller cannot know."""

    kind: Literal["lose_answer"]
    methods: tuple[str, ...] = ("sendTransaction",)
    how: Literal["reset", "hang"] = "reset"


class NodeUnhealthy(MethodFaultModel):
    """The node knows that it is behind: getHealth and sends with preflight get -32005, and the methods named."""

    kind: Literal["unhealthy"]
    methods: tuple[str, ...] = ("getHealth",)
    slots_behind: int | None = Field(default=None, ge=0)


class DropSend(NodeFaultModel):
    """Transactions are accepted and never passed on."""

    kind: Literal["drop_send"]
    probability: float = Field(default=1.0, gt=0, le=1)


class DoubleSend(NodeFaultModel):
    """Transactions are passed on at once, and once more `delay_slots` later."""

    kind: Literal["double_send"]
    delay_slots: int = Field(default=2, ge=1)
    probability: float = Field(default=1.0, gt=0, le=1)


class DelaySend(NodeFaultModel):
    """Transactions are passed on `delay_slots` later."""

    kind: Literal["delay_send"]
    delay_slots: int = Field(ge=1)
    probability: float = Field(default=1.0, gt=0, le=1)


class Lag(NodeFaultModel):
    """The node is that many blocks behind the tip, at every commitment."""

    kind: Literal["lag"]
    slots: int = Field(ge=1, le=500)


class WrongGenesis(NodeFaultModel):
    """The node serves another cluster's genesis hash."""

    kind: Literal["wrong_genesis"]
    genesis_hash: str = Field(default="5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d", min_length=32, max_length=44)


class DeadFork(NodeFaultModel):
    """The node leaves the live chain now and stays on its own fork: its slots grow, what lands elsewhere it never sees."""

    kind: Literal["dead_fork"]


class Snapshot(NodeFaultModel):
    """
    The node started from a snapshot: transactions and blocks of a range of slots are missing.

    Statuses of the newest 300 slots are not: a snapshot carries the status cache. Older ones come from the history, and have
    the hole.

    Give `first_slot` and `last_slot`, or `last_slots` for the newest ones at the time of asking.
    """

    kind: Literal["snapshot"]
    first_slot: int | None = Field(default=None, ge=0)
    last_slot: int | None = Field(default=None, ge=0)
    last_slots: int | None = Field(default=None, ge=1)
    first_available_block: int | None = Field(default=None, ge=0)
    """What getFirstAvailableBlock says; by default the chain's first block, as if there were no hole."""

    @model_validator(mode="after")
    def _one_range(self) -> Snapshot:
        absolute = self.first_slot is not None and self.last_slot is not None
        if absolute == (self.last_slots is not None) or (self.first_slot is None) != (self.last_slot is None):
            raise ValueError("give first_slot and last_slot, or last_slots")
        if self.first_slot is not None and self.last_slot is not None and self.first_slot > self.last_slot:
            raise ValueError("first_slot is after last_slot")
        return self


class StatusBlind(NodeFaultModel):
    """getSignatureStatuses answers null for everything."""

    kind: Literal["status_blind"]


class Fork(FaultModel):
    """The bank abandons its newest blocks, once, at the time of asking; finalized ones are never abandoned."""

    kind: Literal["fork"]
    slots: int = Field(ge=1, le=31)
    requeue: bool = False
    """Whether leaders still hold the abandoned transactions and try them again."""
    stay: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Nodes that stay on the abandoned branch."""


class Halt(FaultModel):
    """No block is produced until the fault is removed."""

    kind: Literal["halt"]


class SwapFaultModel(FaultModel):
    """A fault of the swap, price and history APIs."""

    target: Literal["swap"]
    paths: tuple[Annotated[str, Field(pattern="^/")], ...] = ()
    """Only requests whose path begins with one of these; empty means all of the APIs."""
    probability: float = Field(default=1.0, gt=0, le=1)
    """Share of the requests that meet it; drawn from localnet's seed."""


class SwapLatency(SwapFaultModel):
    """Answers come late, by `latency_ms` and up to `jitter_ms` more."""

    kind: Literal["latency"]
    latency_ms: float = Field(ge=0, le=600_000)
    jitter_ms: float = Field(default=0, ge=0, le=600_000)


class SwapRateLimited(SwapFaultModel):
    """HTTP 429 with the headers by which Jupiter tells when to come back."""

    kind: Literal["rate_limited"]


class SwapHttpError(SwapFaultModel):
    """An HTTP error of the API or of a proxy before it."""

    kind: Literal["http_error"]
    status: int = Field(default=503, ge=400, le=599)


class SwapHtml(SwapFaultModel):
    """A web page instead of JSON, by default with status 200."""

    kind: Literal["html"]
    status: int = Field(default=200, ge=200, le=599)


class SwapHang(SwapFaultModel):
    """The connection stays open and no answer comes; nothing of the request is done."""

    kind: Literal["hang"]


class SwapDown(SwapFaultModel):
    """The connection is reset before anything of the request is done."""

    kind: Literal["down"]


class SwapLoseAnswer(SwapFaultModel):
    """The request is done, then the connection is reset: what `/execute` sent may land all the same."""

    kind: Literal["lose_answer"]
    paths: tuple[Annotated[str, Field(pattern="^/")], ...] = ("/swap/v2/execute",)


class SwapStale(SwapFaultModel):
    """Quotes are made of what the pools held `slots` ago."""

    kind: Literal["stale"]
    slots: int = Field(ge=1, le=500)


NodeFault = (
    Latency
    | RateLimited
    | HttpError
    | HtmlBody
    | Hang
    | Down
    | LoseAnswer
    | NodeUnhealthy
    | DropSend
    | DoubleSend
    | DelaySend
    | Lag
    | WrongGenesis
    | DeadFork
    | Snapshot
    | StatusBlind
)
BankFault = Fork | Halt
SwapFault = SwapLatency | SwapRateLimited | SwapHttpError | SwapHtml | SwapHang | SwapDown | SwapLoseAnswer | SwapStale
AnyFault = NodeFault | BankFault | SwapFault


def _target(value: object) -> str:
    target = value.get("target") if isinstance(value, Mapping) else getattr(value, "target", None)
    return "swap" if target == "swap" else "chain"


_Chain = Annotated[NodeFault | BankFault, Field(discriminator="kind")]
_Swap = Annotated[SwapFault, Field(discriminator="kind")]
Fault = Annotated[Annotated[_Chain, Tag("chain")] | Annotated[_Swap, Tag("swap")], Discriminator(_target)]

_ONE: TypeAdapter[AnyFault] = TypeAdapter(Fault)
_MANY: TypeAdapter[list[AnyFault]] = TypeAdapter(list[Fault])


def parse_fault(value: object) -> AnyFault:
    """Validate one fault; raises pydantic.ValidationError."""
    return _ONE.validate_python(value)


def fault_schema() -> dict[str, Any]:
    """JSON schema of a fault."""
    return _ONE.json_schema()


def parse_faults(value: object) -> list[AnyFault]:
    """Validate a list of faults; raises pydantic.ValidationError."""
    return _MANY.validate_python(value)


def place_of(error: Mapping[str, Any]) -> str:
    """Return the field that one of a ValidationError's `errors()` is about; which kind of target was tried is left out."""
    return ".".join(str(part) for part in error["loc"] if part != "chain")
