"""What is known of Argo CD before it starts: what it is built from, and what it says of a machine that lacks something."""

from dataclasses import replace
from pathlib import Path

import pytest

from tradingbot_cluster.argocd import argo_cd, redis_server
from tradingbot_cluster.errors import Missing
from tradingbot_cluster.programs import ARGO_CD, ARGOCD, HELM, KUBEBOX


def test_what_it_publishes_is_part_of_what_it_is_built_from() -> None:
    """A further manifest is a new build; programs that publish nothing keep theirs."""
    assert replace(ARGOCD, published=(*ARGOCD.published, "manifests/more.yaml")).key() != ARGOCD.key()
    assert replace(KUBEBOX, source="other").key() == KUBEBOX.key()
    assert ARGO_CD in (ARGOCD.module / "go.mod").read_text()
    assert (ARGOCD.module / "go.sum").is_file()
    assert len(HELM.published) == 0


def test_without_redis_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is brought into a cluster."""
    monkeypatch.setattr("tradingbot_cluster.argocd.REDIS", "no-such-server")
    with pytest.raises(Missing, match=r"hack/system-packages argo"):
        redis_server()
    nowhere = tmp_path / "kubeconfig"
    with (
        pytest.raises(Missing),
        argo_cd(tmp_path, kubeconfig=nowhere, kubectl=("kubectl",), helm=tmp_path / "helm"),
    ):
        pytest.fail("it started")
