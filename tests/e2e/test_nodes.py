"""Nodes drained for maintenance while the bots on them trade."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.bot import Bot
from e2e.kube import Json, wait_for
from e2e.story import Story
from e2e.world import World

ENGINES = "--pod-selector=tradingbot.dev/bot,app.kubernetes.io/component=engine"
"""Every bot's engine on the node, and not the trial's chain and database, which no real bot has on it."""
DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=200s")


def test_node_drained_under_a_bot_on_sqlite(trading: Bot, story: Story, breakable: World, tmp_path: Path) -> None:
    """It is drained before it goes; its ledger is a volume of that node, so it waits for the node, says so, and goes on there."""
    pod, before = trading.pod(), trading.fills()
    ledger = trading.engine()["botId"]
    with drained(trading, story, breakable, tmp_path, successor=False) as node:
        message = trading.wait_condition("Degraded", "True", "Unschedulable")
        story.says(f"Degraded says: {message}")
        assert "node" in message
        assert [pod["status"]["phase"] for pod in trading.pods()] == ["Pending"], (
            "another node runs it without its ledger"
        )
        assert allowed(trading) == 0, "the budget does not know that it is away"
    with story.measured("node given back until it trades"):
        trading.wait_trading()
    wait_for("the budget lets it be moved again", lambda: allowed(trading) == 1)
    after = trading.pod()
    assert after["spec"]["nodeName"] == node
    assert after["metadata"]["uid"] != pod["metadata"]["uid"]
    assert trading.engine()["botId"] == ledger, "a bot's id is drawn when its ledger is made"
    trading.wait_fills(before + 1)


def test_node_drained_under_a_bot_on_postgresql(
    on_postgres: Bot, story: Story, breakable: World, tmp_path: Path
) -> None:
    """It is drained before it goes, and trades on another node while its own is still away."""
    before = on_postgres.fills()
    with drained(on_postgres, story, breakable, tmp_path, successor=True) as node:
        with story.measured("drained until it trades elsewhere"):
            on_postgres.wait_trading()
        assert on_postgres.pod()["spec"]["nodeName"] != node
        on_postgres.wait_fills(max(before, on_postgres.fills()))
        wait_for("the budget lets it be moved again", lambda: allowed(on_postgres) == 1)


@contextmanager
def drained(bot: Bot, story: Story, world: World, folder: Path, *, successor: bool) -> Iterator[str]:
    """
    Drain the node of a bot in the middle of a trade, hold the engine to ending what was in flight first, and keep the node away.

    Where another engine starts meanwhile (`successor`), it takes over what the old one then no longer has to follow.
    """
    pod = bot.pod()
    node = pod["spec"]["nodeName"]
    assert allowed(bot) == 1, "the budget would hold the drain up"
    try:
        with last_words(bot, pod, folder) as log:
            count = bot.wait_in_flight()
            story.breaks(f"{node} drained with {count} trade(s) in flight")
            with story.measured("kubectl drain"):
                world.kube.run("drain", node, ENGINES, *DRAIN, within_s=240)
        steps = [line for line in lines(log) if line.get("event") == "draining"]
        assert steps, "the engine was not drained before it ended"
        last = steps[-1]
        story.figure("engine's drain", float(last["seconds"]))
        story.says(f"left to its successor: {last['open_intents']} trade(s)")
        assert (last["step"], last["in_flight"]) == ("Done", 0), steps
        assert last["open_intents"] == 0 or successor, "nobody follows what is left"
        yield node
    finally:
        world.kube.run("uncordon", node)


@contextmanager
def last_words(bot: Bot, pod: Json, folder: Path) -> Iterator[Path]:
    """Follow an engine's log to its end, which nobody can read once the pod is gone."""
    path = folder / "engine.log"
    words = ("logs", "--follow", "--container=engine", pod["metadata"]["name"])
    line = [*bot.kube.program, f"--kubeconfig={bot.kube.kubeconfig}", f"--namespace={bot.kube.namespace}", *words]
    with path.open("w") as out:
        following = subprocess.Popen(line, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield path
            following.wait(60)
        finally:
            following.kill()
            following.wait()


def lines(log: Path) -> list[Json]:
    """Return the lines of a log that are JSON."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def allowed(bot: Bot) -> int:
    """Return how many of its pods may be evicted now."""
    status = bot.kube.get("poddisruptionbudget", bot.engine_name)["status"]
    assert status["expectedPods"] == 1, status
    return int(status["disruptionsAllowed"])
