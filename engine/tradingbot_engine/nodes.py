"""Watches over the RPC nodes as a whole: may any be asked, and does each serve our chain?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.intents import IntentRecord
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.domain.units import Slot
from tradingbot_engine.errors import WrongGenesis
from tradingbot_engine.lifecycle import EXITS_FIRST, NO_ENDPOINT, Lifecycle
from tradingbot_engine.rpc.breaker import BreakerState
from tradingbot_engine.rpc.endpoint import EndpointStatus

EXITS_FIRST_S = 5.0
"""How long entries wait at most, after the nodes are back, for the exits that came due meanwhile to be signed."""


class NodeWatch:
    """
    Tells why no signal may be traded while no node may be asked, and of nodes that serve another chain.

    The pool's own health watch asks the nodes; this one reads what is known, after each probe and now and then. That a node
    may be asked again (its breaker's cooldown or its penalty is over) does not mean that it answers: it is back when it has
    answered, or shown another slot than when it went. Then `NoEndpoint` is over, and exits go first: while positions are
    held, `ExitsFirst` holds entries until the market was heard again, by which exits come due, and none is left without an
    attempt.

    Args of the constructor:
        away: Whether no node is asked now.
        exits_unsent: Exits that are claimed and have no attempt alive.
        positions: Positions that are held.
        market_slot: The newest slot of which the feed told anything.
    """

    def __init__(
        self,
        *,
        endpoints: Callable[[], Sequence[EndpointStatus]],
        away: Callable[[], bool],
        exits_unsent: Callable[[], int],
        positions: Callable[[], int],
        market_slot: Callable[[], Slot],
        lifecycle: Lifecycle,
        clock: Clock,
    ) -> None:
        self._endpoints, self._away, self._exits_unsent = endpoints, away, exits_unsent
        self._positions, self._market_slot = positions, market_slot
        self._lifecycle, self._clock = lifecycle, clock
        self._back_s = 0.0
        self._stood_at: dict[str, Slot] = {}
        """Each node's newest slot when none could be asked."""
        self._market_stood_at: Slot = 0
        self._market_heard = False

    async def look(self) -> None:
        """Read what is known of the nodes and of exits that came due without them, and tell; half a second apart."""
        self.read()
        if self._lifecycle.has(EXITS_FIRST):
            waited_s = self._clock.monotonic_s() - self._back_s
            if not self._exits_to_come() or waited_s >= EXITS_FIRST_S:
                self._lifecycle.clear(EXITS_FIRST)

    def read(self) -> None:
        """Read what is known of the nodes, and tell; as often as anything new is known."""
        endpoints = self._endpoints()
        self._tell_of_other_chains(endpoints)
        away = self._away()
        if away:
            self._stood_at = {e.name: e.slot for e in endpoints}
        if away or (self._lifecycle.has(NO_ENDPOINT) and not self._is_back(endpoints)):
            self._market_stood_at, self._market_heard = self._market_slot(), False
            problems = "; ".join(problem_of(e) for e in endpoints)
            self._lifecycle.tell(NO_ENDPOINT, f"no RPC node may be asked now, exits wait for the first: {problems}")
            self._lifecycle.clear(EXITS_FIRST)
        elif self._lifecycle.has(NO_ENDPOINT):
            self._back_s = self._clock.monotonic_s()
            if self._exits_unsent() or self._positions():  # told before the other is over: nothing slips in between
                self._lifecycle.tell(
                    EXITS_FIRST,
                    f"RPC nodes are back, exits go out first: {EXITS_FIRST_S:.0f} s at most without an entry",
                )
            self._lifecycle.clear(NO_ENDPOINT)

    def _is_back(self, endpoints: Sequence[EndpointStatus]) -> bool:
        """Whether any node was heard since none could be asked."""
        return any(
            e.breaker is not BreakerState.OPEN and (not e.error or e.slot != self._stood_at.get(e.name, 0))
            for e in endpoints
        )

    def _exits_to_come(self) -> bool:
        """Whether exits that came due meanwhile may still have to be claimed or signed."""
        heard_before, self._market_heard = self._market_heard, self._market_slot() != self._market_stood_at
        # What the market's first word brings about is in the ledger by the next look.
        return bool(self._exits_unsent()) or (bool(self._positions()) and not heard_before)

    def _tell_of_other_chains(self, endpoints: Sequence[EndpointStatus]) -> None:
        told = [problem_of(e) for e in endpoints if WrongGenesis.reason in e.error]
        if told:
            self._lifecycle.tell(WrongGenesis.reason, "; ".join(told))
        else:
            self._lifecycle.clear(WrongGenesis.reason)


def held_for_exits(lifecycle: Lifecycle, record: IntentRecord) -> bool:
    """Return whether an intent waits for its attempt because exits go first: an entry, since nodes were away."""
    away = lifecycle.has(NO_ENDPOINT) or lifecycle.has(EXITS_FIRST)
    return record.intent.purpose is Purpose.ENTRY and away


def problem_of(endpoint: EndpointStatus) -> str:
    """Return "name: what is wrong"; most errors begin with the name already."""
    error = endpoint.error or "no answer yet"
    return error if error.startswith(f"{endpoint.name}: ") else f"{endpoint.name}: {error}"
