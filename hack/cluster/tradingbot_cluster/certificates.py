"""The keys and certificates of a control plane, made by kubeadm, which knows them all."""

from __future__ import annotations

from pathlib import Path

import yaml

from tradingbot_cluster.commands import run

ADDRESS_OF_DOCUMENTATION = "192.0.2.1"
"""RFC 5737: stands where kubeadm insists on an address that is not loopback; nothing listens there."""


def make_certificates(kubebox: Path, folder: Path, *, version: str, port: int, service_range: str) -> None:
    """
    Make everything that etcd, an API server on 127.0.0.1 and their clients prove themselves by.

    Args:
        kubebox: Kubernetes in one binary.
        folder: Gets `pki/` and the kubeconfig files `super-admin.conf` (may do everything) and `controller-manager.conf`.
        version: Of Kubernetes; given so that kubeadm does not look for one on the internet.
        port: Of the API server, for the kubeconfig files.
        service_range: Its first address is the API server's within the cluster.
    """
    pki = folder / "pki"
    init = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": ADDRESS_OF_DOCUMENTATION, "bindPort": port},
        "nodeRegistration": {"name": "localhost", "criSocket": "unix:///run/none.sock"},
    }
    cluster = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "kubernetesVersion": version,
        "certificatesDir": str(pki),
        "controlPlaneEndpoint": f"127.0.0.1:{port}",
        "encryptionAlgorithm": "ECDSA-P256",  # made in a moment, where RSA takes seconds
        "networking": {"serviceSubnet": service_range},
        "apiServer": {"certSANs": ["127.0.0.1", "localhost"]},
        "etcd": {"local": {"serverCertSANs": ["127.0.0.1", "localhost"]}},
    }
    config = folder / "kubeadm.yaml"
    config.write_text(yaml.safe_dump_all([init, cluster]))
    run(kubebox, "kubeadm", "init", "phase", "certs", "all", "--config", config)
    for name in ("super-admin", "controller-manager"):
        run(kubebox, "kubeadm", "init", "phase", "kubeconfig", name, "--config", config, "--kubeconfig-dir", folder)
        # kubeadm lets parts of the control plane go to the advertised address, past any load balancer.
        path = folder / f"{name}.conf"
        path.write_text(
            path.read_text().replace(f"https://{ADDRESS_OF_DOCUMENTATION}:{port}", f"https://127.0.0.1:{port}")
        )
