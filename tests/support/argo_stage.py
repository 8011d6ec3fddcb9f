"""Argo CD as the guide sets it up: docs/argo-cd.md's own commands and Applications, with local repositories in place of its addresses."""

import copy
import http.client
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from support.kube_client import KubeClient

from tradingbot_cluster.argocd import NAMESPACE, ArgoCD, argo_cd, redis_server
from tradingbot_cluster.cluster import kubectl_program
from tradingbot_cluster.errors import Missing
from tradingbot_cluster.places import places
from tradingbot_cluster.programs import ARGOCD, HELM

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "argo-cd.md"
PATIENCE_S = 300.0
"""Finds what hangs."""


def documents() -> list[dict[str, Any]]:
    """Return every YAML document of the guide, in its order."""
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)]


def applications() -> dict[str, dict[str, Any]]:
    """Return the guide's Applications by name."""
    return {found["metadata"]["name"]: found for found in documents() if found["kind"] == "Application"}


def health_command() -> str:
    """Return the shell command by which the guide gives Argo CD the health script."""
    (found,) = re.findall(r"^    (kubectl --namespace argocd create configmap .*?)\n\n", GUIDE.read_text(), re.M | re.S)
    return str(found)


def eventually(check: Callable[[], T], *, why: str, patience_s: float = PATIENCE_S) -> T:
    """Return what a check finds as soon as it finds something; AssertionError with what was found last if it never does."""
    deadline = time.monotonic() + patience_s
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"did not happen: {why}"
        time.sleep(0.25)


KINDS = {
    "Application": "/apis/argoproj.io/v1alpha1/namespaces/{}/applications",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Namespace": "/api/v1/namespaces",
    "Pod": "/api/v1/namespaces/{}/pods",
    "TradingBot": "/apis/tradingbot.dev/v1alpha1/namespaces/{}/tradingbots",
}


def _path(kind: str, name: str, namespace: str) -> str:
    return KINDS[kind].format(namespace) + (f"/{name}" if name else "")


class Repository:
    """A bare Git repository and a working copy of it."""

    def __init__(self, folder: Path) -> None:
        self.bare, self.work = folder / "bare.git", folder / "work"
        self.url = f"file://{self.bare}"
        folder.mkdir(parents=True, exist_ok=True)
        self._git("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare), where=folder)
        self._git("init", "--quiet", "--initial-branch=main", str(self.work), where=folder)
        self._git("remote", "add", "origin", str(self.bare))

    def commit(self, message: str, files: Mapping[str, str | None]) -> str:
        """Write files (None: remove them), commit and push; return the commit."""
        for name, text in files.items():
            path = self.work / name
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self._push(message)

    def add(self, message: str, source: Path, target: str) -> str:
        """Copy a folder into the repository; return the commit."""
        shutil.copytree(source, self.work / target, dirs_exist_ok=True)
        return self._push(message)

    def revert(self) -> str:
        """Undo the last commit by another; return that."""
        self._git("revert", "--no-edit", "HEAD")
        return self._push(None)

    def _push(self, message: str | None) -> str:
        self._git("add", "--all")
        if message is not None:
            self._git("commit", "--quiet", f"--message={message}")
        self._git("push", "--quiet", "origin", "HEAD:main")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str, where: Path | None = None) -> str:
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Tester"), ("EMAIL", "tester@example.org"))}  # fmt: skip
        environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *arguments], cwd=where or self.work, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
        return done.stdout


class ArgoStage:
    """A cluster with Argo CD at work, and what a person asks it. What is asked often goes by HTTP: kubectl takes its time to start."""

    def __init__(self, argo: ArgoCD) -> None:
        self.argo = argo
        self.kubectl = argo.kubectl
        self._client: KubeClient | None = None

    def follow_the_guide(self) -> None:
        """Set Argo CD up as docs/argo-cd.md says: the health script by its command, waves of Applications by its settings."""
        binaries = self.argo.folder / "person"
        binaries.mkdir()
        program, *words = map(str, self.argo.kubectl_program)
        own = binaries / "kubectl"
        own.write_text(f'#!/bin/sh\nexec {program} {" ".join(words)} "$@"\n')
        own.chmod(0o755)
        environment = {
            **os.environ,
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.argo.kubeconfig),
        }
        done = subprocess.run(["/bin/sh", "-ec", health_command()], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        for found in documents():
            if found["kind"] == "ConfigMap":
                self.kubectl(
                    "apply", "--server-side", "--field-manager=tester", "--filename=-", text_in=yaml.safe_dump(found)
                )

    # --- Applications
    def apply(self, found: dict[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "--field-manager=tester", "--filename=-", text_in=yaml.safe_dump(found))

    def get(self, kind: str, name: str = "", namespace: str = "") -> dict[str, Any]:
        """Return an object, or a list of them; {} if there is none."""
        return self._call("GET", _path(kind, name, namespace))

    def patch(self, kind: str, name: str, namespace: str, patch: dict[str, Any], *, of: str = "") -> None:
        """Merge fields into an object, or into its subresource, as kubectl patch does."""
        path = _path(kind, name, namespace) + of + "?fieldManager=kubectl-patch"
        assert self._call("PATCH", path, patch), f"there is no {kind} {name}"

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        for last in (False, True):
            self._client = self._client or KubeClient(self.argo.kubeconfig, self.argo.folder)
            try:
                code, found = self._client.call(method, path, body, kind="application/merge-patch+json")
            except (OSError, http.client.HTTPException):
                self._client.close()
                self._client = None  # the server closes what was idle
                if last:
                    raise
                continue
            assert code < 400 or code == 404, f"{method} {path}: {code} {found}"
            return {} if code == 404 else found
        raise AssertionError

    def close(self) -> None:
        if self._client:
            self._client.close()

    def app(self, name: str) -> dict[str, Any]:
        return self.get("Application", name, NAMESPACE)

    def refresh(self, name: str) -> None:
        """Let it look at Git now, as the button does."""
        self.patch(
            "Application", name, NAMESPACE, {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
        )

    def verdict(self, name: str) -> str:
        """Return what Argo CD says of an Application, such as "Synced Healthy"; "" if there is none."""
        status = self.app(name).get("status") or {}
        return (
            f"{(status.get('sync') or {}).get('status', '')} {(status.get('health') or {}).get('status', '')}".strip()
        )

    def health(self, name: str, kind: str = "TradingBot", resource: str | None = None) -> tuple[str, str]:
        """Return health and message of a resource of an Application; ("", "") where it has none."""
        for found in (self.app(name).get("status") or {}).get("resources") or []:
            if found["kind"] == kind and resource in {None, found["name"]}:
                health = found.get("health") or {}
                return health.get("status", ""), health.get("message", "")
        return "", ""

    def becomes(self, name: str, verdict: str, *, revision: str | None = None) -> dict[str, Any]:
        """Wait until an Application has a verdict (about a commit); return it."""

        def check() -> bool:
            status = self.app(name).get("status") or {}
            about = (status.get("sync") or {}).get("revision")
            return self.verdict(name) == verdict and revision in {None, about}

        try:
            eventually(check, why=f"{name} is {verdict}")
        except AssertionError:
            raise AssertionError(
                f"{name} never was {verdict}: {yaml.safe_dump(self.app(name).get('status'))}"
            ) from None
        return self.app(name)

    def health_becomes(self, name: str, status: str, message: str = "", *, resource: str | None = None) -> str:
        """Wait until the bot of an Application has a health, with a text in its message; return the message."""

        def check() -> bool:
            found = self.health(name, resource=resource)
            return found[0] == status and message in found[1]

        try:
            eventually(check, why=f"{status}: {message}")
        except AssertionError:
            raise AssertionError(
                f"never {status} {message!r}: {yaml.safe_dump(self.app(name).get('status'))}"
            ) from None
        return self.health(name, resource=resource)[1]

    def quiet(self, name: str, *, looks: int = 2) -> None:
        """Wait until Argo CD has compared an Application some times more: what it would undo it has undone by then."""
        for _ in range(looks):
            before = ((self.app(name).get("status") or {}).get("reconciledAt")) or ""
            self.refresh(name)
            eventually(
                lambda before=before: ((self.app(name).get("status") or {}).get("reconciledAt") or "") > before,  # type: ignore[misc]
                why=f"{name} is compared again",
            )
            time.sleep(1.1)  # reconciledAt counts whole seconds


def documented(name: str, repository: Repository) -> dict[str, Any]:
    """Return an Application of the guide with a local repository's address, and nothing else changed."""
    found = copy.deepcopy(applications()[name])
    found["spec"]["source"] |= {"repoURL": repository.url, "targetRevision": "main"}
    return found


def whole(repository: Repository) -> dict[str, Any]:
    """Return the Application that holds the guide's three, from the folder `all` of a repository."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "all", "namespace": "argocd"},
        "spec": {
            "project": "default",
            "source": {"repoURL": repository.url, "targetRevision": "main", "path": "all"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "argocd"},
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}, "syncOptions": ["ServerSideApply=true"]},
        },
    }


@contextmanager
def an_argo_cd(kubeconfig: Path) -> Iterator[ArgoStage]:
    """Run Argo CD for a cluster, set up as the guide says; skip the test where it is not built."""
    built, helm = ARGOCD.find(places()), HELM.find(places())
    if built is None or helm is None:
        pytest.skip("Argo CD is not built on this machine yet (python hack/cluster build argocd helm)")
    try:
        redis_server()
    except Missing as error:
        pytest.skip(str(error))
    with argo_cd(built.parent, kubeconfig=kubeconfig, kubectl=kubectl_program(places()), helm=helm) as argo:
        stage = ArgoStage(argo)
        stage.follow_the_guide()
        yield stage
        stage.close()
