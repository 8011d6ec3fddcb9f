"""
Ports that were changed by hand, and how to put them right in one write.

To server-side apply a port with another number or protocol is another port: ours comes beside it, and two of one name are
refused. So what stands in the way is replaced by a patch, in place: nothing is deleted, an engine's pods roll once and by their
own strategy, and the template is the one that they ran under before.
"""

from collections.abc import Mapping
from typing import Any

from tradingbot_operator.kube.gateway import Object

Port = Mapping[str, Any]


def put_right(wanted: Object, found: Object) -> dict[str, Any]:
    """
    Return what to put where (JSON pointers) so that our ports can be applied; empty if no port is in their way.

    Ports of others stay if they bear none of our names. A Deployment gets its strategy in the same write: it decides
    whether a second engine may start beside the first.
    """
    if wanted["kind"] == "Service":
        return _changes({"/spec/ports": (wanted["spec"].get("ports"), found["spec"].get("ports"))})
    if wanted["kind"] != "Deployment":
        return {}
    there = found["spec"]["template"]["spec"]["containers"]
    ours = {container["name"]: container for container in wanted["spec"]["template"]["spec"]["containers"]}
    lists = {
        f"/spec/template/spec/containers/{index}/ports": (ours[container["name"]].get("ports"), container.get("ports"))
        for index, container in enumerate(there)
        if container["name"] in ours
    }
    changes = _changes(lists)
    if changes and "strategy" in wanted["spec"]:
        changes["/spec/strategy"] = wanted["spec"]["strategy"]
    return changes


def _changes(lists: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    return {
        pointer: [*ours, *(port for port in there if port.get("name") not in {p.get("name") for p in ours})]
        for pointer, (ours, there) in lists.items()
        if ours and there and any(_in_the_way(port, ours) for port in there)
    }


def _in_the_way(port: Port, ours: list[Port]) -> bool:
    """Whether it bears the name of a port of ours, and is another one."""
    return any(port.get("name") == p.get("name") and _number(port) != _number(p) for p in ours)


def _number(port: Port) -> tuple[Any, str]:
    return (port.get("containerPort", port.get("port")), str(port.get("protocol") or "TCP"))
