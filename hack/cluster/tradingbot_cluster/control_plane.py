"""
An API server alone: etcd, kube-apiserver and, if wanted, kube-controller-manager as plain processes on free ports of 127.0.0.1.

No nodes, so nothing runs in it; but everything that is asked of an API server is answered by a real one: schemas, defaults, CEL,
server-side apply, watches, RBAC. It needs no root, ends with the process that started it, and is ready within seconds.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tradingbot_cluster.certificates import ADDRESS_OF_DOCUMENTATION, make_certificates
from tradingbot_cluster.daemons import Daemons
from tradingbot_cluster.errors import Failed
from tradingbot_cluster.programs import KUBERNETES

SERVICE_RANGE = "10.96.0.0/16"
READY_WITHIN_S = 120.0
"""Finds what hangs; on an idle machine it takes 3 s."""


def free_ports(count: int) -> list[int]:
    """Return different TCP ports of 127.0.0.1 that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in sockets]


@dataclass(kw_only=True)
class ControlPlane(Daemons):
    """A running API server and what belongs to it; keys and data are in its folder, too."""

    kubebox: Path
    port: int
    etcd_port: int
    etcd_peer_port: int
    apiserver_arguments: Sequence[str] = ()

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig that may do everything."""
        return self.folder / "super-admin.conf"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def kubectl(self, *arguments: str | Path, text_in: str | None = None) -> str:
        """
        Run kubectl against it and return its standard output.

        Raises:
            Failed: It ended with another code than 0; the text says what it printed.
        """
        command = [self.kubebox, "kubectl", "--kubeconfig", self.kubeconfig, *arguments]
        done = subprocess.run(command, input=text_in, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout

    def start(self, name: str) -> None:
        """Start one of `etcd`, `kube-apiserver`, `kube-controller-manager`; the second also anew after `stop`."""
        self.spawn(name, [self.kubebox, name, *self._arguments(name)])

    def wait_ready(self, timeout_s: float = READY_WITHIN_S) -> None:
        """
        Wait until the API server answers that it is ready.

        Raises:
            Failed: A process ended, or it took too long; with the last lines of the logs.
        """
        pki = self.folder / "pki"
        trust = ssl.create_default_context(cafile=pki / "ca.crt")
        trust.load_cert_chain(pki / "apiserver-kubelet-client.crt", pki / "apiserver-kubelet-client.key")

        def answers() -> bool:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/readyz", context=trust, timeout=5):
                return True
            return False

        self.wait_until(answers, timeout_s)

    def wait_for_controllers(self, timeout_s: float = READY_WITHIN_S) -> None:
        """
        Wait until kube-controller-manager works: until the namespace `default` has its service account.

        Raises:
            Failed: A process ended, or it took too long; with the last lines of the log.
        """

        def works() -> bool:
            return bool(self.kubectl("get", "serviceaccount", "default", "--ignore-not-found", "--output=name"))

        self.wait_until(works, timeout_s)

    def _arguments(self, name: str) -> list[str]:
        pki = self.folder / "pki"
        etcd = f"https://127.0.0.1:{self.etcd_port}"
        peer = f"https://127.0.0.1:{self.etcd_peer_port}"
        match name:
            case "etcd":
                return [
                    f"--data-dir={self.folder / 'etcd'}", "--name=only", "--unsafe-no-fsync=true",
                    f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
                    f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=only={peer}",
                    f"--cert-file={pki}/etcd/server.crt", f"--key-file={pki}/etcd/server.key",
                    f"--trusted-ca-file={pki}/etcd/ca.crt", "--client-cert-auth=true",
                    f"--peer-cert-file={pki}/etcd/peer.crt", f"--peer-key-file={pki}/etcd/peer.key",
                    f"--peer-trusted-ca-file={pki}/etcd/ca.crt", "--peer-client-cert-auth=true", "--logger=zap", "--log-level=warn",
                ]  # fmt: skip
            case "kube-apiserver":
                return [
                    "--bind-address=127.0.0.1", f"--secure-port={self.port}", f"--advertise-address={ADDRESS_OF_DOCUMENTATION}",
                    "--endpoint-reconciler-type=none", f"--service-cluster-ip-range={SERVICE_RANGE}",
                    "--authorization-mode=Node,RBAC", "--allow-privileged=true",
                    f"--etcd-servers={etcd}", f"--etcd-cafile={pki}/etcd/ca.crt",
                    f"--etcd-certfile={pki}/apiserver-etcd-client.crt", f"--etcd-keyfile={pki}/apiserver-etcd-client.key",
                    f"--client-ca-file={pki}/ca.crt", f"--tls-cert-file={pki}/apiserver.crt",
                    f"--tls-private-key-file={pki}/apiserver.key",
                    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                    f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
                    f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt", "--requestheader-allowed-names=front-proxy-client",
                    "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
                    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                    f"--proxy-client-cert-file={pki}/front-proxy-client.crt", f"--proxy-client-key-file={pki}/front-proxy-client.key",
                    *self.apiserver_arguments,
                ]  # fmt: skip
            case "kube-controller-manager":
                config = self.folder / "controller-manager.conf"
                return [
                    f"--kubeconfig={config}", f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}",
                    "--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false", "--use-service-account-credentials=true",
                    f"--service-account-private-key-file={pki}/sa.key", f"--root-ca-file={pki}/ca.crt",
                    f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
                ]  # fmt: skip
            case _:
                raise ValueError(f"no part of a control plane: {name!r}")


@contextmanager
def control_plane(
    kubebox: Path, *, controllers: bool = False, apiserver_arguments: Sequence[str] = ()
) -> Iterator[ControlPlane]:
    """
    Start an API server, hand it out ready, stop it and remove its data.

    Args:
        kubebox: Kubernetes in one binary.
        controllers: Start kube-controller-manager, too: owners' deletion reaches children, Deployments get ReplicaSets and these
            Pods (which stay Pending), namespaces get service accounts and end when deleted.
        apiserver_arguments: Further arguments of kube-apiserver.
    """
    folder = Path(tempfile.mkdtemp(prefix="tradingbot-api-"))
    port, etcd_port, etcd_peer_port = free_ports(3)
    plane = ControlPlane(
        folder=folder,
        kubebox=kubebox,
        port=port,
        etcd_port=etcd_port,
        etcd_peer_port=etcd_peer_port,
        apiserver_arguments=apiserver_arguments,
    )
    try:
        make_certificates(kubebox, folder, version=KUBERNETES, port=plane.port, service_range=SERVICE_RANGE)
        plane.start("etcd")
        plane.start("kube-apiserver")
        plane.wait_ready()
        if controllers:
            plane.start("kube-controller-manager")
            plane.wait_for_controllers()
        yield plane
    finally:
        plane.close()
        shutil.rmtree(folder, ignore_errors=True)
