"""A real API server for tests: see `tradingbot_cluster.control_plane`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tradingbot_cluster.control_plane import ControlPlane, control_plane
from tradingbot_cluster.places import places
from tradingbot_cluster.programs import KUBEBOX

MISSING = "Kubernetes is not built on this machine yet (make cluster-build)"


@contextmanager
def a_kube_api(*, controllers: bool = False, apiserver_arguments: Sequence[str] = ()) -> Iterator[ControlPlane]:
    """Start an API server alone, hand it out ready, stop it; skip the test where Kubernetes is not built."""
    kubebox = KUBEBOX.find(places())
    if kubebox is None:
        pytest.skip(MISSING)
    with control_plane(kubebox, controllers=controllers, apiserver_arguments=apiserver_arguments) as plane:
        yield plane


@pytest.fixture(scope="session")
def kube_api() -> Iterator[ControlPlane]:
    """One API server for all tests of this process; each test takes a namespace of its own."""
    with a_kube_api() as plane:
        yield plane
