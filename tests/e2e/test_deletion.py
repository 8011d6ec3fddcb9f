"""Bots deleted while a trade is in doubt."""

from __future__ import annotations

import time

import pytest
from e2e.audit import held
from e2e.bot import Bot
from e2e.kube import Refused, wait_for
from e2e.story import Story
from e2e.world import World

FINAL_AFTER_S = 25.0
"""What was in flight before the fault has ended by then."""


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_deleted_with_an_attempt_in_flight_whose_send_was_dropped(trading: Bot, story: Story, cascade: str) -> None:
    """The bot stays until the attempt is proven never to land, and says so; foreground deletion takes its pods at once."""
    trading.fault("drop_send")
    time.sleep(FINAL_AFTER_S)
    count = trading.wait_in_flight()
    trading.kube.run("delete", "tradingbot", trading.name, f"--cascade={cascade}", "--wait=false")
    story.breaks(f"deleted (--cascade={cascade}) with {count} trade(s) in flight whose sends every node dropped")
    told: dict[str, str] = {}
    settled = False

    def gone() -> bool:
        nonlocal settled
        if not trading.kube.exists("tradingbot", trading.name):
            return True
        status, reason, message = trading.condition("Drained")
        if reason and reason not in told:
            told[reason] = message
            story.says(f"Drained is {status}, {reason}: {message[:200]}")
        settled = settled or trading.kube.exists("job", f"{trading.name}-settle")
        return False

    with story.measured("delete until gone"):
        wait_for("the bot is gone", gone)
    assert settled, f"a trade was in doubt for longer than a drain waits, and no Job settled it: {told}"
    assert any("open" in message and "force-delete" in message for message in told.values()), told
    left = trading.kube.run("get", "jobs,pods,configmaps,networkpolicies,serviceaccounts", "--output=name")
    with_name = [line for line in left.split() if "settle" in line]
    assert not any(line for line in with_name if not line.startswith("pod/")), with_name


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_close_positions_sells_everything_first(trading: Bot, story: Story, world: World, cascade: str) -> None:
    """With its pods, or with a Job when foreground deletion has taken them: nothing is held when the bot is gone."""
    trading.patch(deletionPolicy="ClosePositions")
    wait_for("it holds something", lambda: any(token["position"] for token in trading.engine()["tokens"]), every_s=0.2)
    trading.kube.run("delete", "tradingbot", trading.name, f"--cascade={cascade}", "--wait=false")
    story.breaks(f"deleted (--cascade={cascade}) with ClosePositions, while it held something")
    told: set[str] = set()

    def gone() -> bool:
        if not trading.kube.exists("tradingbot", trading.name):
            return True
        status, reason, message = trading.condition("Drained")
        if reason and reason not in told:
            told.add(reason)
            story.says(f"Drained is {status}, {reason}: {message[:200]}")
        return False

    with story.measured("delete until gone"):
        wait_for("the bot is gone", gone, every_s=0.2)
    assert held(trading.kube, trading.name, image=world.engine_image) == 0


def test_force_delete_is_the_way_out(trading: Bot, story: Story) -> None:
    """The documented annotation lets go at once, whatever is open; the ledger keeps what was."""
    trading.fault("drop_send")
    time.sleep(FINAL_AFTER_S)
    count = trading.wait_in_flight()
    trading.fault("halt")
    trading.kube.run("delete", "tradingbot", trading.name, "--wait=false")
    story.breaks(f"chain halted for good with {count} trade(s) in flight whose sends were dropped, then deleted")
    story.leaves_open = True
    wait_for("it waits for what is open", lambda: trading.condition("Drained")[1] == "Settling")
    assert _there(trading), "it went by itself: nothing was forced"
    trading.kube.run("annotate", "tradingbot", trading.name, "tradingbot.dev/force-delete=true")
    with story.measured("force-delete until gone"):
        wait_for("it is gone", lambda: not _there(trading))
    wait_for("its pods are gone", lambda: not trading.pods())
    assert trading.kube.exists("persistentvolumeclaim", f"{trading.name}-ledger"), "the ledger went with it"
    trading.heal()


def _there(bot: Bot) -> bool:
    try:
        return bot.kube.exists("tradingbot", bot.name)
    except Refused:
        return True
