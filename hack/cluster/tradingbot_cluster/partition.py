"""Nodes cut off from what they need, by rules of nftables in the node's own network namespace."""

from __future__ import annotations

from tradingbot_cluster.cluster import Cluster
from tradingbot_cluster.components import node_of

TABLE = "inet partition"
PORTS = {"api": "6443", "db": "5432", "rpc": "8899-8999"}
"""TCP ports by what a node can be cut off from: the API server, PostgreSQL, localnet's nodes."""
TARGETS = (*PORTS, "all")
# After kube-proxy's translation of Services' addresses, before the policies' verdicts.
PRIORITY = "filter - 5"


def rules(target: str, pods: str) -> list[str]:
    """
    Return the drops, as `CHAIN RULE`, that cut a node off: the node itself and all its pods.

    Args:
        target: One of TARGETS. `all` is everything beyond the node; its pods still reach each other.
        pods: Range of the node's own pods. What they send is dropped, not what is sent to them: the others are not cut off.
    """
    if target == "all":
        return [
            "input iifname eth0 drop",
            "output oifname eth0 drop",
            "forward iifname eth0 drop",
            "forward oifname eth0 drop",
        ]
    to = f"tcp dport {PORTS[target]} drop"
    # Connections made before are dropped with the new ones: nothing here looks at their state.
    return [f"output {to}", f"forward ip saddr {pods} {to}", f"input ip saddr {pods} {to}"]


def script(targets: set[str], pods: str) -> str:
    """Return the script for `nft -f` that cuts a node off from exactly these targets; from none, it is whole."""
    clear = f"table {TABLE}\ndelete table {TABLE}\n"
    if not targets:
        return clear
    lines = [rule.split(" ", 1) for target in sorted(targets) for rule in rules(target, pods)]
    chains = [
        f"  chain {hook} {{\n    type filter hook {hook} priority {PRIORITY}; policy accept;\n"
        + "".join(f"    {rule}\n" for chain, rule in lines if chain == hook)
        + "  }\n"
        for hook in ("input", "forward", "output")
    ]
    return f"{clear}table {TABLE} {{\n{''.join(chains)}}}\n"


def partition(cluster: Cluster, node: str, target: str) -> None:
    """Cut a node off from a target, too; heal undoes all."""
    name = node_of(cluster, "kubelet", node)
    engine = cluster.engine()
    record = "/run/partition"
    said = engine.docker("exec", name, "sh", "-c", f"cat {record} 2>/dev/null || true").split()
    pods = cluster.kubectl("get", "node", name, "--output=jsonpath={.spec.podCIDR}").strip()
    targets = {*said, target}
    engine.docker("exec", "--interactive", name, "nft", "-f", "-", text_in=script(targets, pods))
    engine.docker("exec", name, "sh", "-c", f"echo {' '.join(sorted(targets))} >{record}")


def heal(cluster: Cluster, node: str) -> None:
    """Undo every partition of a node."""
    name = node_of(cluster, "kubelet", node)
    engine = cluster.engine()
    engine.docker("exec", "--interactive", name, "nft", "-f", "-", text_in=script(set(), ""))
    engine.docker("exec", name, "rm", "-f", "/run/partition")
