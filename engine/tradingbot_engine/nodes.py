"""Watches over the RPC nodes as a whole: may any be asked, and does each serve our chain?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tradingbot_engine.clock import Clock
from tradingbot_engine.errors import WrongGenesis
from tradingbot_engine.lifecycle import NO_ENDPOINT, Lifecycle
from tradingbot_engine.rpc.endpoint import EndpointStatus

EXITS_FIRST_S = 5.0
"""How long entries wait at most, after the nodes are back, for the exits that came due meanwhile to be signed."""


class NodeWatch:
    """
    Tells why no signal may be traded while no node may be asked, and of nodes that serve another chain.

    The pool's own health watch asks the nodes; this one reads what is known. When a node is back, exits go first: the
    reason that holds entries is taken back only once none is left without an attempt.
    """

    def __init__(
        self,
        *,
        endpoints: Callable[[], Sequence[EndpointStatus]],
        serving: Callable[[], bool],
        exits_unsent: Callable[[], int],
        lifecycle: Lifecycle,
        clock: Clock,
    ) -> None:
        self._endpoints, self._serving, self._exits_unsent = endpoints, serving, exits_unsent
        self._lifecycle, self._clock = lifecycle, clock
        self._back_s: float | None = None

    @property
    def away(self) -> bool:
        """Whether no node may be asked now: no attempt is made then, and none given up for it."""
        return not self._serving()

    async def look(self) -> None:
        """Read what is known of the nodes, and tell."""
        endpoints = self._endpoints()
        self._tell_of_other_chains(endpoints)
        if self.away:
            self._back_s = None
            problems = "; ".join(f"{e.name}: {e.error or 'no answer'}" for e in endpoints)
            self._lifecycle.tell(NO_ENDPOINT, f"no RPC node may be asked now, exits wait for the first: {problems}")
        elif self._lifecycle.has(NO_ENDPOINT):
            now_s = self._clock.monotonic_s()
            self._back_s = self._back_s if self._back_s is not None else now_s
            if not self._exits_unsent() or now_s - self._back_s >= EXITS_FIRST_S:
                self._lifecycle.clear(NO_ENDPOINT)

    def _tell_of_other_chains(self, endpoints: Sequence[EndpointStatus]) -> None:
        told = [f"{e.name}: {e.error}" for e in endpoints if WrongGenesis.reason in e.error]
        if told:
            self._lifecycle.tell(WrongGenesis.reason, "; ".join(told))
        else:
            self._lifecycle.clear(WrongGenesis.reason)
