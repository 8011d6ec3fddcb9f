"""NetworkPolicies as rules of nftables: a pure function of what the API server lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from pod_network.selectors import Json, selects

TABLE = "inet network_policies"


@dataclass(frozen=True)
class Pod:
    """What policies see of a pod that has an address of its own."""

    namespace: str
    name: str
    address: str
    node: str
    labels: Mapping[str, str]
    ports: Mapping[tuple[str, str], int]
    """Number by protocol and name."""

    @classmethod
    def of(cls, item: Json) -> Pod | None:
        """Return the pod, None if it has no address of its own: the host's network, not started, or ended."""
        spec: Json = item["spec"]
        status: Json = item.get("status") or {}
        address = status.get("podIP")
        if spec.get("hostNetwork") or not address or ":" in address or status.get("phase") in {"Succeeded", "Failed"}:
            return None
        named = {
            (port.get("protocol", "TCP").lower(), port["name"]): int(port["containerPort"])
            for container in spec["containers"]
            for port in container.get("ports") or []
            if port.get("name")
        }
        meta = item["metadata"]
        return cls(meta["namespace"], meta["name"], address, spec.get("nodeName", ""), meta.get("labels") or {}, named)


@dataclass(frozen=True)
class World:
    """What the rules are made from."""

    policies: Sequence[Json]
    pods: Sequence[Pod]
    namespaces: Mapping[str, Mapping[str, str]]
    """Labels by name."""


def ruleset(world: World, node: str) -> str:
    """
    Return the script for `nft -f` that lets this node's pods reach, and be reached by, only what the policies allow.

    What the node itself sends to its pods (probes) is never held up. Packets of connections that were allowed go on.
    A verdict map leads from a pod's address to a chain of its own: what is allowed returns from it, the rest is dropped.
    """
    chains: list[str] = []
    maps: dict[str, list[str]] = {"ingress": [], "egress": []}
    for number, pod in enumerate(
        sorted((p for p in world.pods if p.node == node), key=lambda p: (p.namespace, p.name))
    ):
        for direction, elements in maps.items():
            isolating = [policy for policy in world.policies if _applies(policy, pod, direction)]
            if isolating:
                name = f"{direction}-{number}"
                rules = [rule for policy in isolating for rule in _allowed(policy, pod, direction, world)]
                chains.append(
                    _chain(name, [*dict.fromkeys(rules), "counter drop"], comment=f"{pod.namespace}/{pod.name}")
                )
                elements.append(f"{pod.address} : jump {name}")
    going_on = "ct state established,related accept"
    outward = _vmap("ip saddr", maps["egress"])
    inward = _vmap("ip daddr", maps["ingress"])
    hooks = [
        _chain("forward", ["type filter hook forward priority filter; policy accept;", going_on, *outward, *inward]),
        # To the node itself, the API server on a control plane for one: it passes no forwarding.
        _chain("input", ["type filter hook input priority filter; policy accept;", going_on, *outward]),
    ]
    body = "\n".join([*chains, *hooks])
    return f"table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n{body}\n}}\n"


def _chain(name: str, rules: Iterable[str], *, comment: str = "") -> str:
    head = f"  # {comment}\n" if comment else ""
    return f"{head}  chain {name} {{\n" + "".join(f"    {rule}\n" for rule in rules) + "  }"


def _vmap(field: str, elements: Sequence[str]) -> list[str]:
    return [f"{field} vmap {{ {', '.join(elements)} }}"] if elements else []


def _applies(policy: Json, pod: Pod, direction: str) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return (
        direction.capitalize() in types
        and policy["metadata"]["namespace"] == pod.namespace
        and selects(spec.get("podSelector") or {}, pod.labels)
    )


def _allowed(policy: Json, pod: Pod, direction: str, world: World) -> Iterator[str]:
    """Yield the rules that return for what one policy lets the pod do in one direction."""
    far = "ip saddr" if direction == "ingress" else "ip daddr"
    for rule in policy["spec"].get(direction) or []:
        peers = rule.get("from" if direction == "ingress" else "to") or []
        blocks = [block for peer in peers if (block := peer.get("ipBlock"))]
        pods = [p for p in world.pods if any(_is_peer(p, peer, policy, world) for peer in peers)]
        for port in rule.get("ports") or [None]:
            if port is not None and isinstance(port.get("port"), str):
                yield from _named(port, far, pod, direction, peers, blocks, pods if peers else world.pods)
                continue
            match = _port(port)
            if not peers:
                yield f"{match} return".strip()
            for block in blocks:
                yield f"{far} {_block(far, block)} {match} return".replace("  ", " ")
            if pods:
                yield f"{far} {_set(p.address for p in pods)} {match} return".replace("  ", " ")


def _named(
    port: Json, far: str, pod: Pod, direction: str, peers: Sequence[Json], blocks: Sequence[Json], pods: Sequence[Pod]
) -> Iterator[str]:
    """Yield rules for a port given by name: the name is looked up at the pod that is reached."""
    key = (port.get("protocol", "TCP").lower(), port["port"])
    if direction == "egress":
        for peer in pods:
            if key in peer.ports:
                yield f"{far} {peer.address} {key[0]} dport {peer.ports[key]} return"
        return
    if key not in pod.ports:
        return
    match = f"{key[0]} dport {pod.ports[key]}"
    if not peers:
        yield f"{match} return"
    for block in blocks:
        yield f"{far} {_block(far, block)} {match} return"
    if peers and pods:
        yield f"{far} {_set(p.address for p in pods)} {match} return"


def _is_peer(pod: Pod, peer: Json, policy: Json, world: World) -> bool:
    if "ipBlock" in peer:
        return False
    in_namespaces = peer.get("namespaceSelector")
    if in_namespaces is None:
        near = pod.namespace == policy["metadata"]["namespace"]
    else:
        near = selects(in_namespaces, world.namespaces.get(pod.namespace, {}))
    return near and selects(peer.get("podSelector") or {}, pod.labels)


def _port(port: Json | None) -> str:
    """Return the match for a port given by number, for all of a protocol, or for everything (None)."""
    if port is None:
        return ""
    protocol = port.get("protocol", "TCP").lower()
    first: Any = port.get("port")
    if first is None:
        return f"meta l4proto {protocol}"
    last = port.get("endPort")
    return f"{protocol} dport {first}" + (f"-{last}" if last and last != first else "")


def _block(far: str, block: Json) -> str:
    """Return the match for a range of addresses less its exceptions; IPv6 never matches here."""
    if ip_network(block["cidr"], strict=False).version == 6:
        return "{ 0.0.0.0 }"
    without = [n for n in block.get("except") or [] if ip_network(n, strict=False).version == 4]
    return str(ip_network(block["cidr"], strict=False)) + (f" {far} != {_set(without)}" if without else "")


def _set(values: Iterable[str]) -> str:
    return "{ " + ", ".join(sorted(set(values))) + " }"
