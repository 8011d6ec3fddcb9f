"""A real API server for tests: see `tradingbot_cluster.control_plane`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tradingbot_cluster.control_plane import ControlPlane, control_plane
from tradingbot_cluster.places import places
from tradingbot_cluster.programs import KUBEBOX

MISSING = "Kubernetes is not built on this machine yet (make cluster-build)"


def built_kubernetes() -> Path:
    """Return Kubernetes in one binary; where it is not built, skip the test, or fail it with TRADINGBOT_KUBERNETES=all (`.ci/run`)."""
    kubebox = KUBEBOX.find(places())
    if kubebox is None:
        if os.environ.get("TRADINGBOT_KUBERNETES") == "all":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return kubebox


@contextmanager
def a_kube_api(*, controllers: bool = False, apiserver_arguments: Sequence[str] = ()) -> Iterator[ControlPlane]:
    """Start an API server alone, hand it out ready, stop it; see `built_kubernetes` for where there is none."""
    with control_plane(built_kubernetes(), controllers=controllers, apiserver_arguments=apiserver_arguments) as plane:
        yield plane


@pytest.fixture(scope="module")
def kube_api() -> Iterator[ControlPlane]:
    """
    One API server for the file that imports this; each test takes a namespace of its own.

    It ends with the file: kept for the next file of this process, it would idle for more than its start costs (7 s of a core).
    """
    with a_kube_api() as plane:
        yield plane
