"""
A real Argo CD for any cluster that a kubeconfig reaches: application controller, repo server and Redis as plain processes.

Nothing of it runs in the cluster: there it has its CRDs, its settings, and a service account with the rights that Argo CD publishes,
which the controller acts as. What a person looks at (API server, UI, login) takes no part in syncing and is left out; an
Application is asked about with kubectl.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tradingbot_cluster.commands import run
from tradingbot_cluster.control_plane import free_ports
from tradingbot_cluster.daemons import Daemons
from tradingbot_cluster.errors import Failed, Missing
from tradingbot_cluster.programs import ARGOCD

NAMESPACE = "argocd"
ACCOUNT = "argocd-application-controller"
CONTROLLER, REPO_SERVER, REDIS = "argocd-application-controller", "argocd-repo-server", "redis-server"
READY_WITHIN_S = 300.0
"""Finds what hangs; on an idle machine it takes 5 s."""
TOKEN_FOR = "24h"
NO_ANSWER = ("TLS handshake timeout", "i/o timeout", "connection refused", "connection reset", "EOF")
"""Parts of what kubectl says when the API server was not heard."""
HASTE = (
    "--app-resync=10", "--app-resync-jitter=0", "--self-heal-backoff-cap-seconds=5", "--status-processors=2",
    "--operation-processors=2", "--persist-resource-health",
)  # fmt: skip
"""Argo CD looks every 2 minutes and backs off up to 5; what is tried out by hand or by a test is seen at once."""
PROJECT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AppProject",
    "metadata": {"name": "default", "namespace": NAMESPACE},
    "spec": {
        "sourceRepos": ["*"],
        "destinations": [{"server": "*", "namespace": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    },
}
"""What Argo CD's API server would make at its first start: everything is allowed."""


@dataclass(kw_only=True)
class ArgoCD(Daemons):
    """A running Argo CD."""

    programs: Path
    """Folder of what was built: its programs and what it publishes."""
    kubeconfig: Path
    """Of the cluster, with the rights to install it there."""
    kubectl_program: Sequence[str | Path]
    helm: Path
    ports: Mapping[str, int]
    """Of the programs on 127.0.0.1, and of their metrics (NAME-metrics)."""
    password: str
    """Of its Redis."""

    def kubectl(self, *arguments: str | Path, text_in: str | None = None) -> str:
        """
        Run kubectl as the one who installed it and return its standard output.

        Raises:
            Failed: It ended with another code than 0; the text says what it printed.
        """
        command = [*self.kubectl_program, "--kubeconfig", self.kubeconfig, *arguments]
        done = subprocess.run(command, input=text_in, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout

    def install(self) -> None:
        """Bring into the cluster what Argo CD finds there: its resources, account, rights and settings."""
        published = [self.programs / path for path in ARGOCD.published]
        crds = [path for path in published if path.parent.name == "crds"]
        rest = [path for path in published if path.parent.name != "crds"]
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "argocd-secret", "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "argocd"}},
            "stringData": {"server.secretkey": secrets.token_hex(32)},
        }  # fmt: skip
        self._apply("--filename=-", text_in=yaml.safe_dump_all([namespace, secret]))
        self._apply(*(f"--filename={path}" for path in crds))
        for name in ("applications", "appprojects"):
            self.kubectl("wait", "--for=create", f"crd/{name}.argoproj.io", f"--timeout={READY_WITHIN_S:g}s")
            self.kubectl(
                "wait", "--for=condition=Established", f"crd/{name}.argoproj.io", f"--timeout={READY_WITHIN_S:g}s"
            )
        self._apply("--filename=-", *(f"--filename={path}" for path in rest), text_in=yaml.safe_dump(PROJECT))

    def _apply(self, *files: str, text_in: str | None = None) -> None:
        """Apply files; again where a busy API server did not answer in time."""
        words = ("apply", "--server-side", "--force-conflicts", f"--namespace={NAMESPACE}", *files)
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                self.kubectl(*words, text_in=text_in)
                return
            except Failed as error:
                if not any(sign in str(error) for sign in NO_ANSWER) or time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def start(self, name: str) -> None:
        """Start one of its programs, also anew after `stop`."""
        path = os.environ.get("PATH", "/usr/bin:/bin")
        environment = {
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "PATH": f"{self.folder / 'bin'}:{path}",
            "LANG": "C.UTF-8",
            "REDIS_SERVER": f"127.0.0.1:{self.ports[REDIS]}",
            "REDIS_PASSWORD": self.password,
        }
        if name == CONTROLLER:
            # The address of the cluster itself, https://kubernetes.default.svc, then means this kubeconfig's.
            environment |= {"ARGOCD_FAKE_IN_CLUSTER": "true", "KUBECONFIG": str(self._account_kubeconfig())}
        if name == REPO_SERVER:
            environment |= {
                "ARGOCD_GPG_ENABLED": "false",
                "ARGOCD_ASK_PASS_SOCK": str(self.folder / "askpass.sock"),
            }
        self.spawn(name, self._command(name), environment=environment)

    def wait_ready(self, timeout_s: float = READY_WITHIN_S) -> None:
        """
        Wait until the controller and the repo server answer that they are healthy.

        Raises:
            Failed: A program ended, or it took too long; with the last lines of its log.
        """

        def healthy(name: str) -> bool:
            url = f"http://127.0.0.1:{self.ports[f'{name}-metrics']}/healthz"
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
                return True
            return False

        self.wait_until(lambda: healthy(REPO_SERVER) and healthy(CONTROLLER), timeout_s)

    def _account_kubeconfig(self) -> Path:
        """Return a kubeconfig of Argo CD's own account, and of no more rights than it has."""
        shown = self.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json")
        token = self.kubectl(f"--namespace={NAMESPACE}", "create", "token", ACCOUNT, f"--duration={TOKEN_FOR}").strip()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": json.loads(shown)["clusters"][0]["cluster"]}],
            "users": [{"name": ACCOUNT, "user": {"token": token}}],
            "contexts": [
                {"name": "cluster", "context": {"cluster": "cluster", "user": ACCOUNT, "namespace": NAMESPACE}}
            ],
            "current-context": "cluster",
        }
        path = self.folder / "account.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path

    def _command(self, name: str) -> list[str | Path]:
        match name:
            case "redis-server":
                settings = self.folder / "redis.conf"
                settings.touch(mode=0o600)  # a password on the command line is everybody's to read
                settings.write_text(
                    f"bind 127.0.0.1\nport {self.ports[REDIS]}\nrequirepass {self.password}\nsave \"\"\nappendonly no\n"
                )  # fmt: skip
                return [redis_server(), settings]
            case "argocd-repo-server":
                return [
                    self.programs / REPO_SERVER, "--address=127.0.0.1", f"--port={self.ports[REPO_SERVER]}",
                    "--metrics-address=127.0.0.1", f"--metrics-port={self.ports[f'{REPO_SERVER}-metrics']}",
                    "--disable-tls", "--revision-cache-expiration=5s", "--logformat=text",
                ]  # fmt: skip
            case "argocd-application-controller":
                return [
                    self.programs / CONTROLLER, f"--namespace={NAMESPACE}", f"--repo-server=127.0.0.1:{self.ports[REPO_SERVER]}",
                    "--repo-server-plaintext", f"--metrics-port={self.ports[f'{CONTROLLER}-metrics']}", "--logformat=text",
                    *HASTE,
                ]  # fmt: skip
            case _:
                raise ValueError(f"no part of Argo CD: {name!r}")


def redis_server() -> Path:
    """
    Return the path of Redis.

    Raises:
        Missing: There is none on this machine.
    """
    found = shutil.which(REDIS, path=f"{os.environ.get('PATH', '')}:/usr/bin")
    if found is None:
        raise Missing("Argo CD needs redis-server (Debian: hack/system-packages argo, as root)")
    return Path(found)


@contextmanager
def argo_cd(programs: Path, *, kubeconfig: Path, kubectl: Sequence[str | Path], helm: Path) -> Iterator[ArgoCD]:
    """
    Install and start Argo CD, hand it out ready, stop it and remove its data; what it has in the cluster stays there.

    Args:
        programs: Folder of what was built: that of `ARGOCD`.
        kubeconfig: Of the cluster; its account may install CRDs and grant every right.
        kubectl: The words that start kubectl.
        helm: The program that renders charts.

    Raises:
        Missing: There is no Redis or no Git on this machine.
        Failed: It did not become ready.
    """
    redis_server()
    if shutil.which("git") is None:
        raise Missing("Argo CD needs git (Debian: hack/system-packages argo, as root)")
    folder = Path(tempfile.mkdtemp(prefix="tradingbot-argo-"))
    names = (REDIS, REPO_SERVER, f"{REPO_SERVER}-metrics", f"{CONTROLLER}-metrics")
    found = ArgoCD(
        folder=folder,
        programs=programs,
        kubeconfig=kubeconfig,
        kubectl_program=kubectl,
        helm=helm,
        ports=dict(zip(names, free_ports(len(names)), strict=True)),
        password=secrets.token_hex(16),
    )
    try:
        for name in ("home", "tmp", "bin"):
            (folder / name).mkdir()
        (folder / "bin" / "helm").symlink_to(helm)
        found.install()
        for name in (REDIS, REPO_SERVER, CONTROLLER):
            found.start(name)
        found.wait_ready()
        yield found
    finally:
        found.close()
        run("chmod", "-R", "u+rwX", folder)  # the repo server locks what it checked out
        shutil.rmtree(folder, ignore_errors=True)
