"""One bot as the cluster shows it now: a frozen snapshot, which is all that planning and reporting may look at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from tradingbot_operator.engine_port import Address
from tradingbot_operator.engines import Said
from tradingbot_operator.kube.gateway import Object
from tradingbot_operator.kube.kinds import BY_NAME, POD
from tradingbot_operator.kube.store import Stored

FINALIZER = "tradingbot.dev/drain"
"""Holds a bot that is being deleted until nothing of it is open."""
FORCE_DELETE = "tradingbot.dev/force-delete"
"""Annotation: "true" lets a bot go whatever is open."""
COMPONENT = "app.kubernetes.io/component"
ADMIN_PORT_NAME = "admin"
OF_THE_PORT = frozenset({"0.0.0.0", ""})  # noqa: S104  # an address that is none


@dataclass(frozen=True)
class Pod:
    """
    One pod of a bot.

    Attributes:
        name: Its name.
        uid: Its uid.
        component: "engine" or "settle".
        node: Where it runs; "" while it is not scheduled.
        address: Its admin port; None before it has one.
        phase: Kubernetes' phase.
        ready: Whether it can take shards.
        deleting: Whether it is being ended.
        started: Whether a container of it ever ran, so that it may have traded.
        restarts: How often its containers were started again.
        waiting: Why a container does not start: (reason, message); ("", "") if none waits.
        ended: How a container last ended: (reason, exit code, message); ("", 0, "") if none did.
        unscheduled: Why no node takes it; "" if one did.
    """

    name: str
    uid: str
    component: str = "engine"
    node: str = ""
    address: Address | None = None
    phase: str = "Pending"
    ready: bool = False
    deleting: bool = False
    started: bool = False
    restarts: int = 0
    waiting: tuple[str, str] = ("", "")
    ended: tuple[str, int, str] = ("", 0, "")
    unscheduled: str = ""

    @property
    def serves(self) -> bool:
        """Whether its engine may answer: while a pod is set up, and its wallet is funded, nothing of it listens."""
        return self.address is not None and self.phase != "Pending" and not self.over

    @property
    def over(self) -> bool:
        """Whether nothing runs in it any more, and never will."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True)
class Child:
    """An object that belongs to a bot, as the API server holds it."""

    stored: Stored

    @cached_property
    def body(self) -> Object:
        return self.stored.body

    @property
    def id(self) -> tuple[str, str]:
        """Kind and name: unique among the children of one bot."""
        return (self.stored.kind.name, self.stored.name)

    @property
    def owner(self) -> str:
        """Uid of whom it goes with; "" for what has no owner."""
        owners = self.body["metadata"].get("ownerReferences") or ()
        return next((str(owner.get("uid")) for owner in owners if owner.get("controller")), "")

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.body["metadata"]


@dataclass(frozen=True)
class Missing:
    """A value of a Secret that a bot names and that is not there."""

    path: str
    secret: str
    key: str
    whole: bool

    def __str__(self) -> str:
        what = f"Secret {self.secret} does not exist" if self.whole else f"Secret {self.secret} has no key {self.key}"
        return f"{self.path}: {what}"


@dataclass(frozen=True, kw_only=True)
class Observed:
    """
    What there is.

    Attributes:
        now: The wall's clock.
        bot: The TradingBot as the API server holds it.
        children: What belongs to it, by kind and name; Secrets are not among them.
        localnet: What belongs to the localnet that it trades on.
        localnet_users: Names of the bots on that localnet, itself included.
        pods: Its pods.
        said: What its engines last said, by the pod's uid.
        secrets: Secrets of ours that exist: uid by name.
        missing: Values of Secrets that its manifest names, and that are not there.
        namespace_ends: Whether its namespace is being deleted.
        confirmed: `drift.mark` of children (by kind and name) that the API server rewrites.
    """

    now: datetime
    bot: Object
    children: Mapping[tuple[str, str], Child] = field(default_factory=dict)
    localnet: Mapping[tuple[str, str], Child] = field(default_factory=dict)
    localnet_users: frozenset[str] = frozenset()
    pods: tuple[Pod, ...] = ()
    said: Mapping[str, Said] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[Missing, ...] = ()
    namespace_ends: bool = False
    confirmed: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    @property
    def metadata(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.bot["metadata"]
        return found

    @property
    def status(self) -> Mapping[str, Any]:
        return self.bot.get("status") or {}

    @property
    def generation(self) -> int:
        return int(self.metadata.get("generation") or 0)

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.metadata

    @property
    def held(self) -> bool:
        """Whether our finalizer holds it."""
        return FINALIZER in (self.metadata.get("finalizers") or ())

    @property
    def forced(self) -> bool:
        return (self.metadata.get("annotations") or {}).get(FORCE_DELETE) == "true"

    @property
    def engines(self) -> tuple[Pod, ...]:
        """Pods that run an engine, or may."""
        return tuple(pod for pod in self.pods if pod.component == "engine" and not pod.over)

    @property
    def unasked(self) -> bool:
        """Whether an engine that can be asked was not yet: right after the operator's start, what is known still holds."""
        return any(pod.serves and pod.started and pod.uid not in self.said for pod in self.engines)

    def condition(self, name: str) -> Mapping[str, Any]:
        """Return a condition as it stands in the status; empty if it does not."""
        conditions = self.status.get("conditions") or ()
        return next((c for c in conditions if isinstance(c, Mapping) and c.get("type") == name), {})


def children_of(stored: Iterable[Stored]) -> dict[tuple[str, str], Child]:
    """Return children by kind and name; pods stand elsewhere."""
    return {(s.kind.name, s.name): Child(s) for s in stored if s.kind is not POD}


def pods_of(stored: Iterable[Stored]) -> tuple[Pod, ...]:
    """Return the pods among stored objects, by name."""
    return tuple(sorted((pod_of(s.body) for s in stored if s.kind is BY_NAME["Pod"]), key=lambda pod: pod.name))


def pod_of(body: Object) -> Pod:
    """Return a pod of the API in the few words that matter here."""
    meta, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled") or {}
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        component=(meta.get("labels") or {}).get(COMPONENT, "engine"),
        node=spec.get("nodeName") or "",
        address=_address(spec, status),
        phase=status.get("phase") or "Pending",
        ready=(conditions.get("Ready") or {}).get("status") == "True",
        deleting="deletionTimestamp" in meta,
        started=any(_started(container) for container in containers),
        restarts=sum(int(container.get("restartCount") or 0) for container in containers),
        waiting=next((found for container in containers if (found := _waiting(container))[0]), ("", "")),
        ended=next((end for container in containers if (end := _ended(container))[0]), ("", 0, "")),
        unscheduled=str(scheduled.get("message") or "") if scheduled.get("status") == "False" else "",
    )


def _address(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Address | None:
    host = status.get("podIP") or ""
    ports = [port for container in spec.get("containers") or () for port in container.get("ports") or ()]
    number = next((port["containerPort"] for port in ports if port.get("name") == ADMIN_PORT_NAME), None)
    return None if host in OF_THE_PORT or number is None else Address(host, number)


def _started(container: Mapping[str, Any]) -> bool:
    state, last = container.get("state") or {}, container.get("lastState") or {}
    ran = "running" in state or "terminated" in state or "terminated" in last
    return ran or bool(container.get("restartCount"))


def _waiting(container: Mapping[str, Any]) -> tuple[str, str]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason = str(waiting.get("reason") or "")
    return (
        ("", "")
        if reason in ("", "ContainerCreating", "PodInitializing")
        else (reason, str(waiting.get("message") or ""))
    )


def _ended(container: Mapping[str, Any]) -> tuple[str, int, str]:
    for state in (container.get("state") or {}, container.get("lastState") or {}):
        ended = state.get("terminated") or {}
        if ended.get("reason") and ended.get("reason") != "Completed":
            return (str(ended["reason"]), int(ended.get("exitCode") or 0), str(ended.get("message") or ""))
    return ("", 0, "")
