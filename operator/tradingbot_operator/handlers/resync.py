"""
Full lists now and then: they find what a watch missed, and prove that the watches are alive.

A watch that begins anew tells of everything that is there and of nothing that vanished meanwhile; and one that hangs tells
nothing at all. So each kind is listed every few minutes (a dozen requests for any number of bots), or at once after a watch
began anew. What a list shows and the watch does not tell within its grace is a stale watch: /livez says so, and the kubelet
starts the operator again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from tradingbot_operator.clock import Clock
from tradingbot_operator.handlers.watches import MANAGED
from tradingbot_operator.kube.errors import KubeError
from tradingbot_operator.kube.gateway import Gateway
from tradingbot_operator.kube.kinds import TRADING_BOT, WATCHED, Kind
from tradingbot_operator.kube.store import Key, Store

_log = logging.getLogger(__name__)
GRACE_S = 30.0
"""How long after a list the watch may take to tell the same."""
SOON_S = 1.0
"""A kind whose watch began anew is listed after this: all of its objects come at once."""


class Resync:
    """
    List every kind again and again.

    Args:
        gateway: The API server.
        store: What the watches told.
        namespaces: Those that are watched; (None,) is the whole cluster.
        every_s: Time between two lists of a kind.
        wake: Called with the key of each bot of which something changed.
        clock: The clocks.
        missed: Called with kind and seconds when a watch turns out stale, with 0 when it is not (any more).
    """

    def __init__(
        self,
        *,
        gateway: Gateway,
        store: Store,
        namespaces: Sequence[str | None],
        every_s: float,
        wake: Callable[[Key], None],
        clock: Clock,
        missed: Callable[[Kind, float], None],
    ) -> None:
        self._gateway, self._store, self._namespaces, self._every_s = gateway, store, namespaces, every_s
        self._wake, self._clock, self._missed = wake, clock, missed
        self._soon: set[Kind] = set()
        self._hurry = asyncio.Event()
        self._stale_since: dict[Kind, float] = {}

    @property
    def stale_s(self) -> float:
        """How long the worst watch has been stale; 0 while all are well."""
        if not self._stale_since:
            return 0.0
        return self._clock.monotonic_s() - min(self._stale_since.values())

    def soon(self, kind: Kind) -> None:
        """List a kind shortly."""
        self._soon.add(kind)
        self._hurry.set()

    async def run(self) -> None:
        """List for ever."""
        kinds = (TRADING_BOT, *WATCHED)
        pause_s = self._every_s / len(kinds)
        turn = 0
        while True:
            try:
                await asyncio.wait_for(self._hurry.wait(), pause_s)
                self._hurry.clear()
                await asyncio.sleep(SOON_S)
                due, self._soon = self._soon, set()
            except TimeoutError:
                due, turn = {kinds[turn % len(kinds)]}, turn + 1
            for kind in due:
                await self.look(kind)

    async def nothing_there(self) -> bool:
        """Whether there is no object at all that a watch could tell of; raise KubeError."""
        for kind in (TRADING_BOT, *WATCHED):
            labels = "" if kind is TRADING_BOT else MANAGED
            for namespace in self._namespaces:
                if await self._gateway.list(kind, namespace, labels=labels, metadata_only=True):
                    return False
        return True

    async def look(self, kind: Kind) -> None:
        """List one kind; the watch has `GRACE_S` to tell what the list shows before that is taken from the list."""
        try:
            for namespace in self._namespaces:
                await self._look(kind, namespace)
        except KubeError as error:
            _log.warning("the list of %s failed: %s", kind.plural, error)

    async def _look(self, kind: Kind, namespace: str | None) -> None:
        before = self._store.versions(kind, namespace)
        labels = "" if kind is TRADING_BOT else MANAGED
        bodies = await self._gateway.list(kind, namespace, labels=labels)
        listed = {body["metadata"]["uid"]: body["metadata"]["resourceVersion"] for body in bodies}
        if self._behind(kind, namespace, listed, before):
            await asyncio.sleep(GRACE_S)
            if self._behind(kind, namespace, listed, before):
                self._stale_since.setdefault(kind, self._clock.monotonic_s() - GRACE_S)
                self._missed(kind, self.stale_s)
                _log.error("the watch of %s is stale: a list shows what it did not tell", kind.plural)
                for key in self._store.replace(kind, namespace, bodies, known=before):
                    self._wake(key)
                return
        if kind in self._stale_since:
            del self._stale_since[kind]
            self._missed(kind, 0.0)

    def _behind(self, kind: Kind, namespace: str | None, listed: dict[str, str], before: dict[str, str]) -> bool:
        """Whether the store lacks what the list showed, or still holds what was there before and is not in the list."""
        known = self._store.versions(kind, namespace)
        lacking = any(
            int(known.get(uid, "0")) < int(version)
            for uid, version in listed.items()
            if uid in known or uid not in before
        )
        vanished = any(uid in known for uid in before if uid not in listed)
        return lacking or vanished
