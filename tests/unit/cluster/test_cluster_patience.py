"""A cluster on a busy machine: its API server does not answer every request while it begins."""

from pathlib import Path

import pytest

from tradingbot_cluster import cluster as module
from tradingbot_cluster.cluster import Cluster
from tradingbot_cluster.errors import Failed
from tradingbot_cluster.places import Places

BUSY = """#!/bin/sh
echo "$@" >>{log}
[ "$(wc -l <{log})" -gt {failures} ] && exit 0
echo "Unable to connect to the server: net/http: TLS handshake timeout" >&2
exit 1
"""


def a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, failures: int) -> tuple[Cluster, Path]:
    """Return a cluster whose kubectl fails so many times, and the log of its calls."""
    program, log = tmp_path / "kubectl", tmp_path / "log"
    program.write_text(BUSY.format(log=log, failures=failures))
    program.chmod(0o755)
    monkeypatch.setattr(module, "kubectl_program", lambda places: (program,))
    return Cluster("one", Places(tmp_path)), log


def test_an_api_server_that_does_not_answer_once_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a whole cluster would be thrown away for one request, just before it was ready."""
    cluster, log = a_cluster(tmp_path, monkeypatch, failures=2)
    said: list[str] = []
    cluster._wait_for_pods(said.append)
    assert said == ["nodes and system pods: ready"]
    asked = [line.split(" wait ")[1].split()[0] for line in log.read_text().splitlines()]
    assert asked == ["nodes", "nodes", "nodes", "pods", "serviceaccount/default"]


def test_an_api_server_that_never_answers_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own words."""
    cluster, _ = a_cluster(tmp_path, monkeypatch, failures=1000)
    monkeypatch.setattr(module, "READY_WITHIN_S", 1)
    with pytest.raises(Failed, match="TLS handshake timeout"):
        cluster._wait_for_pods(print)
