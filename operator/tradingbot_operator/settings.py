"""What the operator itself is told, by options or the environment."""

import os
import secrets
import socket
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OperatorSettings:
    """
    Settings of one operator.

    Attributes:
        namespaces: Those it looks after; empty: all.
        operator_namespace: Where it runs, and where its Lease is.
        identity: Unique among operators, the same after a restart of the container: the pod's name.
        engine_image: Image of the engine where a bot names none.
        pull_policy: When the image is pulled where a bot says nothing; None: as Kubernetes decides.
        pull_secrets: Secrets with the registry's credentials, in each bot's namespace.
        scraper_namespaces: Namespaces whose pods may read the engines' metrics.
        cluster_id: A name of this cluster that no other has; None: the uid of the namespace kube-system.
        kubeconfig: File to reach the API server by; None: the pod's own account, or the user's file.
        context: Of the kubeconfig; None: its current one.
        host: Interface of /livez, /readyz and /metrics.
        port: Its port; 0 takes a free one.
        port_file: Where the port is written; None: nowhere.
        engine_timeout_s: Limit of one question to an engine.
        engine_every_s: Time between two questions to an engine.
        numbers_every_s: Live numbers reach the status at most this often. With all that an operator asks for itself (its Lease,
            its watches and lists: some 17 a minute) fifty bots come to less than one request per bot and minute.
        resync_s: Time between two full lists, which find what a watch missed.
    """

    namespaces: tuple[str, ...] = ()
    operator_namespace: str = "tradingbot-system"
    identity: str
    engine_image: str
    pull_policy: str | None = None
    pull_secrets: tuple[str, ...] = ()
    scraper_namespaces: tuple[str, ...] = ()
    cluster_id: str | None = None
    kubeconfig: str | None = None
    context: str | None = None
    host: str = "0.0.0.0"  # noqa: S104  # probes come from the node, metrics from anywhere the NetworkPolicy lets
    port: int = 8080
    port_file: str | None = None
    engine_timeout_s: float = 1.5
    engine_every_s: float = 5.0
    numbers_every_s: float = 100.0
    resync_s: float = 300.0


def own_identity() -> str:
    """Return the pod's name; elsewhere something that no other operator on this machine has."""
    host = os.environ.get("POD_NAME") or (
        os.environ.get("HOSTNAME") if "KUBERNETES_SERVICE_HOST" in os.environ else None
    )
    return host or f"{socket.gethostname()}-{secrets.token_hex(4)}"
