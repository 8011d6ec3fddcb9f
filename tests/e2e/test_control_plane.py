"""The API server away, and nodes that are cut off."""

from __future__ import annotations

import time

from e2e.bot import Bot, restarts
from e2e.kube import wait_for
from e2e.story import Story
from e2e.world import World

from tradingbot_cluster import partition

AWAY_S = 60.0
SLOT_S = 0.4


def traded_between(bot: Bot, first_slot: int, last_slot: int) -> int:
    """Return how many of the newest trades landed in a range of slots."""
    return sum(first_slot < int(fill["slot"]) <= last_slot for fill in bot.engine()["fills"])


def test_api_server_away_for_a_minute(trading: Bot, story: Story, breakable: World) -> None:
    """Bots trade on: no trade needs Kubernetes."""
    slot, pod = int(trading.engine()["market"]["slot"]), trading.pod()
    with breakable.without("kube-apiserver"):
        story.breaks(f"API server killed and away for {AWAY_S:g} s")
        time.sleep(AWAY_S)
    count = traded_between(trading, slot, slot + int(AWAY_S / SLOT_S))
    story.figure("trades while it was away", count)
    assert count > 0
    same = trading.pod()
    assert (same["metadata"]["uid"], restarts(same)) == (pod["metadata"]["uid"], restarts(pod))
    trading.wait_trading()


def test_node_cut_off_from_the_api_server(trading: Bot, story: Story, breakable: World) -> None:
    """A bot whose node the control plane no longer sees trades on, and is seen again when the node is."""
    assert breakable.cluster
    pod = trading.pod()
    node, slot = pod["spec"]["nodeName"], int(trading.engine()["market"]["slot"])
    partition.partition(breakable.cluster, node, "api")
    story.breaks(f"{node} cut off from the API server for {AWAY_S:g} s")
    try:
        time.sleep(AWAY_S)
    finally:
        partition.heal(breakable.cluster, node)
    wait_for("the node is seen", lambda: is_ready(breakable, node))
    count = wait_for("its engine answers", lambda: traded_between(trading, slot, slot + int(AWAY_S / SLOT_S)))
    story.figure("trades while it was cut off", count)
    trading.wait_trading()
    assert trading.pod()["metadata"]["uid"] == pod["metadata"]["uid"]


def test_node_cut_off_from_the_chain(trading: Bot, story: Story, breakable: World) -> None:
    """What was in flight is followed to its end when the chain is there again; meanwhile the status says why nothing is traded."""
    assert breakable.cluster
    pod = trading.pod()
    node = pod["spec"]["nodeName"]
    count = trading.wait_in_flight()
    partition.partition(breakable.cluster, node, "rpc")
    story.breaks(f"{node} cut off from the chain with {count} trade(s) in flight")
    try:
        trading.wait_condition("Trading", "False")
        story.says(f"Trading is {trading.condition('Trading')}")
    finally:
        partition.heal(breakable.cluster, node)
    trading.wait_trading()
    trading.wait_fills(trading.fills())


def is_ready(world: World, node: str) -> bool:
    conditions = world.kube.get("node", node)["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
