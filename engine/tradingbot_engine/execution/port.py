"""What the trade driver asks of an executor; paper and live answer alike (one contract suite runs over both)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from tradingbot_engine.core.proof import Case, ExpiryEvidence, StatusAnswer
from tradingbot_engine.domain.intents import Attempt, Fill, IntentRecord, OrderIntent
from tradingbot_engine.domain.units import BaseUnits, Epoch, Mint, Signature, Slot, UnixMs
from tradingbot_engine.errors import PermanentError, TemporaryError


class QuoteUnavailable(TemporaryError):
    """The swap API gives no quote now (no route, limit, fault): nothing was signed. Ask again after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QuoteRefused(PermanentError):
    """The quote breaks a limit (price impact, slippage, moved too far from the signal): abandon, do not retry as it is."""


class TransactionTooLarge(PermanentError):
    """No route fits into 1,232 bytes, even with fewer accounts."""


class SendRejected(PermanentError):
    """A node's preflight says that the bytes cannot succeed; if any byte was ever sent, only rule E may end the attempt."""


class GuardTaken(SendRejected):
    """A node's preflight says that the intent's guard account is there: it was executed before, or is a stranger's."""


@dataclass(frozen=True, slots=True)
class Creator:
    """The finalized transaction that made an intent's guard account; `ours`: the wallet signed it."""

    signature: Signature
    ours: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """What a swap would give now; `raw` is the provider's answer, passed on unchanged when building."""

    intent_id: str
    amount_in: int
    amount_out: int
    min_amount_out: int
    price_impact_bps: int
    context_slot: Slot
    raw: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Balance:
    """What the wallet's associated account of a token held at `slot`, in base units; 0 if there is no such account."""

    amount: BaseUnits
    slot: Slot


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the chain: the positive answer, and the evidence for expiry as far as it could be gathered."""

    answer: StatusAnswer | None
    expiry: tuple[ExpiryEvidence, ...] = ()
    providers_needed: int = 1
    """How many providers must agree on the expiry of this attempt, by its age and amount (`core.proof.providers_needed`)."""

    @property
    def guard_exists(self) -> bool:
        """Whether the guard account is there at finalized: some transaction of the intent succeeded (`Executor.creator` says which)."""
        return any(piece.guard is not None and piece.guard.exists for piece in self.expiry)


class Executor(Protocol):
    """
    Raises, everywhere: TemporaryError (unknown: the node may have acted), PermanentError (see above), FatalError.

    An executor holds no state about intents: all that a step needs is in the record.
    """

    @property
    def paper(self) -> bool:
        """Whether fills are modelled; marked everywhere."""

    async def quote(self, intent: OrderIntent) -> Quote:
        """Return a fresh quote for the intent's whole amount."""

    async def prepare(self, record: IntentRecord, quote: Quote, *, epoch: Epoch, now_ms: UnixMs) -> Attempt:
        """Build and sign attempt `record.attempt + 1` with the intent's mark; no byte leaves."""

    async def send(self, attempt: Attempt, *, first: bool) -> None:
        """Hand the stored bytes to a node (preflight on the first send only); returning means no more than *it was taken*."""

    async def look(self, record: IntentRecord, case: Case) -> Reading:
        """Read the attempt's status, and, once its last valid height may have passed, the evidence that rule E needs."""

    async def fill(self, record: IntentRecord, *, finalized: bool) -> Fill | None:
        """Return what the chain says the current attempt did; None while the node does not show it yet."""

    async def creator(self, record: IntentRecord) -> Creator | None:
        """Return which finalized transaction made the intent's guard account; None if the chain does not show one (yet)."""

    async def balance(self, mint: Mint, *, min_slot: Slot, finalized: bool) -> Balance | None:
        """
        Return what the wallet can sell of `mint`, at `min_slot` or later; None on paper, where nothing is held.

        At confirmed by any node; `finalized`: the most that as many providers say as must agree on an
        old attempt's expiry (all that there are, if fewer).
        """

    async def genesis_hash(self) -> str:
        """Return the genesis hash of the chain that is traded on."""
