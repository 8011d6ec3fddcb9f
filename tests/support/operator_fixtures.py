"""Fixtures of tests with a real operator at a real API server; the test's file has a fixture `api` that says which."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.api_server import a_kube_api
from support.kube_person import Person
from support.operator_rig import CRD, SYSTEM, Bench, OperatorProcess, operator

from tradingbot_cluster.control_plane import ControlPlane

NUMBERS = itertools.count(1)


@contextmanager
def an_api_that_knows_bots(*, controllers: bool = False) -> Iterator[ControlPlane]:
    """Start an API server with the resource defined and the operator's namespace made."""
    with a_kube_api(controllers=controllers) as found:
        found.kubectl("create", "namespace", SYSTEM)
        found.kubectl("apply", "--server-side", "-f", CRD)
        found.kubectl("wait", "--for=condition=Established", "crd/tradingbots.tradingbot.dev", "--timeout=60s")
        yield found


@pytest.fixture(scope="module")
def running(api: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """One operator for most tests of a file."""
    with operator(api.kubeconfig, tmp_path_factory.mktemp("operator"), "--identity", "operator-0") as found:
        yield found


@pytest.fixture
async def bench(api: ControlPlane, tmp_path: Path) -> AsyncIterator[Bench]:
    """A namespace of the test's own."""
    async with Person(api.kubeconfig) as person, Person(api.kubeconfig, manager="kubelet") as kubelet:
        found = Bench(person, kubelet, await person.namespace(f"t{next(NUMBERS)}"), tmp_path)
        yield found
        found.close()
