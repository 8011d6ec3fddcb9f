"""Which of several operators acts: the one that holds a Lease. A second one, started by mistake, watches and changes nothing."""

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

from tradingbot_operator.kube.errors import Conflict, KubeError, NotFound
from tradingbot_operator.kube.gateway import Gateway, Object
from tradingbot_operator.kube.kinds import LEASE

DURATION_S = 15
"""A record that nobody renewed for so long may be taken over."""
GIVE_UP_S = 10
"""A holder that could not renew for so long acts no more: well before anybody else may."""
RENEW_S = 5
RELEASE_S = 1.0
"""An API server that is away must not keep an operator from ending."""
NAME = "tradingbot-operator"


class Leadership:
    """
    Hold the Lease, or wait for it; call `step` every few seconds.

    Another's record counts as expired only after we have ourselves seen it unchanged for its whole duration: clocks of other
    machines are never compared with ours.

    Args:
        gateway: The API server.
        namespace: Where the operator runs.
        identity: Unique, and the same after a restart of the container: the pod's name.
        monotonic_s: A clock that only goes forward, in seconds.
        now: The wall's clock, for people who read the Lease.
    """

    def __init__(
        self,
        *,
        gateway: Gateway,
        namespace: str,
        identity: str,
        monotonic_s: Callable[[], float],
        now: Callable[[], datetime.datetime],
    ) -> None:
        self._gateway, self._namespace, self._identity = gateway, namespace, identity
        self._monotonic_s, self._now = monotonic_s, now
        self._renewed_s: float | None = None
        self._seen: tuple[str, float] | None = None
        self._mine: Object | None = None
        self.holder = ""
        """Who holds it, as last seen; "" while nobody does."""
        self.terms = 0
        """
        How often it began to lead, anew after a renewal that came too late included.

        Nobody did meanwhile what was due then: whoever leads looks at everything with each term.
        """

    @property
    def leads(self) -> bool:
        """Whether this operator may change anything now."""
        return self._renewed_s is not None and self._monotonic_s() - self._renewed_s < GIVE_UP_S

    async def step(self) -> None:
        """Take, renew or watch the Lease; raise KubeError if the API server does not let us."""
        asked_s = self._monotonic_s()
        if self.leads and self._mine is not None and await self._renewed(self._mine):
            self._begin(asked_s)
            return
        self._mine = None
        found = await self._gateway.get(LEASE, self._namespace, NAME)
        try:
            if found is None:
                mine = await self._gateway.create(self._record(None))
            elif self._may_take(found):
                mine = await self._gateway.replace(self._record(found))
            else:
                self._renewed_s = None
                return
        except Conflict:
            return  # somebody was faster: the next look tells who
        self._mine = mine
        self._begin(asked_s)

    def _begin(self, asked_s: float) -> None:
        """Lead from the moment on at which the renewal was asked for."""
        if not self.leads:  # for the first time, or its answer came too late
            self.terms += 1
        self.holder, self._renewed_s = self._identity, asked_s

    async def _renewed(self, mine: Object) -> bool:
        """Renew what is as we left it, by one request; return False if somebody touched it since."""
        try:
            self._mine = await self._gateway.replace(self._record(mine))
        except (Conflict, NotFound):
            return False
        return True

    async def release(self) -> None:
        """Let the next operator begin at once; a failure only makes it wait."""
        if not self.leads:
            return
        self._renewed_s = None
        try:
            async with asyncio.timeout(RELEASE_S):
                await self._let_go()
        except (KubeError, TimeoutError):
            return

    async def _let_go(self) -> None:
        found = await self._gateway.get(LEASE, self._namespace, NAME)
        if found is not None and (found.get("spec") or {}).get("holderIdentity") == self._identity:
            await self._gateway.replace({**found, "spec": {**found["spec"], "holderIdentity": ""}})

    def _may_take(self, found: Object) -> bool:
        spec = found.get("spec") or {}
        self.holder = str(spec.get("holderIdentity") or "")
        if self.holder in ("", self._identity):
            return True
        version, now_s = found["metadata"]["resourceVersion"], self._monotonic_s()
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now_s)
        return now_s - self._seen[1] > int(spec.get("leaseDurationSeconds") or DURATION_S)

    def _record(self, found: Object | None) -> dict[str, Any]:
        old = (found or {}).get("spec") or {}
        at = self._now().astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = old.get("holderIdentity") == self._identity
        transitions = int(old.get("leaseTransitions") or 0) + (0 if mine or found is None else 1)
        metadata = dict(found["metadata"]) if found else {"name": NAME, "namespace": self._namespace}
        metadata.pop("managedFields", None)
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.name,
            "metadata": metadata,
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": DURATION_S,
                "acquireTime": old.get("acquireTime", at) if mine else at,
                "renewTime": at,
                "leaseTransitions": transitions,
            },
        }
