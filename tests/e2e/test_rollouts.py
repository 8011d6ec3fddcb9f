"""A changed manifest rolls the pods in the middle of a trade: one by one on SQLite, with a surge on PostgreSQL."""

from __future__ import annotations

from e2e import database
from e2e.bot import Bot
from e2e.rollout import rolled
from e2e.story import Story
from e2e.world import World


def write(bot: Bot) -> None:
    """Change what only another engine can take over."""
    bot.patch(logging={"level": "debug"})


def test_rolling_update_mid_trade_on_sqlite(trading: Bot, story: Story) -> None:
    """The old engine is drained and gone before the new one starts: two never hold one file."""
    assert rolled(trading, story, lambda: write(trading), what="manifest changed").most == 1


def test_rolling_update_mid_trade_on_postgresql(on_postgres: Bot, story: Story) -> None:
    """The new engine is ready before the old one is told to go: there is never a moment without one that can trade."""
    seen = rolled(on_postgres, story, lambda: write(on_postgres), what="manifest changed")
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
