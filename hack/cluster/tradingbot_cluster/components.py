"""Parts of the control plane, and of a node, stopped and started while the cluster runs."""

from __future__ import annotations

import time

from tradingbot_cluster.cluster import Cluster
from tradingbot_cluster.errors import ClusterError, Failed

MANIFESTS = "/etc/kubernetes/manifests"
ASIDE = "/etc/kubernetes/stopped"
PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""Run by the kubelet from manifests."""
SERVICES = ("kubelet", "containerd", "pod-network", "pod-volumes")
"""Run by the node's systemd."""
COMPONENTS = (*PODS, *SERVICES)
BACK_WITHIN_S = 120.0
ANSWERS_IN_A_ROW = 3


def _signal(name: str, signal: str) -> list[str]:
    """Return the command that signals a component, within its node's own process namespace."""
    return ["pkill", f"-{signal}", "--full", f"^(/usr/local/bin/)?{name}( |$)"]


def stop_commands(name: str, *, hang: bool) -> list[list[str]]:
    """
    Return the commands, for its node, that stop a component.

    Args:
        name: One of COMPONENTS.
        hang: It stays there and answers nothing, as a process on an overloaded machine; otherwise it is killed and stays away.
    """
    if hang:
        return [_signal(name, "STOP")]
    if name in PODS:
        move = [
            "sh",
            "-c",
            f"mkdir -p {ASIDE} && [ ! -e {MANIFESTS}/{name}.yaml ] || mv {MANIFESTS}/{name}.yaml {ASIDE}/",
        ]
        # The kubelet would give it its time to end; what is broken breaks at once.
        return [move, ["sh", "-c", " ".join(f"'{word}'" for word in _signal(name, "KILL")) + " || true"]]
    return [["systemctl", "stop", name]]


def start_commands(name: str) -> list[list[str]]:
    """Return the commands, for its node, that undo either kind of stop."""
    awake = ["sh", "-c", " ".join(f"'{word}'" for word in _signal(name, "CONT")) + " || true"]
    if name in PODS:
        return [awake, ["sh", "-c", f"[ ! -e {ASIDE}/{name}.yaml ] || mv {ASIDE}/{name}.yaml {MANIFESTS}/"]]
    return [awake, ["systemctl", "start", name]]


def node_of(cluster: Cluster, name: str, node: str | None) -> str:
    """
    Return the container of the node that a component runs on: the control plane, unless a node is named.

    Raises:
        ClusterError: There is no such node, or the component runs on the control plane only.
    """
    nodes = cluster.engine().nodes(cluster.name)
    control_plane = f"{cluster.name}-control-plane"
    if node is not None and node not in nodes:
        raise ClusterError(f"no node {node!r} in cluster {cluster.name!r}; there are: {', '.join(nodes)}")
    if node not in (None, control_plane) and name in PODS:
        raise ClusterError(f"{name} runs on {control_plane} only")
    return node or control_plane


def stop(cluster: Cluster, name: str, *, node: str | None, hang: bool) -> None:
    """Stop a component; it stays stopped until `start`."""
    on = node_of(cluster, name, node)
    for command in stop_commands(name, hang=hang):
        cluster.engine().docker("exec", on, *command)


def start(cluster: Cluster, name: str, *, node: str | None) -> None:
    """
    Start a stopped component, and wait until the API server answers from its store, several times in a row.

    Raises:
        Failed: It does not, for long.
    """
    on = node_of(cluster, name, node)
    for command in start_commands(name):
        cluster.engine().docker("exec", on, *command)
    deadline = time.monotonic() + BACK_WITHIN_S
    answered = 0
    while name in ("etcd", "kube-apiserver") and answered < ANSWERS_IN_A_ROW:
        try:
            cluster.kubectl("get", "namespaces", "--output=name", "--request-timeout=5s", timeout_s=15)
            answered += 1
        except Failed:
            answered = 0  # what piled up meanwhile can keep it from answering once more
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)
