"""
The kopf side: watches fill the store and wake bots, and that is all they do.

Only kopf's indexing and raw-event handlers are used. They write nothing to the cluster: no progress annotations, no "last
handled" copies, no finalizers of kopf's. Indexing serves as the gate: no event is handled before everything was listed once,
so no pass ever looks at half of the cluster.
"""

from collections.abc import Callable, Collection
from typing import Any

import kopf

from tradingbot_operator.handlers.work import Cause
from tradingbot_operator.kube.kinds import TRADING_BOT, WATCHED, Kind
from tradingbot_operator.kube.store import BOT_LABEL, LOCALNET_LABEL, Key, Store

PREFIX = "tradingbot.dev"
MANAGED = "app.kubernetes.io/managed-by=tradingbot-operator"
SERVER_TIMEOUT_S = 290
"""The API server ends a watch after this; it is continued where it was."""
INACTIVE_S = 70.0
"""The API server sends a bookmark every minute: a watch that is silent for longer is dead, and made anew."""


class _NoMemory(kopf.DiffBaseStorage):
    """kopf compares with what it handled last; a level-triggered operator has no such thing, and spares the copying."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: Any) -> Any:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        return None


class _NoProgress(kopf.StatusProgressStorage):
    """No progress is stored anywhere, least of all on children."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


class Watches:
    """
    Watch bots and their children.

    Args:
        store: Filled with what the watches tell.
        wake: Called with the key of a bot when something of it changed, and with what that was.
        relisted: Called with a kind when its watch began anew: what vanished in between is not told by it.
    """

    def __init__(self, *, store: Store, wake: Callable[[Key, Cause], None], relisted: Callable[[Kind], None]) -> None:
        self._store, self._wake, self._relisted = store, wake, relisted
        self.complete = False
        """Whether everything was listed once."""
        self._seen: set[str] = set()

    def registry(self) -> kopf.OperatorRegistry:
        """Return the handlers for kopf."""
        registry = kopf.OperatorRegistry()
        for kind in (TRADING_BOT, *WATCHED):
            self._register(registry, kind)
        return registry

    def _register(self, registry: kopf.OperatorRegistry, kind: Kind) -> None:
        async def index(body: kopf.Body, **_: Any) -> None:
            key = self._store.put(_object(kind, dict(body)))
            if key is not None and self.complete:
                self._tell(dict(body), key)

        async def event(event: kopf.RawEvent, **_: Any) -> None:
            body = _object(kind, dict(event["object"]))
            self.complete = True
            if event["type"] == "DELETED":
                self._seen.discard(body["metadata"]["uid"])
                key = self._store.remove(body)
                if key is not None:
                    self._tell(body, key)
                return
            uid = body["metadata"]["uid"]
            if event["type"] is None and uid in self._seen:
                self._relisted(kind)
            elif uid not in self._seen:
                self._seen.add(uid)
                self._tell(body, _key(body))

        at = (kind.group, kind.version, kind.plural)
        kopf.index(*at, id=f"index-{kind.plural}", registry=registry)(index)
        kopf.on.event(*at, id=f"event-{kind.plural}", registry=registry)(event)

    def _tell(self, body: dict[str, Any], key: Key | None) -> None:
        labels = body["metadata"].get("labels") or {}
        if key is None:
            return
        if LOCALNET_LABEL in labels:
            return  # its bots learn of it by the engines, and put it right at their next pass
        self._wake(key, (body["metadata"]["uid"], body["metadata"]["resourceVersion"]))


def _key(body: dict[str, Any]) -> Key | None:
    meta = body["metadata"]
    if body["kind"] == TRADING_BOT.name:
        return (meta["namespace"], meta["name"])
    owner = (meta.get("labels") or {}).get(BOT_LABEL)
    return (meta["namespace"], owner) if owner else None


def _object(kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    """Elements of lists come without their kind."""
    return {**body, "apiVersion": kind.api_version, "kind": kind.name}


def kopf_settings(namespaces: Collection[str]) -> kopf.OperatorSettings:
    """Return kopf's settings, by the pitfalls that others met."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True  # peering is no lock; a Lease says who acts
    settings.scanning.disabled = True  # no right to list namespaces and definitions is needed
    settings.queueing.worker_limit = None  # each object holds its worker for the idle timeout
    settings.queueing.idle_timeout = 0.5
    settings.watching.server_timeout = SERVER_TIMEOUT_S
    settings.watching.inactivity_timeout = INACTIVE_S
    settings.watching.connect_timeout = 10.0
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 60.0
    settings.persistence.finalizer = f"{PREFIX}/kopf"  # never set: our own finalizer is the plan's
    settings.persistence.diffbase_storage = _NoMemory()
    settings.persistence.progress_storage = _NoProgress(name="tradingbot-operator")
    settings.process.ultimate_exiting_timeout = None
    for kind in WATCHED:
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = MANAGED
    return settings
