"""
The programs built from Go modules: Kubernetes in one binary, CoreDNS, kind, Helm, kubeconform, and Argo CD in one binary.

Every module's `go.sum` is committed, so that what is compiled is the same everywhere. A build takes minutes once; afterwards it
is found under the hash of its inputs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tradingbot_cluster.built import files_below, fingerprint, kept
from tradingbot_cluster.commands import run
from tradingbot_cluster.errors import Missing
from tradingbot_cluster.places import RECIPES, Places

NEWEST_GO_DEMANDED = "1.26"
Say = Callable[[str], None]


def required_version(module: Path, path: str) -> str:
    """Return the version of a module that `go.mod` demands, such as `v1.35.6`."""
    text = (module / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require )?{re.escape(path)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{module / 'go.mod'} demands no {path}")
    return found.group(1)


KUBERNETES = required_version(RECIPES / "kubebox", "k8s.io/kubernetes")
"""The version of Kubernetes that is built, such as `v1.35.6`."""


def _kubernetes_version_flags() -> str:
    major, minor, _ = KUBERNETES.lstrip("v").split(".")
    version = "k8s.io/component-base/version"
    flags = {
        f"{version}.gitVersion": KUBERNETES,
        f"{version}.gitMajor": major,
        f"{version}.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": KUBERNETES,
    }
    return " ".join(f"-X {name}={value}" for name, value in flags.items())


@dataclass(frozen=True)
class Program:
    """A program of a Go module."""

    name: str
    module: Path
    package: str
    flags: str = ""
    """Linker flags that set its version."""
    links: tuple[str, ...] = ()
    """Other names under which it is started."""
    source: str = ""
    """The module whose `published` files it is not used without."""
    published: tuple[str, ...] = ()
    """Paths of files in `source` that are kept beside it, under the same paths."""

    def key(self) -> str:
        """Return the hash of what it is built from."""
        files = [p for p in files_below(self.module) if p.suffix in {".go", ".mod", ".sum"}]
        return fingerprint(files, self.package, self.flags, *self.links, *self.published, base=self.module)

    def find(self, places: Places) -> Path | None:
        """Return where it stands, None if it was not built yet."""
        path = places.built / f"{self.name}-{self.key()}" / self.name
        return path if path.exists() else None

    def build(self, places: Places, say: Say) -> Path:
        """
        Return where it stands, built if need be.

        Raises:
            Missing: There is no Go, or an older one than the module wants.
            Failed: It could not be built.
        """

        def make(folder: Path) -> None:
            say(f"building {self.name} (once; see {places.built / f'{self.name}.log'})")
            self._compile(folder, places.built / f"{self.name}.log")

        return kept(places.built, self.name, self.key(), make) / self.name

    def _compile(self, folder: Path, log: Path) -> None:
        go = shutil.which("go")
        if go is None:
            raise Missing(f"Go {NEWEST_GO_DEMANDED} or newer is needed to build {self.name} (https://go.dev/dl)")
        log.write_text("")
        # Nothing from the user's settings may change the result. CGO off: it runs in images of any C library, or none.
        settings = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -trimpath", "GOWORK": "off"}
        run(
            go,
            "build",
            "-ldflags",
            f"-s -w {self.flags}".strip(),
            # What -s -w would throw away is not made in the first place: a fifth of the compilers' work, a quarter of their cache.
            "-gcflags",
            "all=-dwarf=false",
            "-o",
            folder / self.name,
            self.package,
            cwd=self.module,
            env=settings,
            log=log,
        )
        for link in self.links:
            (folder / link).symlink_to(self.name)
        if self.published:
            told = subprocess.run(
                [go, "list", "-m", "-f", "{{.Dir}}", self.source],
                cwd=self.module, env={**os.environ, **settings}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            for path in self.published:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(told.stdout.strip()) / path, folder / path)


KUBEBOX_NAMES = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubeadm", "kubectl", "kubelet",
)  # fmt: skip
KUBEBOX = Program("kubebox", RECIPES / "kubebox", ".", _kubernetes_version_flags(), KUBEBOX_NAMES)
COREDNS = Program("coredns", RECIPES / "kubebox", "./coredns")
PAUSE = Program("pause", RECIPES / "kubebox", "./pause")
KIND = Program("kind", RECIPES / "tools/kind", "sigs.k8s.io/kind")
HELM = Program("helm", RECIPES / "tools/helm", "helm.sh/helm/v4/cmd/helm")
KUBECONFORM = Program("kubeconform", RECIPES / "tools/kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")
ARGO_CD_MODULE = "github.com/argoproj/argo-cd/v3"
ARGO_CD = required_version(RECIPES / "argocd", ARGO_CD_MODULE)
"""The version of Argo CD that is built, such as `v3.2.11`."""
_CONTROLLER = "argocd-application-controller"
ARGOCD = Program(
    "argocd",
    RECIPES / "argocd",
    ".",
    f"-X {ARGO_CD_MODULE}/common.version={ARGO_CD.lstrip('v')}",
    (_CONTROLLER, "argocd-repo-server"),
    source=ARGO_CD_MODULE,
    published=(
        "manifests/crds/application-crd.yaml",
        "manifests/crds/appproject-crd.yaml",
        "manifests/base/config/argocd-cm.yaml",
        *(
            f"manifests/base/application-controller-roles/{_CONTROLLER}-{part}.yaml"
            for part in ("sa", "role", "rolebinding")
        ),
        *(
            f"manifests/cluster-rbac/application-controller/{_CONTROLLER}-clusterrole{part}.yaml"
            for part in ("", "binding")
        ),
    ),
)
PROGRAMS = {program.name: program for program in (KUBEBOX, COREDNS, PAUSE, KIND, HELM, KUBECONFORM, ARGOCD)}


def go_version() -> tuple[int, int] | None:
    """Return the version of the Go on this machine as (major, minor), None without one."""
    go = shutil.which("go")
    if go is None:
        return None
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)", said)
    return (int(found.group(1)), int(found.group(2))) if found else None
