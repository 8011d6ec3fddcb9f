"""An API server alone: real answers within seconds, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from support.api_server import a_kube_api, built_kubernetes, kube_api

from tradingbot_cluster.control_plane import ControlPlane
from tradingbot_cluster.errors import Failed
from tradingbot_cluster.processes import Process
from tradingbot_cluster.programs import KUBERNETES

__all__ = ["kube_api"]
T = TypeVar("T")
pytestmark = pytest.mark.kubernetes

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.org"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"low": {"type": "integer", "default": 1}, "high": {"type": "integer"}},
                                "x-kubernetes-validations": [
                                    {"rule": "self.low <= self.high", "message": "low must not be above high"}
                                ],
                            }
                        },
                    }
                },
            }
        ],
    },
}


def a_thing(**spec: int) -> str:
    return json.dumps({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec})


def test_it_is_the_version_that_was_built(kube_api: ControlPlane) -> None:
    """Clients ask for it to choose what they may use."""
    assert json.loads(kube_api.kubectl("version", "--output=json"))["serverVersion"]["gitVersion"] == KUBERNETES


def test_a_custom_resource_gets_its_defaults_and_its_rules_are_enforced(kube_api: ControlPlane) -> None:
    """CEL, defaults and dry runs come from the real API server."""
    kube_api.kubectl("apply", "-f", "-", text_in=json.dumps(CRD))
    kube_api.kubectl("wait", "--for=condition=Established", "crd/things.example.org", "--timeout=30s")
    shown = kube_api.kubectl(
        "apply", "--server-side", "--dry-run=server", "--output=json", "-f", "-", text_in=a_thing(high=3)
    )
    assert json.loads(shown)["spec"] == {"low": 1, "high": 3}
    with pytest.raises(Failed, match="low must not be above high"):
        kube_api.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", text_in=a_thing(low=4, high=3))


def test_rbac_holds_for_a_service_account(kube_api: ControlPlane) -> None:
    """Its token is real, and can do only what is granted."""
    kube_api.kubectl("create", "namespace", "rights")
    kube_api.kubectl("--namespace=rights", "create", "serviceaccount", "reader")
    kube_api.kubectl("--namespace=rights", "create", "role", "r", "--verb=get", "--resource=configmaps")
    kube_api.kubectl("--namespace=rights", "create", "rolebinding", "r", "--role=r", "--serviceaccount=rights:reader")
    kube_api.kubectl("--namespace=rights", "create", "configmap", "c")
    token = kube_api.kubectl("--namespace=rights", "create", "token", "reader").strip()
    config = yaml.safe_load(kube_api.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    own = kube_api.folder / "reader.conf"
    own.write_text(yaml.safe_dump(config))
    assert (
        kube_api.kubectl("--kubeconfig", own, "--namespace=rights", "get", "configmap", "c", "--output=name")
        == "configmap/c\n"
    )
    with pytest.raises(Failed, match="forbidden"):
        kube_api.kubectl("--kubeconfig", own, "--namespace=rights", "delete", "configmap", "c")


@pytest.mark.slow
def test_with_controllers_children_follow_their_owners() -> None:
    """A Deployment gets its Pods, which stay Pending, and they go with it."""
    with a_kube_api(controllers=True) as api:
        api.kubectl("create", "deployment", "d", "--image=none", "--replicas=2")

        def pods() -> list[str]:
            return api.kubectl("get", "pods", "--selector=app=d", "--output=jsonpath={.items[*].status.phase}").split()

        assert soon(pods, ["Pending", "Pending"]) == ["Pending", "Pending"]
        api.kubectl("delete", "deployment", "d")
        assert soon(pods, []) == []


@pytest.mark.slow
def test_what_was_stored_is_there_again_after_the_api_server_was_killed() -> None:
    """The data is etcd's; clients see an outage, and everything as before."""
    with a_kube_api() as api:
        api.kubectl("create", "configmap", "c", "--from-literal=a=1")
        api.stop("kube-apiserver", kill=True)
        with pytest.raises(Failed):
            api.kubectl("get", "configmap", "c", "--request-timeout=2s")
        api.start("kube-apiserver")
        api.wait_ready()
        assert api.kubectl("get", "configmap", "c", "--output=jsonpath={.data.a}") == "1"


@pytest.mark.slow
def test_nothing_is_left_after_the_end_of_the_block() -> None:
    """Processes by their ids, the data by its folder."""
    with a_kube_api() as api:
        processes = [Process.of(child.pid) for child in api.running.values()]
        folder = api.folder
        assert all(process and process.alive() for process in processes)
    assert not [process for process in processes if process and process.alive()]
    assert not folder.exists()


@pytest.mark.slow
def test_no_process_outlives_a_test_run_that_is_killed(tmp_path: Path) -> None:
    """`kill -9` of the process that started them ends them all."""
    code = """
import sys, time
from pathlib import Path
from tradingbot_cluster.control_plane import control_plane
with control_plane(Path(sys.argv[1]), controllers=True) as api:
    print(api.folder, *[child.pid for child in api.running.values()], flush=True)
    time.sleep(600)
"""
    env = {**os.environ, "PYTHONPATH": "hack/cluster", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code, str(built_kubernetes())]
    starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    assert starter.stdout
    _, *pids = starter.stdout.readline().split()
    processes = [process for pid in pids if (process := Process.of(int(pid)))]
    assert len(processes) == 3
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    assert [process for process in processes if not process.wait(20)] == []


def soon(ask: Callable[[], T], wanted: T, timeout_s: float = 60.0) -> T:
    """Return the answer as soon as it is the wanted one, else the last one."""
    deadline = time.monotonic() + timeout_s
    while (answer := ask()) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    return answer
