"""What is seen of a bot's pods while something replaces them in the middle of a trade."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from e2e.bot import Bot
from e2e.kube import HANGS_AFTER_S, Json, Refused
from e2e.story import Story


@dataclass
class Watched:
    """What was seen."""

    most: int = 0
    least_ready: int = 99
    uids: set[str] = field(default_factory=set)


def rolled(bot: Bot, story: Story, change: Callable[[], object], *, what: str) -> Watched:
    """
    Change something while a trade is in flight, and look at the pods until the roll-out is over and the bot trades again.

    Exactly one successor comes, and every trade that was done is in the ledger that it goes on with.
    """
    old = bot.pod()["metadata"]["uid"]
    count, before = bot.wait_in_flight(), bot.fills()
    change()
    story.breaks(f"{what} with {count} trade(s) in flight")
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
    story.figure(f"{what}: until rolled out", time.monotonic() - began_s)
    bot.wait_trading()
    bot.wait_fills(before + 1)
    assert old in seen.uids
    assert len(seen.uids) == 2, "other pods than the old one and its successor came"
    return seen


def _ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
