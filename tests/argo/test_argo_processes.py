"""Argo CD's processes end with whoever started them, and leave nothing on the machine."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.api_server import a_kube_api
from support.argo_stage import an_argo_cd

from tradingbot_cluster.control_plane import ControlPlane
from tradingbot_cluster.places import places
from tradingbot_cluster.processes import Process
from tradingbot_cluster.programs import ARGOCD, HELM, KUBEBOX

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes, pytest.mark.timeout(900)]
PROGRAMS = ["redis-server", "argocd-repo-server", "argocd-application-controller"]
STARTER = """
import sys, time
from pathlib import Path
from tradingbot_cluster.argocd import argo_cd
from tradingbot_cluster.cluster import kubectl_program
from tradingbot_cluster.places import places
with argo_cd(Path(sys.argv[1]), kubeconfig=Path(sys.argv[2]), kubectl=kubectl_program(places()), helm=Path(sys.argv[3])) as argo:
    print(*[child.pid for child in argo.running.values()], flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def api() -> Iterator[ControlPlane]:
    with a_kube_api(controllers=True) as found:
        yield found


def test_nothing_is_left_after_the_end_of_the_block(api: ControlPlane) -> None:
    """Processes by their ids, the data by its folder; each started in its turn, and only on this machine's own address."""
    with an_argo_cd(api.kubeconfig) as stage:
        argo = stage.argo
        assert list(argo.running) == PROGRAMS
        processes = [Process.of(child.pid) for child in argo.running.values()]
        assert all(process and process.alive() for process in processes)
        assert argo.password not in Path(f"/proc/{argo.running['redis-server'].pid}/cmdline").read_text()
        with urllib.request.urlopen(f"http://127.0.0.1:{argo.ports['argocd-repo-server-metrics']}/metrics") as answer:
            assert answer.status == 200
        folder = argo.folder
    assert not [process for process in processes if process and process.alive()]
    assert not folder.exists()


def test_no_process_outlives_a_starter_that_is_killed(api: ControlPlane, tmp_path: Path) -> None:
    """`kill -9` of the process that started them ends them all."""
    assert KUBEBOX.find(places())
    built, helm = ARGOCD.find(places()), HELM.find(places())
    if built is None or helm is None:
        pytest.skip("Argo CD is not built on this machine yet (python hack/cluster build argocd helm)")
    command = [sys.executable, "-c", STARTER, str(built.parent), str(api.kubeconfig), str(helm)]
    env = {**os.environ, "PYTHONPATH": "hack/cluster", "TMPDIR": str(tmp_path)}
    starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    assert starter.stdout
    pids = starter.stdout.readline().split()
    processes = [process for pid in pids if (process := Process.of(int(pid)))]
    assert len(processes) == len(PROGRAMS)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    assert [process for process in processes if not process.wait(20)] == []
