"""A changed manifest rolls the pods in the middle of a trade: one by one on SQLite, with a surge on PostgreSQL."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from e2e import database
from e2e.bot import Bot
from e2e.kube import HANGS_AFTER_S, Json, Refused
from e2e.story import Story
from e2e.world import World


@dataclass
class Watched:
    """What was seen of a bot's pods while they were replaced."""

    most: int = 0
    least_ready: int = 99
    uids: set[str] = field(default_factory=set)


def rolled(bot: Bot, story: Story) -> Watched:
    """Change the manifest while a trade is in flight, and look at the pods until the roll-out is over."""
    old = bot.pod()["metadata"]["uid"]
    count, before = bot.wait_in_flight(), bot.fills()
    bot.patch(logging={"level": "debug"})
    story.breaks(f"manifest changed with {count} trade(s) in flight")
    seen, began_s = Watched(), time.monotonic()
    while time.monotonic() - began_s < HANGS_AFTER_S:
        try:
            pods, conditions = bot.pods(), [bot.condition("Progressing")[:2], bot.condition("Ready")[:2]]
        except Refused:
            continue
        seen.uids |= {pod["metadata"]["uid"] for pod in pods}
        seen.most = max(seen.most, len(pods))
        seen.least_ready = min(seen.least_ready, sum(map(_ready, pods)))
        over = conditions == [("False", "UpToDate"), ("True", "AllReady")]
        if over and len(pods) == 1 and pods[0]["metadata"]["uid"] != old:
            break
        time.sleep(0.2)
    story.figure("write until rolled out", time.monotonic() - began_s)
    bot.wait_trading()
    bot.wait_fills(before + 1)
    assert old in seen.uids
    assert len(seen.uids) == 2, "other pods than the old one and its successor came"
    return seen


def test_rolling_update_mid_trade_on_sqlite(trading: Bot, story: Story) -> None:
    """The old engine is drained and gone before the new one starts: two never hold one file."""
    assert rolled(trading, story).most == 1


def test_rolling_update_mid_trade_on_postgresql(on_postgres: Bot, story: Story) -> None:
    """The new engine is ready before the old one is told to go: there is never a moment without one that can trade."""
    seen = rolled(on_postgres, story)
    assert seen.most == 2
    assert seen.least_ready >= 1, "for a moment no engine was ready"


def test_database_killed_mid_trade(on_postgres: Bot, story: Story, breakable: World) -> None:
    """The engine says that its ledger is away, trades nothing meanwhile, and goes on when the database does."""
    pod, count = on_postgres.pod(), on_postgres.wait_in_flight()
    breakable.pause(on_postgres.kube.get("pod", database.NAME), "postgres")
    story.breaks(f"database frozen with {count} trade(s) in flight")
    try:
        with story.measured("frozen until the status says so"):
            on_postgres.wait_condition("Trading", "False", "LedgerUnavailable")
    finally:
        breakable.resume(on_postgres.kube.get("pod", database.NAME), "postgres")
    with story.measured("thawed until it trades"):
        on_postgres.wait_trading()
    on_postgres.wait_fills(on_postgres.fills())
    assert on_postgres.pod()["metadata"]["uid"] == pod["metadata"]["uid"]


def _ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
