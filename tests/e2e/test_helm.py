"""The charts upgraded, rolled back, removed and installed again by Helm while bots trade."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e.bot import Bot, manifest, restarts
from e2e.kube import Json, Kube, wait_for
from e2e.nursery import end
from e2e.rollout import rolled
from e2e.story import Story
from e2e.world import CHARTS, CRDS, RELEASE, SYSTEM, World
from images.build import name_of, version

OTHER = "0.0.9"
"""The version that charts and images are stamped with that differ from this tree's in nothing else."""
OURS = "deployments,services,configmaps,networkpolicies,poddisruptionbudgets,serviceaccounts,roles,rolebindings,persistentvolumeclaims,secrets,pods"


@pytest.fixture
def other_charts(tmp_path: Path) -> Path:
    """Return a folder with both charts as another version."""
    for chart in (CRDS, RELEASE):
        shutil.copytree(CHARTS / chart, tmp_path / chart)
        about = tmp_path / chart / "Chart.yaml"
        text, stamped = re.subn(r"(?m)^(version|appVersion): .*$", rf'\1: "{OTHER}"', about.read_text())
        assert stamped == 2, f"{about} names its versions otherwise"
        about.write_text(text)
    return tmp_path


@pytest.fixture
def ours_again(world: World) -> Iterator[None]:
    """Leave the operator as the other tests want it."""
    yield
    world.install()


def test_helm_upgrade_and_rollback_of_the_operator_replace_no_engine(
    trading: Bot, story: Story, world: World, other_charts: Path, ours_again: None
) -> None:
    """From the previous chart to this one and back: another operator acts, on the same engines, which trade meanwhile."""
    same_images = (f"--set=image.tag={version()}", f"--set=engineImage.tag={version()}")
    world.install(*same_images, charts=other_charts)
    wait_for("the previous chart is installed", lambda: chart_of(world) == f"{RELEASE}-{OTHER}")
    trading.wait_trading()
    acts: list[tuple[str, Callable[[], object]]] = [
        ("helm upgrade from the previous chart", lambda: world.install(*same_images)),
        ("helm rollback to the previous chart", lambda: rollback(world)),
    ]
    for what, act in acts:
        undisturbed(trading, story, world, act, what=what)
    assert chart_of(world) == f"{RELEASE}-{OTHER}", "nothing was rolled back"


def test_helm_upgrade_that_brings_another_engine_rolls_bots_one_by_one_drained(
    trading: Bot, story: Story, breakable: World, other_charts: Path, ours_again: None
) -> None:
    """Bots that name no image of their own get the chart's, and with a rollback the old one; one that names its own keeps its pod."""
    for node in breakable.workers():
        for target in ("engine", "operator"):
            tag(breakable, node, name_of(target, version()), name_of(target, OTHER))
    own = Bot(trading.kube, "own-image")
    trading.kube.apply(manifest(own.name, engine={"image": breakable.engine_image}))
    own.wait_trading()
    own.wait_fills()
    pinned = own.pod()

    def upgrade() -> None:
        breakable.install(charts=other_charts, wait=False)

    seen = rolled(trading, story, upgrade, what="helm upgrade to another engine")
    assert seen.most == 1, "two engines on one ledger"
    assert image_of(trading.pod()) == name_of("engine", OTHER)
    seen = rolled(trading, story, lambda: rollback(breakable, wait=False), what="helm rollback to the engine before")
    assert seen.most == 1, "two engines on one ledger"
    assert image_of(trading.pod()) == name_of("engine", version())
    own.wait_trading()
    same_pod(own.pod(), pinned)
    own.wait_fills(own.fills())
    end(breakable, story, own)


def test_helm_uninstall_leaves_bots_alone_and_install_adopts_them(
    trading: Bot, story: Story, world: World, ours_again: None
) -> None:
    """Without operator and chart of the resource bots trade on; the next operator takes them over as they are."""
    pod, before = trading.pod(), uids(trading.kube)
    rolled_out = generation(trading)
    for release, *namespace in ((RELEASE, f"--namespace={SYSTEM}"), (CRDS,)):
        world.helm("uninstall", release, *namespace, "--wait", "--timeout=5m")
    story.breaks("helm uninstall of both charts")
    wait_for("no operator runs", lambda: not world.system.items("pods"))
    assert "deletionTimestamp" not in trading.body()["metadata"], "the bot goes with its operator"
    trading.patch(risk={"maxPositionPercent": 1})
    trading.wait_fills(trading.wait_fills(trading.fills()))
    assert uids(trading.kube) == before
    assert told(trading) < trading.body()["metadata"]["generation"], "somebody still acts"
    with story.measured("helm install"):
        world.install()
    with story.measured("installed until its engine knows what was written meanwhile"):
        wait_for("its engine knows", lambda: knows(trading))
    trading.wait_trading()
    assert trading.body()["status"]["effective"]["maxPositionPercent"] == 1
    assert uids(trading.kube) == before, "what was there is not what was adopted"
    same_pod(trading.pod(), pod)
    assert generation(trading) == rolled_out
    trading.wait_fills(trading.fills())
    story.says(world.helm("test", RELEASE, f"--namespace={SYSTEM}").splitlines()[-1])


def undisturbed(bot: Bot, story: Story, world: World, act: Callable[[], object], *, what: str) -> None:
    """Do something that replaces the operator; hold it to: the next one acts, and the engine's pod never knew."""
    pod, rolled_out, fills, operator = bot.pod(), generation(bot), bot.fills(), operator_pods(world)
    with story.measured(what):
        act()
    story.breaks(what)
    story.figure("trades meanwhile", bot.fills() - fills)
    wait_for("another operator alone", lambda: operator_pods(world).isdisjoint(operator))
    another = 1 if bot.body()["spec"]["risk"].get("maxPositionPercent") != 1 else 2
    bot.patch(risk={"maxPositionPercent": another})
    wait_for("its engine knows what the next operator was told", lambda: knows(bot))
    bot.wait_trading()
    bot.wait_fills(bot.fills())
    same_pod(bot.pod(), pod)
    assert generation(bot) == rolled_out, f"{what}: the pods' template was changed"


def rollback(world: World, *, wait: bool = True) -> None:
    """Undo the last upgrade of both charts."""
    patience = ["--wait", "--timeout=5m"] if wait else []
    world.helm("rollback", RELEASE, f"--namespace={SYSTEM}", *patience)
    world.helm("rollback", CRDS, *patience)


def knows(bot: Bot) -> bool:
    """Whether its engine was told the newest spec."""
    return told(bot) == int(bot.body()["metadata"]["generation"])


def told(bot: Bot) -> int:
    """Return the generation of the spec that its engine has; with it comes when the bot was made, which tells two of one name apart."""
    return int(bot.engine()["generation"]) % 10**6


def generation(bot: Bot) -> int:
    """Return how often its engine's Deployment was changed."""
    return int(bot.kube.get("deployment", bot.engine_name)["metadata"]["generation"])


def same_pod(now: Json, before: Json) -> None:
    assert (now["metadata"]["uid"], restarts(now)) == (before["metadata"]["uid"], restarts(before))


def image_of(pod: Json) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def chart_of(world: World) -> str:
    return str(world.system.get("deployment", RELEASE)["metadata"]["labels"]["helm.sh/chart"])


def operator_pods(world: World) -> set[str]:
    """Return the uids of the operator's pods; wait until there is one."""
    label = f"--selector=app.kubernetes.io/name={RELEASE}"
    return wait_for(
        "an operator", lambda: {pod["metadata"]["uid"] for pod in world.system.items("pods", label)} or None
    )


def uids(kube: Kube) -> dict[tuple[str, str], str]:
    """Return the uid of everything in a namespace."""
    found = kube.items(f"tradingbots,{OURS}")
    return {(body["kind"], body["metadata"]["name"]): body["metadata"]["uid"] for body in found}


def tag(world: World, node: str, image: str, name: str) -> None:
    """Give an image that a node has another name."""
    world.on_node(node, "ctr", "--namespace", "k8s.io", "images", "tag", "--force", image, name)
