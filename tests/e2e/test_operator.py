"""The operator killed and away: pods go on, and what happened meanwhile is caught up with."""

from __future__ import annotations

import time

from e2e.bot import Bot, manifest
from e2e.kube import HANGS_AFTER_S, Kube, wait_for
from e2e.story import Story
from e2e.world import RELEASE, World


def kill(system: Kube) -> None:
    system.run("delete", "pods", f"--selector=app.kubernetes.io/name={RELEASE}", "--grace-period=0", "--force")


def test_operator_killed_mid_reconcile(trading: Bot, story: Story, world: World) -> None:
    """Killed again and again while a bot is being made, at another step each time: it is made, and the other one goes on."""
    pod = trading.pod()
    second = Bot(trading.kube, "second")
    trading.kube.apply(manifest("second"))
    for number in range(3):
        time.sleep(0.3 * number)
        kill(world.system)
        made = len(trading.kube.run("get", "all", "--selector=tradingbot.dev/bot=second", "--output=name").split())
        story.breaks(f"operator killed while a second bot had {made} of its objects")
        wait_for("the operator is back", lambda: ready(world.system))
    second.wait_trading()
    second.wait_fills()
    same = trading.pod()
    assert same["metadata"]["uid"] == pod["metadata"]["uid"], "the other bot's pod was replaced"
    trading.kube.run("delete", "tradingbot", "second", f"--timeout={HANGS_AFTER_S:g}s", within_s=HANGS_AFTER_S + 30)


def test_operator_away_while_a_spec_changed_and_a_bot_was_deleted(trading: Bot, story: Story, world: World) -> None:
    """It acts on what it finds, not on events: a change of risk reaches the engine, a deleted bot is drained and let go."""
    second = Bot(trading.kube, "second")
    trading.kube.apply(manifest("second"))
    second.wait_trading()
    second.wait_fills()
    before = trading.engine()["generation"]
    world.system.run("scale", f"deployment/{RELEASE}", "--replicas=0")
    wait_for(
        "the operator is gone", lambda: not world.system.items("pods", f"--selector=app.kubernetes.io/name={RELEASE}")
    )
    story.breaks("operator away; meanwhile one bot's risk changed, another bot deleted, a Service removed by hand")
    trading.patch(risk={"profile": "Conservative"})
    trading.kube.run("delete", "tradingbot", "second", "--wait=false")
    trading.kube.run("delete", "service", trading.engine_name)
    fills = trading.fills()
    trading.wait_fills(fills)
    assert trading.kube.exists("tradingbot", "second"), "it went without being drained"
    with story.measured("operator back until all is caught up"):
        world.system.run("scale", f"deployment/{RELEASE}", "--replicas=1")
        wait_for("the other bot is gone", lambda: not trading.kube.exists("tradingbot", "second"))
        wait_for("its engine knows", lambda: trading.engine()["generation"] > before)
        wait_for("its Service is back", lambda: trading.kube.exists("service", trading.engine_name))
    trading.wait_trading()
    assert trading.body()["status"]["effective"]["maxPositionPercent"] == 1


def ready(system: Kube) -> bool:
    status = system.get("deployment", RELEASE)["status"]
    return bool(status.get("readyReplicas")) and status.get("replicas") == status.get("readyReplicas")
