"""
The cluster that all tests share, with images loaded and the operator installed by Helm.

`E2E_CLUSTER=kind` (the default) starts one that ends with this process; if one of the name E2E_NAME runs already, it is used and
left. `existing` uses the cluster that KUBECONFIG names: it can pull or has the images, and nothing of it is broken.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.kube import Json, Kube, wait_for
from images.build import name_of, version
from images.store import cache_dir

from tradingbot_cluster import components
from tradingbot_cluster.cli import existing_cluster, existing_kubeconfig
from tradingbot_cluster.cluster import Cluster, kubectl_program
from tradingbot_cluster.images import load
from tradingbot_cluster.places import places
from tradingbot_cluster.programs import HELM

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "charts"
SYSTEM, RELEASE, CRDS = "tradingbot-system", "tradingbot-operator", "tradingbot-crds"
"""Where the operator runs; and the releases of both charts, named as these are."""
WORKERS = 2
EVIDENCE = Path(os.environ.get("E2E_EVIDENCE", ROOT / ".e2e"))
"""Where failing tests leave what is known."""
LOADED = "tradingbot.dev/e2e-image"
"""Begin of a node's annotations: which archives were loaded, so that a cluster which is used again gets none twice."""


def say(text: str) -> None:
    print(f"e2e: {text}", flush=True)


@dataclass(frozen=True)
class World:
    """The cluster, the operator in it, and what breaks them."""

    kube: Kube
    cluster: Cluster | None
    """None where it is not ours to break."""
    helm_program: str

    @property
    def system(self) -> Kube:
        """The operator's namespace."""
        return self.kube.of(SYSTEM)

    @property
    def engine_image(self) -> str:
        return name_of("engine", version())

    @property
    def postgres_image(self) -> str:
        return name_of("postgres", version())

    def helm(self, *arguments: str) -> str:
        """Run Helm and return what it printed."""
        return self.kube.tool(self.helm_program, *arguments, within_s=400)

    def install(self, *options: str, charts: Path = CHARTS, wait: bool = True) -> None:
        """
        Install or upgrade both charts.

        Args:
            options: For the operator's chart.
            charts: The folder that both are in.
            wait: Whether to wait until the operator is ready.
        """
        # Without the last option Helm takes the values of the last release where it is given none.
        words = ("upgrade", "--install", "--reset-values")
        patience = ["--wait", "--timeout=5m"] if wait else []
        self.helm(*words, CRDS, str(charts / CRDS), *patience)
        namespace = (f"--namespace={SYSTEM}", "--create-namespace")
        self.helm(*words, RELEASE, str(charts / RELEASE), *namespace, *patience, *options)

    def workers(self) -> list[str]:
        """Return the names of the nodes that run bots."""
        nodes = self.kube.items("nodes")
        return [n["metadata"]["name"] for n in nodes if not n["spec"].get("taints")]

    def on_node(self, node: str, *command: str) -> str:
        """Run a command on a node, as its root."""
        assert self.cluster
        return self.cluster.engine().docker("exec", node, *command)

    def kill(self, pod: Json) -> None:
        """End a pod's engine by SIGKILL, from its node: as an out-of-memory would, with no hook run."""
        self._task(pod, "engine", "kill", "--signal", "SIGKILL")

    def pause(self, pod: Json, container: str) -> None:
        """Freeze a container: it is there, and does nothing."""
        self._task(pod, container, "pause")

    def resume(self, pod: Json, container: str) -> None:
        """Let a frozen container go on."""
        self._task(pod, container, "resume")

    def _task(self, pod: Json, container: str, *words: str) -> None:
        status = next(s for s in pod["status"]["containerStatuses"] if s["name"] == container)
        task = status["containerID"].removeprefix("containerd://")
        self.on_node(pod["spec"]["nodeName"], "ctr", "--namespace", "k8s.io", "tasks", *words, task)

    @contextmanager
    def without(self, component: str) -> Iterator[None]:
        """Keep a part of the control plane stopped."""
        assert self.cluster
        components.stop(self.cluster, component, node=None, hang=False)
        try:
            yield
        finally:
            components.start(self.cluster, component, node=None)
            wait_for("the API server", lambda: bool(self.kube.items("nodes")))


@contextmanager
def the_world() -> Iterator[World]:
    """Bring everything up, and take down what was brought up."""
    if existing_cluster():
        kubectl = (shutil.which("kubectl") or "kubectl",)
        world = World(Kube(kubectl, existing_kubeconfig()), None, shutil.which("helm") or "helm")
        world.install()
        yield world
        return
    here = places()
    helm = str(HELM.build(here, say))
    cluster = Cluster(os.environ.get("E2E_NAME", "e2e"), here)
    cluster.clean()
    ours = cluster.state() is None
    if ours:
        cluster.up(workers=WORKERS, engine="auto", owner=os.getpid(), say=say)
    try:
        kube = Kube(tuple(map(str, kubectl_program(here))), cluster.kubeconfig)
        _timed("images: loaded", lambda: _load(cluster, kube))
        world = World(kube, cluster, helm)
        _timed("operator: installed by Helm", world.install)
        if not ours:  # an image loaded anew under the same name starts nothing by itself
            world.system.run("rollout", "restart", f"deployment/{RELEASE}")
            world.system.run("rollout", "status", f"deployment/{RELEASE}", within_s=300)
        yield world
    finally:
        if ours:
            cluster.down(say)


def _timed(what: str, do: Callable[[], None]) -> None:
    began_s = time.monotonic()
    do()
    say(f"{what} ({time.monotonic() - began_s:.0f} s)")


def _load(cluster: Cluster, kube: Kube) -> None:
    folder = cache_dir() / "images" / "archives"
    nodes = kube.items("nodes")
    for target in ("engine", "operator", "postgres"):
        archive = folder / f"tradingbot-{target}.tar"
        assert archive.exists(), f"no {archive}: make images TARGETS='engine operator postgres'"
        key, stamp = f"{LOADED}-{target}", str(archive.stat().st_mtime_ns)
        if any(node["metadata"].get("annotations", {}).get(key) != stamp for node in nodes):
            load(cluster, [str(archive)], say)
            for node in nodes:
                kube.run("annotate", "--overwrite", "node", node["metadata"]["name"], f"{key}={stamp}")
