"""A condition's way in, and its way out."""

from __future__ import annotations

from e2e.bot import Bot
from e2e.story import Story


def way_in(bot: Bot, story: Story, kind: str, status: str, reason: str, *, says: str) -> None:
    """Wait for a condition, and hold its message to naming what a person needs to know."""
    with story.measured(f"{kind} {reason}"):
        message = bot.wait_condition(kind, status, reason)
    story.says(f"{reason}: {message[:160]}")
    assert says in message, message


def way_out(bot: Bot, story: Story, reason: str) -> None:
    """Wait until it trades; then nothing may be said to be wrong any more."""
    with story.measured(f"out of {reason}"):
        bot.wait_trading()
    assert bot.condition("Degraded")[:2] == ("False", "AsExpected")
