"""Fixtures of the end-to-end tests: one cluster with the operator for all, a namespace with a bot for each."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from e2e import database
from e2e.bot import Bot
from e2e.kube import Kube
from e2e.nursery import Nursery, end, finish, keeper, remove
from e2e.story import Story
from e2e.world import EVIDENCE, World, the_world

HERE = Path(__file__).parent
FAILED = pytest.StashKey[bool]()
STORIES = pytest.StashKey[list[Story]]()
HANGS_AFTER_S = 900
ORDER = (
    "test_first_bot.py",
    "test_pods.py",
    "test_manifests.py",
    "test_rollouts.py",
    "test_deletion.py",
    "test_drift.py",
    "test_conditions.py",
    "test_conditions_of_trading.py",
    "test_conditions_of_the_api.py",
    "test_security.py",
    "test_network_policy.py",
    "test_operator.py",
    "test_helm.py",
    "test_nodes.py",
    "test_control_plane.py",
)
"""What takes the operator or the control plane away comes last."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STORIES] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here are e2e, and no part of the default suite; the plainest comes first."""
    items.sort(key=lambda item: ORDER.index(item.path.name) if item.path.name in ORDER else len(ORDER))
    for item in items:
        if HERE in item.path.parents:
            for mark in (pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(HANGS_AFTER_S)):
                item.add_marker(mark)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The cluster with the operator."""
    with the_world() as found:
        yield found


@pytest.fixture(scope="session")
def nursery(world: World, request: pytest.FixtureRequest) -> Nursery:
    """Bots that are begun before their tests are."""
    return Nursery(world, sum("trading" in getattr(item, "fixturenames", ()) for item in request.session.items))


@pytest.fixture
def breakable(world: World) -> World:
    """The cluster, if it may be broken."""
    if world.cluster is None:
        pytest.skip("E2E_CLUSTER=existing: a cluster that is somebody's is not broken")
    return world


@pytest.fixture
def story(request: pytest.FixtureRequest) -> Iterator[Story]:
    """What this test breaks and measures."""
    found = Story(request.node.name)
    request.config.stash[STORIES].append(found)
    print(f"\n--- {request.node.name}", flush=True)
    yield found
    found.seconds = time.monotonic() - found.began_s
    found.outcome = "FAILED" if request.node.stash.get(FAILED, False) else "passed"


@pytest.fixture
def trading(request: pytest.FixtureRequest, story: Story, nursery: Nursery, world: World) -> Iterator[Bot]:
    """A bot that trades, in a namespace of its own; at the end it is deleted and audited."""
    bot = nursery.take()
    story.says(f"{bot.kube.namespace}/{bot.name} trades")
    yield bot
    finish(world, story, bot, failed=request.node.stash.get(FAILED, False))


@pytest.fixture
def place(request: pytest.FixtureRequest, story: Story, nursery: Nursery, world: World) -> Iterator[Kube]:
    """An empty namespace, removed at the end."""
    from e2e.evidence import keep

    kube = nursery.namespace()
    yield kube
    if request.node.stash.get(FAILED, False):
        story.says(f"kept: {keep(EVIDENCE, story.test, kube, world.system)}")
    remove(kube)


@pytest.fixture
def on_postgres(place: Kube, world: World, story: Story) -> Iterator[Bot]:
    """A bot that trades, its ledger in PostgreSQL; at the end it is deleted and audited."""
    database.begin(place, image=world.postgres_image)
    bot = database.bot_on_it(place)
    place.apply(keeper())
    bot.wait_trading()
    bot.wait_fills()
    yield bot
    end(world, story, bot, ledger=database.url(place))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    stories = config.stash[STORIES]
    if stories:
        terminalreporter.section("what was broken, and what the audit said")
        for found in stories:
            for line in found.lines():
                terminalreporter.write_line(line)
