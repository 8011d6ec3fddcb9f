"""Addresses for this node's pods, and the way to the pods of the others."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pod_network.selectors import Json

CNI = Path("/etc/cni/net.d/10-pods.conflist")
TABLE = "ip pod_network"


@dataclass(frozen=True)
class Node:
    """A node that has its part of the pods' range."""

    name: str
    address: str
    pods: str
    """Its pods' range, such as 10.244.1.0/24."""

    @classmethod
    def of(cls, item: Json) -> Node | None:
        """Return the node, None while it has no range or address."""
        addresses = {a["type"]: a["address"] for a in item.get("status", {}).get("addresses") or []}
        pods = item.get("spec", {}).get("podCIDR")
        return (
            cls(item["metadata"]["name"], addresses["InternalIP"], pods) if pods and "InternalIP" in addresses else None
        )


def cni_config(pods: str) -> str:
    """
    Return the configuration by which the container runtime connects pods.

    Each pod is a host of its own behind a pair of interfaces, so that every packet between two pods is routed by the node, and
    can be filtered there; on a bridge, neighbours would pass the filter by.
    """
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni-addresses",
        "ranges": [[{"subnet": pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}, indent=2) + "\n"


def masquerade(pods: str) -> str:
    """Return the script for `nft -f` that gives only what leaves the cluster the node's address; `pods` is the range of all pods."""
    rule = f"ip saddr {pods} ip daddr != {pods} masquerade"
    chain = f"  chain out {{\n    type nat hook postrouting priority srcnat;\n    {rule}\n  }}\n"
    return f"table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n{chain}}}\n"


def commands(nodes: Sequence[Node], me: str, *, known: dict[str, str]) -> list[list[str]]:
    """
    Return the commands that set the routes to all other nodes' pods, and take away those of nodes that are gone.

    Args:
        nodes: All nodes.
        me: This node's name.
        known: Gateway by range as set before; brought up to date.
    """
    wanted = {node.pods: node.address for node in nodes if node.name != me}
    gone = [["ip", "route", "del", pods] for pods in known.keys() - wanted.keys()]
    new = [
        ["ip", "route", "replace", pods, "via", via] for pods, via in sorted(wanted.items()) if known.get(pods) != via
    ]
    known.clear()
    known.update(wanted)
    return gone + new


def apply(script: str) -> None:
    """
    Let nftables carry out a script, all of it or nothing.

    Raises:
        subprocess.CalledProcessError: It refused.
    """
    subprocess.run(["nft", "-f", "-"], input=script.encode(), check=True)
