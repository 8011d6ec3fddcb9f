"""One call on its way, and what is left to do for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from tradingbot_engine.domain.units import Slot
from tradingbot_engine.rpc.endpoint import Endpoint
from tradingbot_engine.rpc.errors import RpcError

T = TypeVar("T")


class RpcAnswer(NamedTuple, Generic[T]):
    """A result, who gave it, and the slot that it speaks of (None where the method does not say)."""

    result: T
    provider: str
    context_slot: Slot | None
    degraded: str = ""
    """What speaks against who gave it ("" if nothing does): behind, standing still, suspect."""


@dataclass(slots=True, eq=False)
class Lease:
    """The right to send one request to an endpoint; the dispatch takes it back exactly once."""

    endpoint: Endpoint
    began_s: float
    trial: int
    """Which trial of a half-open breaker it is, 0 if none."""
    degraded: str
    closed: bool = False


@dataclass(slots=True, eq=False)
class Errand:
    """One call: who is still to be asked in this round, and the best error so far."""

    todo: list[Endpoint]
    everybody: tuple[Endpoint, ...]
    deadline_s: float
    pinned: bool = False
    insist: bool = False
    rounds_left: int = 1
    wait_for_data: bool = False
    error: RpcError | None = None
    lease: Lease | None = None
    """Granted while it waited, not used yet."""
    wake: Callable[[], None] | None = None
    """What is called when a wait is over."""
    until_s: float = 0.0
    """When a wait is given up."""
    queued: bool = False
    lobby: bool = False
    """Whether it waits for a place in the full queue."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Ask again after this."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait to be woken, at most until this moment of the monotonic clock."""

    until_s: float


Step: TypeAlias = Lease | Pause | Wait | RpcAnswer[Any] | RpcError
"""What the dispatch wants done next: send a request, pause, wait; or the end of the errand."""
