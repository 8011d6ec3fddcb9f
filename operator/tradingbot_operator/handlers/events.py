"""Kubernetes Events: what a person should know, said once when it begins and once when it is over."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from tradingbot_operator.clock import Clock
from tradingbot_operator.kube.errors import AlreadyExists, KubeError
from tradingbot_operator.kube.gateway import FIELD_MANAGER, Gateway, Object
from tradingbot_operator.kube.kinds import EVENT, TRADING_BOT

NEWS = {
    "Ready": ("True", "False"), "Degraded": ("True", "False"), "Trading": ("True", "False"),
    "Drained": ("True", "False"), "Drifted": ("True",),
}  # fmt: skip
"""Which conditions are told, at which statuses; the others move too often to be news."""
QUIET = frozenset({("Trading", "Starting"), ("Ready", "NoPod"), ("Drained", "Running")})
STARTING = frozenset({("Trading", "NoPod"), ("Ready", "PodNotReady")})
"""News of a bot that was further before; no news of one that starts."""
MESSAGE_CHARS = 1000


def changes(old: Mapping[str, Any], new: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the conditions whose status or reason is news, compared with the status as it stands in the cluster."""
    before = {c.get("type"): (c.get("status"), c.get("reason")) for c in old.get("conditions") or ()}
    out = []
    for condition in new:
        kind, now = condition["type"], (condition["status"], condition["reason"])
        first_and_good = kind not in before and condition["reason"] in ("AsExpected", "InSync", "Running")
        if now == before.get(kind) or first_and_good or now[0] not in NEWS.get(kind, ()):
            continue
        starts = (kind, condition["reason"]) in STARTING and before.get(kind, ("", ""))[0] != "True"
        if (kind, condition["reason"]) not in QUIET and not starts:
            out.append(condition)
    return out


class Events:
    """
    Post Events about bots.

    An Event's name is made of what it says and of the transition's time, so that an operator which died before it wrote the
    status posts the same one again, and the API server keeps one.
    """

    def __init__(self, *, gateway: Gateway, clock: Clock, identity: str) -> None:
        self._gateway, self._clock, self._identity = gateway, clock, identity

    async def post(self, bot: Object, condition: Mapping[str, Any]) -> None:
        """Post one; a failure is nobody's trouble, the condition says the same."""
        meta = bot["metadata"]
        bad = condition["type"] == "Degraded" and condition["status"] == "True"
        bad = bad or (condition["type"] == "Trading" and condition["reason"] == "Halted")
        words = (
            meta["uid"],
            condition["type"],
            condition["reason"],
            condition["message"],
            condition["lastTransitionTime"],
        )
        name = f"{meta['name']}.{hashlib.sha256('|'.join(map(str, words)).encode()).hexdigest()[:16]}"
        at = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": TRADING_BOT.api_version,
                "kind": TRADING_BOT.name,
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
                "resourceVersion": meta["resourceVersion"],
            },
            "type": "Warning" if bad else "Normal",
            "reason": condition["reason"],
            "message": f"{condition['type']} is {condition['status']}. {condition['message']}".strip()[:MESSAGE_CHARS],
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._identity,
        }
        try:
            await self._gateway.create(body)
        except (AlreadyExists, KubeError):
            return
