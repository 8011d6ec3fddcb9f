"""
Argo CD, set up by docs/argo-cd.md, looks after our charts and a bot that trades: with real pods, from the first sync to the prune.

The tests follow one bot through its life, in this order; after each, the audit from outside finds no trade doubled, lost or invented.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from e2e.audit import audit
from e2e.bot import Bot, condition_of, manifest
from e2e.evidence import keep
from e2e.kube import HANGS_AFTER_S, Json, Kube, wait_for
from e2e.nursery import keeper
from e2e.story import Story
from e2e.world import EVIDENCE, World
from images.store import cache_dir
from support.argo_stage import ROOT, ArgoStage, Repository, an_argo_cd, applications, documented, whole

from tradingbot_cluster.cluster import Cluster, kubectl_program
from tradingbot_cluster.images import load
from tradingbot_cluster.places import places

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes, pytest.mark.timeout(1800)]
TRADING, BOT, FILE = "trading", "first-bot", "bots/first-bot.yaml"
APP = "bots"
OTHER = {"bots/about.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: about}, data: {team: momentum}}"}
"""What stays when the bot goes: Argo CD does not prune everything that an Application has."""


def say(text: str) -> None:
    print(f"argo: {text}", flush=True)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """
    A cluster of its own, of one node, with our images and nothing else of ours: all the rest comes from Git.

    If one of the name E2E_NAME runs already, it is used and left.
    """
    cluster = Cluster(os.environ.get("E2E_NAME", "argo"), places())
    cluster.clean()
    ours = cluster.state() is None
    cluster.up(workers=0, engine="auto", owner=os.getpid(), say=say)
    try:
        archives = [
            cache_dir() / "images" / "archives" / f"tradingbot-{target}.tar" for target in ("engine", "operator")
        ]
        load(cluster, [str(archive) for archive in archives], say)
        yield World(Kube(tuple(map(str, kubectl_program(places()))), cluster.kubeconfig), cluster, "helm")
    finally:
        if ours:
            cluster.down(say)


@pytest.fixture(scope="module")
def stage(world: World) -> Iterator[ArgoStage]:
    with an_argo_cd(world.kube.kubeconfig) as found:
        yield found


@pytest.fixture(scope="module")
def git(stage: ArgoStage, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """One repository with the charts, the first sample unchanged, and the guide's three Applications."""
    found = Repository(tmp_path_factory.mktemp("git"))
    for chart in ("tradingbot-crds", "tradingbot-operator"):
        found.add(f"The chart {chart}", ROOT / "charts" / chart, f"charts/{chart}")
    found.commit("A bot", {FILE: yaml.safe_dump(manifest()), **OTHER})
    files: dict[str, str | None] = {}
    for name in applications():
        application = documented(name, found)
        if name == "tradingbot-operator":
            del application["spec"]["source"]["helm"]["valuesObject"]["serviceMonitor"]  # no Prometheus operator here
        files[f"all/{name}.yaml"] = yaml.safe_dump(application)
    found.commit("What is installed", files)
    return found


@pytest.fixture(scope="module")
def bot(world: World) -> Bot:
    return Bot(world.kube.of(TRADING), BOT)


@pytest.fixture
def story(request: pytest.FixtureRequest, world: World, stage: ArgoStage, bot: Bot) -> Iterator[Story]:
    """What this test breaks and measures; what is known is kept where it fails, and the audit ends it."""
    found = Story(request.node.name)
    print(f"\n--- {request.node.name}", flush=True)
    failed_before = request.session.testsfailed
    yield found
    if request.session.testsfailed == failed_before:
        found.judged(BOT, audit(bot.kube, BOT, image=world.engine_image))
        return
    kept = keep(EVIDENCE, found.test, bot.kube, world.system)
    (kept / "applications.yaml").write_text(
        stage.kubectl("--namespace=argocd", "get", "applications.argoproj.io", "--output=yaml")
    )
    for log in stage.argo.folder.glob("*.log"):
        (kept / log.name).write_bytes(log.read_bytes())
    found.says(f"kept: {kept}")


def commit(stage: ArgoStage, git: Repository, message: str, **spec: Any) -> str:
    """Commit the sample bot with parts of its spec replaced, and let Argo CD look."""
    done = git.commit(message, {FILE: yaml.safe_dump(manifest(**spec))})
    stage.refresh(APP)
    return done


def identity(pod: Json) -> tuple[str, int]:
    """Return which pod this is, and how often its containers were restarted."""
    return pod["metadata"]["uid"], sum(found["restartCount"] for found in pod["status"].get("containerStatuses", ()))


def test_git_brings_the_resource_the_operator_and_a_bot_that_trades(
    world: World, stage: ArgoStage, git: Repository, bot: Bot, story: Story
) -> None:
    """One Application, three waves; the bot is Progressing until it trades, and then Healthy."""
    with story.measured("Application applied to Healthy"):
        stage.apply(whole(git))
        seen: list[str] = []

        def healthy() -> bool:
            found = stage.health(APP)[0]
            if found and found not in seen[-1:]:
                seen.append(found)
                story.says(f"{found}: {stage.health(APP)[1]}")
            return found == "Healthy"

        wait_for("the bot is healthy", healthy, within_s=3 * HANGS_AFTER_S)
    assert seen[seen[0] == "Missing" :] == ["Progressing", "Healthy"], seen  # the Application is there before its bot
    assert bot.condition("Trading")[:2] == ("True", "Trading")
    for name in (*applications(), "all"):
        stage.becomes(name, "Synced Healthy")
    bot.kube.apply(
        keeper()
    )  # by hand and not in Git: the chain outlives the bot for the last audit, and Argo CD does not mind
    bot.wait_fills()


def test_a_wrong_spec_is_degraded_and_the_bot_trades_on(
    stage: ArgoStage, git: Repository, bot: Bot, story: Story
) -> None:
    """What only the engine's catalogue knows is told in its words; the pods go on with the spec before; a revert heals."""
    before, fills = identity(bot.pod()), bot.fills()
    story.breaks("a commit names a strategy that there is not")
    commit(stage, git, "A strategy that there is not", strategies=[{"name": "momentum", "type": "momentum_6m"}])
    with story.measured("commit to Degraded"):
        message = stage.health_becomes(APP, "Degraded", "InvalidSpec", resource=BOT)
    assert "momentum_6m" in message
    bot.wait_fills(fills)
    assert identity(bot.pod()) == before
    git.revert()
    stage.refresh(APP)
    with story.measured("revert to Healthy"):
        stage.health_becomes(APP, "Healthy", resource=BOT)
    assert identity(bot.pod()) == before


def test_a_spec_or_a_child_changed_by_hand_is_put_back(
    stage: ArgoStage, git: Repository, bot: Bot, story: Story
) -> None:
    """The spec by Argo CD, the children by the operator; neither fights the other, and no pod is replaced."""
    before = identity(bot.pod())
    done = commit(stage, git, "A limit of our own", risk={"profile": "Balanced", "maxPositionPercent": 1.5})
    stage.becomes(APP, "Synced Healthy", revision=done)
    story.breaks("a limit raised by hand, a setting changed by hand, the Service deleted by hand")
    bot.patch(risk={"maxPositionPercent": 2})
    wait_for("the limit is as in Git", lambda: bot.body()["spec"]["risk"]["maxPositionPercent"] == 1.5)
    settings = bot.kube.get("configmap", f"{BOT}-settings")
    key = next(iter(settings["data"]))
    bot.kube.patch("configmap", f"{BOT}-settings", data={key: "changed: by hand"})
    wait_for("the settings are back", lambda: bot.kube.get("configmap", f"{BOT}-settings")["data"] == settings["data"])
    bot.kube.run("delete", "service", bot.engine_name)
    wait_for("the Service is back", lambda: bot.kube.exists("service", bot.engine_name))
    stage.quiet(APP)
    stage.becomes(APP, "Synced Healthy")
    assert identity(bot.pod()) == before
    bot.wait_fills(bot.fills())


def test_a_change_rolls_the_bot_and_a_revert_rolls_it_back(
    stage: ArgoStage, git: Repository, bot: Bot, story: Story
) -> None:
    """Each by a drained pod; the ledger goes on."""
    fills, first = bot.fills(), identity(bot.pod())
    with story.measured("commit to rolled out"):
        done = commit(stage, git, "Tell more", logging={"level": "debug"})
        stage.becomes(APP, "Synced Healthy", revision=done)
        bot.wait_trading()
    second = identity(bot.pod())
    assert second != first
    with story.measured("revert to rolled back"):
        done = git.revert()
        stage.refresh(APP)
        stage.becomes(APP, "Synced Healthy", revision=done)
        bot.wait_trading()
    assert bot.body()["spec"].get("logging", {}).get("level", "info") == "info"
    assert identity(bot.pod()) not in (first, second)
    bot.wait_fills(fills)


def test_a_bot_paused_by_hand_stays_paused(stage: ArgoStage, git: Repository, bot: Bot, story: Story) -> None:
    """Through self-heal, through a sync for another reason, and through the end of its pod."""
    bot.patch(paused=True)
    with story.measured("paused to Suspended"):
        stage.health_becomes(APP, "Suspended", "Paused", resource=BOT)
    done = commit(stage, git, "Smaller trades", risk={"profile": "Balanced", "maxPositionPercent": 1})
    stage.becomes(APP, "Synced Suspended", revision=done)
    assert bot.body()["spec"]["paused"] is True
    story.breaks("the paused bot's pod deleted")
    old = bot.pod()["metadata"]["name"]
    bot.kube.run("delete", "pod", old, f"--timeout={HANGS_AFTER_S:g}s", within_s=HANGS_AFTER_S + 30)
    stage.quiet(APP)
    stage.becomes(APP, "Synced Suspended")
    told = wait_for("the new pod's engine answers", bot.engine)
    assert told["trading"] is False
    bot.buys_nothing(for_s=10)
    fills = bot.fills()
    bot.patch(paused=False)
    with story.measured("resumed to Healthy"):
        stage.health_becomes(APP, "Healthy", resource=BOT)
    bot.wait_fills(fills)


def test_a_bot_taken_out_of_git_is_drained_with_a_trade_in_flight(
    stage: ArgoStage, git: Repository, bot: Bot, story: Story
) -> None:
    """Pruned in the foreground while a send is lost: shown as draining until what became of the trade is proven, then gone."""
    story.breaks("sends dropped by every node but the audit's, and the bot removed from Git with a trade in flight")
    bot.fault("drop_send")
    bot.wait_in_flight()
    git.commit("No bot any more", {FILE: None})
    stage.refresh(APP)
    with story.measured("commit to gone"):
        healths, reasons = set(), list[str]()

        def gone() -> bool:
            body = json.loads(bot.kube.run("get", "tradingbot", BOT, "--ignore-not-found", "--output=json") or "{}")
            if body and "deletionTimestamp" in body["metadata"]:
                healths.add(stage.health(APP, resource=BOT))
                _, reason, message = condition_of(body, "Drained")
                if reason not in reasons[-1:]:
                    reasons.append(reason)
                    story.says(f"{reason}: {message}")
            return not body

        wait_for("the bot is gone", gone, within_s=3 * HANGS_AFTER_S)
    assert ("Progressing", "Pending deletion") in healths
    assert {"Draining", "PodStillRunning", "Settling"} & set(reasons), "it went without a drain"
    bot.heal()
    stage.becomes(APP, "Synced Healthy")


def test_nothing_of_the_drained_bot_is_open(world: World, bot: Bot, story: Story) -> None:
    """The last audit: what was in flight is proven, one way or the other."""
    verdict = audit(bot.kube, BOT, image=world.engine_image)
    assert verdict.counts["open"] == 0, str(verdict)
    assert verdict.counts["filled"] > 0, str(verdict)
