"""
Where the engine stands, and why it does not trade.

STARTING → READY → DRAINING → STOPPED; a fatal finding keeps the process up with a reason, so that people can see it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum

import structlog

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.redact import scrub

_log = structlog.get_logger(__name__)


NO_ENDPOINT = "NoEndpoint"
"""The reason while no RPC node may be asked."""
EXITS_FIRST = "ExitsFirst"
"""The reason while nodes are back and exits that came due without them go out: no position is opened before that."""
STALE_MARKET_DATA = "StaleMarketData"
"""The reason while no token has a fresh price; entries are stopped token by token, on the trade path."""
ONE_NODE = "OneNodeOnly"
"""The reason while a single node of several has vouched for the ledger: positions may be left, none is opened."""
CLOSING_OUT = "ClosingOut"
"""The reason while all that is held is being sold: no position is opened any more."""
RESOLVING = "Resolving"
"""The reason while it is not known yet what became of trades that were open at the start."""


class Phase(StrEnum):
    """STARTING: resolving what was open; READY: taking signals; DRAINING: finishing; STOPPED: nothing in flight, shards free."""

    STARTING = "STARTING"
    READY = "READY"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the bot does not trade (or trades less): `type` for machines, `message` for people."""

    type: str
    since_ms: UnixMs
    message: str
    fatal: bool = False


class Lifecycle:
    """The phase and the reasons of one engine; everything that may stop trading is told here."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self.phase = Phase.STARTING
        self.finishing = False
        """While draining: critical work that was queued is still finished."""
        self._reasons: dict[str, Reason] = {}
        self._since_s: dict[str, float] = {}
        """The same moments as the reasons' `since_ms`, on the monotonic clock."""
        self.drain_requested = asyncio.Event()
        self.drained = asyncio.Event()
        self.drain_reason = ""

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return tuple(self._reasons.values())

    @property
    def fatal(self) -> Reason | None:
        """The finding that ended trading for this process, if any."""
        return next((r for r in self._reasons.values() if r.fatal), None)

    @property
    def may_trade(self) -> bool:
        """Whether new signals may become intents now."""
        return self.phase is Phase.READY and not self._reasons.keys() & _BLOCKING and self.fatal is None

    @property
    def may_exit(self) -> bool:
        """
        Whether positions may be left now.

        A pause stops entries, never a stop loss, and so does closing out; what is still being resolved holds only its own
        position back, which the ledger guards (one open exit per position); while no node can be asked an exit is claimed
        all the same, so that it is the first to go out when one can; and one node alone is enough to leave by.
        """
        blocking = self._reasons.keys() & (
            _BLOCKING - {"Paused", CLOSING_OUT, RESOLVING, NO_ENDPOINT, EXITS_FIRST, ONE_NODE}
        )
        resolving = self.phase is Phase.STARTING and RESOLVING in self._reasons
        finishing = self.phase is Phase.DRAINING and self.finishing
        return (self.phase is Phase.READY or resolving or finishing) and not blocking and self.fatal is None

    def has(self, reason: str) -> bool:
        return reason in self._reasons

    def lasted_s(self, reason: str) -> float:
        """Return for how long a reason stands, whatever the wall clock did meanwhile; 0 if it does not."""
        since_s = self._since_s.get(reason)
        return self._clock.monotonic_s() - since_s if since_s is not None else 0.0

    def enter(self, phase: Phase) -> None:
        """Move to `phase`; a phase that lies behind is ignored (a drain is not undone)."""
        order = list(Phase)
        if order.index(phase) <= order.index(self.phase):
            return
        _log.info("phase", old=self.phase.value, new=phase.value)
        self.phase = phase

    def tell(self, reason: str, message: str, *, fatal: bool = False) -> None:
        """State a reason; its `since` stays until it is cleared."""
        message = scrub(message)  # unknown errors are told as they are
        known = self._reasons.get(reason)
        worse = fatal and (known is None or not known.fatal)
        if known is not None and known.message == message and not worse:
            return
        since_ms = known.since_ms if known else self._clock.now_ms()
        self._since_s.setdefault(reason, self._clock.monotonic_s())
        self._reasons[reason] = Reason(reason, since_ms, message, fatal or (known is not None and known.fatal))
        if known is None or worse:
            _log.warning("not trading" if reason in _BLOCKING or fatal else "degraded", reason=reason, message=message)

    def clear(self, reason: str) -> None:
        """Take a reason back; fatal ones stay."""
        known = self._reasons.get(reason)
        if known is not None and not known.fatal:
            del self._reasons[reason]
            _log.info("over", reason=reason, lasted_s=round(self.lasted_s(reason), 1))
            del self._since_s[reason]

    def request_drain(self, why: str) -> None:
        """Start draining; further requests change nothing."""
        if not self.drain_requested.is_set():
            self.drain_reason = why
            _log.info("drain requested", why=why)
            self.drain_requested.set()


_BLOCKING = frozenset({"Paused", CLOSING_OUT, "LedgerUnavailable", RESOLVING, NO_ENDPOINT, EXITS_FIRST, ONE_NODE})
"""Reasons that stop new signals; others only tell. Stale data, tiers and money block at their own place on the path."""
