"""A kind cluster comes, works like a real one, breaks and heals on command, and goes without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tradingbot_cluster import cgroups, components, logs, partition, sysctls
from tradingbot_cluster.cluster import Cluster
from tradingbot_cluster.debian_base import debian_base
from tradingbot_cluster.doctor import doctor, suited
from tradingbot_cluster.engine import machine_engine
from tradingbot_cluster.errors import Failed
from tradingbot_cluster.image_archive import Image, write_archive
from tradingbot_cluster.images import load
from tradingbot_cluster.node_image import node_image
from tradingbot_cluster.places import Places, places
from tradingbot_cluster.processes import Process

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.timeout(900)]

HERE = places()
IMAGE = "tradingbot.dev/cluster-test:1"
NAME, WORKERS = "test-one", 1
CONTROL_PLANE, WORKER = f"{NAME}-control-plane", f"{NAME}-worker"


def say(text: str) -> None:
    print(text, flush=True)


def a_pod(
    name: str, *command: str, node: str | None = None, namespace: str = "default", labels: dict[str, str] | None = None
) -> str:
    container = {"name": "c", "image": IMAGE, "imagePullPolicy": "Never", "command": list(command)}
    spec: dict[str, object] = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
    if node:
        spec |= {"nodeName": node}
    metadata = {"name": name, "namespace": namespace, "labels": labels or {"app": name}}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


SERVER = ("python3", "-m", "http.server", "8000", "--directory", "/etc")
FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=3).status)"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of an image with Python, out of the node image's own Debian base."""
    out = tmp_path_factory.mktemp("image") / "test.tar"
    write_archive(out, [Image([IMAGE], [debian_base(HERE, say) / "base.tar"])])
    return out


@pytest.fixture(scope="module")
def cluster(image: Path) -> Iterator[Cluster]:
    findings = doctor(HERE, now_s=time.time())
    if not suited(findings):
        pytest.skip("; ".join(f"{f.what}: {f.detail}" for f in findings if f.verdict == "missing"))
    cluster = Cluster(NAME, HERE)
    cluster.down(say)
    cluster.up(workers=WORKERS, engine="auto", owner=os.getpid(), say=say)
    load(cluster, [str(image)], say)
    yield cluster
    cluster.down(say)


def fetch(cluster: Cluster, pod: str, url: str, *, namespace: str = "default") -> bool:
    """Say whether a pod gets an answer from a URL."""
    try:
        return "200" in cluster.kubectl(
            f"--namespace={namespace}", "exec", pod, "--", "python3", "-c", FETCH, url, timeout_s=60
        )
    except Failed:
        return False


def wait_until(true: Callable[[], bool], timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        # An API server that is too busy to answer ("TLS handshake timeout") says nothing about what is waited for.
        with contextlib.suppress(Failed):
            if true():
                return
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> Cluster:
    """Two servers on different nodes behind one Service, and a client."""
    objects = [
        a_pod("near", *SERVER, node=CONTROL_PLANE, labels={"app": "web"}),
        a_pod("far", *SERVER, node=WORKER, labels={"app": "web"}),
        a_pod("client", "sleep", "infinity", node=CONTROL_PLANE),
        a_pod("guest", "sleep", "infinity", node=WORKER),
    ]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    cluster.kubectl("apply", "-f", "-", text_in="\n---\n".join([*objects, json.dumps(service)]))
    cluster.kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=180s")
    wait_until(lambda: fetch(cluster, "client", "http://web/hostname"))
    return cluster


def address(cluster: Cluster, pod: str) -> str:
    return cluster.kubectl("get", "pod", pod, "--output=jsonpath={.status.podIP}")


def test_nodes_are_ready_and_a_second_up_changes_nothing(cluster: Cluster) -> None:
    """`up` says what is wanted, not what is to be done."""
    before = cluster.kubectl("get", "nodes", "--output=jsonpath={.items[*].metadata.uid}")
    cluster.up(workers=WORKERS, engine="auto", owner=None, say=say)
    assert cluster.kubectl("get", "nodes", "--output=jsonpath={.items[*].metadata.uid}") == before
    assert len(before.split()) == 1 + WORKERS


@pytest.mark.parametrize("server", ["near", "far"])
@pytest.mark.parametrize("client", ["client", "guest"])
def test_pods_reach_each_other_on_the_same_node_and_across(pods: Cluster, client: str, server: str) -> None:
    """Each address of a pod is reached from everywhere."""
    assert fetch(pods, client, f"http://{address(pods, server)}:8000/hostname")


@pytest.mark.parametrize("name", ["web", "web.default.svc.cluster.local"])
def test_a_service_is_reached_by_its_names(pods: Cluster, name: str) -> None:
    """DNS and the cluster's own address, from both nodes."""
    assert fetch(pods, "client", f"http://{name}/hostname")
    assert fetch(pods, "guest", f"http://{name}/hostname")


def test_logs_and_exec_go_through_the_api_server(pods: Cluster) -> None:
    """From outside of the namespaces."""
    pods.kubectl("exec", "near", "--", "sh", "-c", "echo spoken >/proc/1/fd/1")
    wait_until(lambda: "spoken" in pods.kubectl("logs", "near"))
    assert pods.kubectl("exec", "far", "--", "hostname").strip() == "far"


def test_the_api_server_of_its_node_is_reached_from_a_pod(pods: Cluster) -> None:
    """By the Service `kubernetes`, on the control plane and off it."""
    code = "import socket; socket.create_connection(('kubernetes.default.svc', 443), 3); print('open')"
    for pod in ("client", "guest"):
        assert pods.kubectl("exec", pod, "--", "python3", "-c", code) == "open\n"


@pytest.fixture
def policy(pods: Cluster) -> Iterator[Callable[[dict[str, object]], None]]:
    """Apply one policy; removed afterwards."""

    def apply(spec: dict[str, object]) -> None:
        metadata = {"name": "tested", "namespace": "default"}
        document = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
        pods.kubectl("apply", "-f", "-", text_in=json.dumps(document))

    yield apply
    pods.kubectl("delete", "networkpolicy", "tested", "--ignore-not-found")


def test_a_policy_keeps_strangers_from_a_pod_and_lets_friends_in(
    pods: Cluster, policy: Callable[[dict[str, object]], None]
) -> None:
    """On the pod's own node and from another; when the policy goes, everybody comes in again."""
    web = {"matchLabels": {"app": "web"}}
    policy(
        {
            "podSelector": web,
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "guest"}}}], "ports": [{"port": 8000}]}],
        }
    )
    near, far = (f"http://{address(pods, name)}:8000/hostname" for name in ("near", "far"))
    wait_until(lambda: not fetch(pods, "client", near) and not fetch(pods, "client", far))
    assert fetch(pods, "guest", near)
    assert fetch(pods, "guest", far)
    pods.kubectl("delete", "networkpolicy", "tested")
    wait_until(lambda: fetch(pods, "client", near) and fetch(pods, "client", far))


def test_a_policy_for_what_goes_out_holds_for_services_and_for_the_api_server_on_the_same_node(
    pods: Cluster, policy: Callable[[dict[str, object]], None]
) -> None:
    """What goes to the node itself takes another way than what goes through it."""
    policy(
        {
            "podSelector": {"matchLabels": {"app": "client"}},
            "policyTypes": ["Egress"],
            "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}],
        }
    )
    wait_until(lambda: not fetch(pods, "client", "http://web/hostname"))
    probe = "import socket; print(socket.gethostbyname('web')); socket.create_connection(('kubernetes.default.svc', 443), 3)"
    with pytest.raises(Failed, match=r"timed out|TimeoutError") as refused:
        pods.kubectl("exec", "client", "--", "python3", "-c", probe)
    assert "10.96." in str(refused.value), "names are still resolved, by the one rule that is left"
    assert fetch(pods, "guest", "http://web/hostname")


def test_a_node_cut_off_from_the_api_server_alone_still_serves_its_pods(pods: Cluster) -> None:
    """Healing brings it back."""
    code = "import socket; socket.create_connection(('10.96.0.1', 443), 2)"
    far = f"http://{address(pods, 'far')}:8000/hostname"
    engine = pods.engine()
    inside = ("exec", WORKER, "ctr", "--namespace=k8s.io", "containers", "list", "--quiet")
    assert engine.docker(*inside)
    partition.partition(pods, WORKER, "api")
    try:
        assert fetch(pods, "client", far)
        # Seen from the node, since kubectl exec takes the way from the API server to the node, which stays.
        with pytest.raises(Failed):
            pods.kubectl("exec", "guest", "--", "python3", "-c", code)
        wait_until(lambda: "False" in ready(pods, WORKER) or "Unknown" in ready(pods, WORKER))
    finally:
        partition.heal(pods, WORKER)
    wait_until(lambda: ready(pods, WORKER) == "True")
    assert pods.kubectl("exec", "guest", "--", "python3", "-c", code) == ""


def ready(cluster: Cluster, node: str) -> str:
    return cluster.kubectl("get", "node", node, '--output=jsonpath={.status.conditions[?(@.type=="Ready")].status}')


def test_a_node_cut_off_from_everything_is_reached_by_nobody(pods: Cluster) -> None:
    """The pods on it go on; from outside there is no way in."""
    far = f"http://{address(pods, 'far')}:8000/hostname"
    partition.partition(pods, WORKER, "all")
    try:
        assert not fetch(pods, "client", far)
    finally:
        partition.heal(pods, WORKER)
    wait_until(lambda: fetch(pods, "client", far))


def test_an_api_server_that_was_stopped_stays_away_until_started_and_pods_go_on(pods: Cluster) -> None:
    """Its outage is no outage of the pods."""
    far = address(pods, "far")
    components.stop(pods, "kube-apiserver", node=None, hang=False)
    with pytest.raises(Failed):
        pods.kubectl("get", "--raw", "/readyz", "--request-timeout=3s")
    served = pods.engine().docker("exec", CONTROL_PLANE, "python3", "-c", FETCH, f"http://{far}:8000/hostname")
    assert served.strip() == "200"
    components.start(pods, "kube-apiserver", node=None)
    assert fetch(pods, "client", f"http://{far}:8000/hostname")


def test_an_etcd_that_hangs_answers_again_when_it_goes_on(pods: Cluster) -> None:
    """A hang is not an end: the process is the same."""
    which = ("exec", CONTROL_PLANE, "pgrep", "--full", "^etcd ")
    before = pods.engine().docker(*which)
    components.stop(pods, "etcd", node=None, hang=True)
    with pytest.raises(Failed):
        pods.kubectl("get", "pods", "--request-timeout=3s", timeout_s=30)
    components.start(pods, "etcd", node=None)
    assert "client" in pods.kubectl("get", "pods")
    assert pods.engine().docker(*which) == before


def test_logs_of_nodes_services_and_pods_are_collected(pods: Cluster, tmp_path: Path) -> None:
    """What a failing test leaves to look at."""
    written = logs.collect(pods, tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in written}
    assert {
        f"{node}/{name}.log" for node in (CONTROL_PLANE, WORKER) for name in ("console", "kubelet", "pod-network")
    } <= names
    assert any("coredns" in name for name in names)
    assert "client" in (tmp_path / "pods.txt").read_text()


def test_nothing_of_the_machine_was_changed_while_the_cluster_ran(pods: Cluster) -> None:
    """systemd and the kubelet write settings of the whole machine; here they write files of their own. We raise two limits, no more."""
    if not pods.running().private:
        pytest.skip("the nodes run in this machine's own engine")
    record = json.loads((HERE.root / "sysctls.json").read_text())
    allowed = {name: str(max(least, int(record[name]))) for name, least in sysctls.LEAST.items() if name in record}
    assert sysctls.read() == record | allowed


# --- Coming and going


def footprint() -> dict[str, object]:
    """Return what a cluster of these tests could leave on a machine; other clusters come and go beside it."""
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    groups = sorted(str(path) for path in cgroups.ROOT.glob(f"*/{cgroups.TOP}/test-*"))
    docker = sorted(str(path) for path in cgroups.ROOT.glob("*/docker*"))
    return {
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if f"{HERE.root}/clusters" in line],
        "interfaces": sorted(line.split()[0] for line in links.splitlines()),
        "cgroups": groups + docker,
        "settings": sysctls.read(),
        "clusters": [name for name in HERE.clusters() if name.startswith("test-")],
    }


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid: int) -> list[Process]:
    """Return all processes below one."""
    found = []
    for child in children(pid):
        if process := Process.of(child):
            found.append(process)
            found += descendants(child)
    return found


def keeper_of(cluster: Cluster) -> Process:
    return Process(**json.loads((cluster.folder / "keeper.json").read_text()))


@pytest.fixture
def private_machine() -> None:
    if machine_engine():
        pytest.skip("this machine has a container engine of its own")
    node_image(HERE, say)


@pytest.mark.usefixtures("private_machine")
def test_down_leaves_the_machine_as_it_was() -> None:
    """Mounts, interfaces, cgroups, settings, files and processes, compared before and after; beside another cluster, if one runs."""
    before = footprint()
    cluster = Cluster("test-two", HERE)
    cluster.up(workers=0, engine="auto", owner=None, say=say)
    keeper = keeper_of(cluster)
    processes = [keeper, *descendants(keeper.pid)]
    port = cluster.running().port
    assert len(processes) > 20
    assert footprint() != before
    assert "test-two-control-plane" in cluster.kubectl("get", "nodes")
    cluster.down(say)
    assert [process for process in processes if process.alive()] == []
    assert footprint() == before
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port))


def start_up(name: str) -> subprocess.Popen[str]:
    """Start `up` as a person would."""
    command = [sys.executable, "hack/cluster", "up", "--name", name]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("private_machine")
@pytest.mark.parametrize("when", ["private container engine: started", "nodes: created"])
def test_nothing_is_left_when_the_starter_is_killed_on_the_way(when: str) -> None:
    """Whatever step it was at, its keeper takes everything away."""
    before = footprint()
    cluster = Cluster("test-killed", HERE)
    starter = start_up(cluster.name)
    assert starter.stderr
    assert any(when in line for line in starter.stderr)
    keeper = keeper_of(cluster)
    processes = [keeper, *descendants(keeper.pid)]
    starter.kill()
    starter.wait()
    starter.stderr.close()
    wait_until(lambda: not keeper.alive())
    assert [process for process in processes if process.alive()] == []
    assert footprint() == before


@pytest.mark.usefixtures("private_machine")
def test_a_killed_keeper_takes_every_process_with_it_and_the_next_command_the_rest() -> None:
    """The kernel ends the processes; cgroups and files wait for the next command."""
    before = footprint()
    cluster = Cluster("test-keeper", HERE)
    cluster.up(workers=0, engine="auto", owner=None, say=say)
    keeper = keeper_of(cluster)
    processes = descendants(keeper.pid)
    os.kill(keeper.pid, 9)
    wait_until(lambda: not any(process.alive() for process in processes))
    done = subprocess.run([sys.executable, "hack/cluster", "status"], capture_output=True, text=True, check=False)
    assert "test-keeper: its keeper was killed; what it left is removed" in done.stdout
    assert footprint() == before


@pytest.mark.usefixtures("private_machine")
def test_a_cluster_ends_with_its_owner() -> None:
    """A test run that is killed takes its cluster with it."""
    before = footprint()
    owner = subprocess.Popen(["sleep", "600"])
    cluster = Cluster("test-owned", HERE)
    cluster.up(workers=0, engine="auto", owner=owner.pid, say=say)
    keeper = keeper_of(cluster)
    owner.kill()
    owner.wait()
    wait_until(lambda: not keeper.alive())
    assert footprint() == before


@pytest.mark.usefixtures("private_machine")
def test_a_machine_with_an_engine_and_without_a_registry_is_supplied_the_node_image_alone() -> None:
    """Its own engine is played by another cluster's private one, within whose network the commands run."""
    host = Cluster("test-host", HERE)
    host.up(workers=0, engine="auto", owner=os.getpid(), say=say)
    try:
        sandbox = children(children(keeper_of(host).pid)[0])[0]
        environment = {**os.environ, **host.engine().environment}

        def inside(*words: str) -> subprocess.CompletedProcess[str]:
            command = ["nsenter", f"--target={sandbox}", "--net", sys.executable, "hack/cluster", *words]
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

        up = inside("up", "--name", "test-guest")
        assert up.returncode == 0, up.stderr
        assert "kind's node image can't be had here: ours is built from its parts" in up.stderr
        assert "private" not in up.stderr
        assert "test-guest: 1 node(s) in this machine's engine" in inside("status").stdout
        assert inside("down", "--name", "test-guest").returncode == 0
        assert host.engine().docker("ps", "--all", "--format={{.Names}}").split() == ["test-host-control-plane"]
    finally:
        host.down(say)


def test_places_of_tests_are_those_of_the_machine() -> None:
    """What was built for `make cluster-up` is used, not built again."""
    assert Places.of(os.environ) == HERE
