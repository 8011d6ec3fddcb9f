"""What goes wrong around a bot becomes a condition with a reason and what to do, and is gone again when it is put right."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from e2e import database
from e2e.bot import Bot
from e2e.kube import Json, Kube, wait_for
from e2e.nursery import end, keeper
from e2e.story import Story
from e2e.ways import way_in, way_out
from e2e.world import World

from tradingbot_cluster.errors import Failed

NO_IMAGE = "registry.invalid/tradingbot-engine:none"

TINY = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "tiny"},
    "spec": {"limits": [{"type": "Container", "max": {"memory": "1Mi"}}]},
}


def test_pods_that_cannot_run(trading: Bot, story: Story) -> None:
    """An image that is not there, a node that is not there, memory that is too little: Degraded says which, and passes."""
    ways: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
        ("ImagePullFailed", NO_IMAGE, {"engine": {"image": NO_IMAGE}}, {"engine": None}),
        ("Unschedulable", "node", {"template": {"nodeSelector": {"no": "node"}}}, {"template": None}),
        ("OutOfMemory", "OOMKilled", {"template": {"resources": _memory("32Mi")}}, {"template": None}),
    ]
    done = 0
    for reason, says, broken, right in ways:
        before, done = done, trading.fills()
        assert done >= before, f"a trade that was done is not in the ledger that came after {reason}"
        story.breaks(reason)
        trading.patch(**broken)
        way_in(trading, story, "Degraded", "True", reason, says=says)
        trading.patch(**right)
        way_out(trading, story, reason)
    assert trading.wait_fills(done) > done


def test_engine_that_ends_again_and_again(trading: Bot, story: Story, breakable: World) -> None:
    """Degraded says so, with how it ended; an engine that stays is as expected again."""
    story.breaks("engine killed as soon as it runs, until the status calls it a loop")

    def looping() -> bool:
        pod = trading.pod()
        if any("running" in status["state"] for status in pod["status"].get("containerStatuses", ())):
            with suppress(Failed):  # it ended by itself meanwhile, or another is being made
                breakable.kill(pod)
        return trading.condition("Degraded")[:2] == ("True", "CrashLooping")

    wait_for("CrashLooping", looping, every_s=1)
    assert "exit code 137" in trading.condition("Degraded")[2]
    way_out(trading, story, "CrashLooping")


def test_what_the_cluster_refuses(trading: Bot, story: Story) -> None:
    """A quota that leaves no room for an object of ours, and a limit that none of our pods keeps."""
    kube, name, pod = trading.kube, trading.engine_name, trading.pod()
    story.breaks("a quota without Services, and ours deleted")
    kube.apply(_quota("services", {"count/services": "0"}))
    wait_for("the quota counts", lambda: "used" in kube.get("resourcequota", "services").get("status", {}))
    kube.run("delete", "service", name)
    way_in(trading, story, "Degraded", "True", "QuotaExceeded", says="quota")
    kube.run("delete", "resourcequota", "services")
    wait_for("the Service", lambda: kube.exists("service", name))
    way_out(trading, story, "QuotaExceeded")
    assert trading.pod()["metadata"]["uid"] == pod["metadata"]["uid"], (
        "an engine was ended for a Service that is missing"
    )
    story.breaks("a limit that no pod of ours keeps, and the pod deleted")
    kube.apply(TINY)
    kube.run("delete", "pod", trading.pod()["metadata"]["name"])
    way_in(trading, story, "Degraded", "True", "PodRefused", says="maximum memory usage")
    assert not [pod for pod in trading.pods() if "deletionTimestamp" not in pod["metadata"]], "the limit let a pod in"
    kube.run("delete", "limitrange", "tiny")
    way_out(trading, story, "PodRefused")
    assert trading.pod()["metadata"]["uid"] != pod["metadata"]["uid"]


def test_secret_that_is_not_there(place: Kube, story: Story, world: World) -> None:
    """No pod is made without the ledger's address; the bot starts by itself as soon as the Secret is there."""
    story.breaks("the Secret with the ledger's address not made")
    database.begin(place, image=world.postgres_image, secret=False)
    bot = database.bot_on_it(place)
    place.apply(keeper())
    way_in(bot, story, "Degraded", "True", "SecretMissing", says=database.SECRET)
    assert not bot.pods(), "a pod that cannot start was made"
    place.apply(database.address(place))
    way_out(bot, story, "SecretMissing")
    bot.wait_fills()
    end(world, story, bot, ledger=database.url(place))


def test_what_the_chain_and_the_engine_do(trading: Bot, story: Story, breakable: World) -> None:
    """No node answers, the admin port does not answer, it is paused: Trading and Degraded say so, and what becomes of it."""
    story.breaks("all nodes of the chain down")
    trading.fault("down")
    way_in(trading, story, "Trading", "False", "NoEndpoint", says="no RPC node")
    trading.heal()
    way_out(trading, story, "NoEndpoint")
    pod = trading.pod()
    story.breaks("engine frozen")
    breakable.pause(pod, "engine")
    try:
        way_in(trading, story, "Degraded", "True", "EngineUnreachable", says=pod["metadata"]["name"])
        assert trading.condition("Trading")[:2] == ("Unknown", "EngineUnreachable")
    finally:
        breakable.resume(pod, "engine")
    way_out(trading, story, "EngineUnreachable")
    trading.patch(paused=True)
    way_in(trading, story, "Trading", "False", "Paused", says="by the manifest")
    trading.patch(paused=False)
    way_out(trading, story, "Paused")


def _memory(limit: str) -> Json:
    return {"requests": {"memory": "16Mi"}, "limits": {"memory": limit}}


def _quota(name: str, hard: dict[str, str]) -> Json:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard}}
