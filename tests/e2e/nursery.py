"""Namespaces with a bot each, begun while earlier tests run, so that no test waits long for its bot to trade."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from e2e.audit import audit
from e2e.bot import Bot, manifest
from e2e.evidence import keep
from e2e.kube import HANGS_AFTER_S, Json, Kube, Refused
from e2e.story import Story
from e2e.world import EVIDENCE, World

AHEAD = 1
"""Bots that are started while another is tested."""


def keeper() -> Json:
    """
    Return a bot that keeps a namespace's localnet there, and does nothing.

    A localnet goes with its last bot; the audit of a bot that is gone asks it. A bot with a strategy that no engine knows counts as
    one that may be put right: it gets no pod, and what it trades on stays.
    """
    return manifest("keeper", strategies=[{"name": "none", "type": "no_such_strategy"}])


class Nursery:
    """
    Hands out bots.

    Args:
        world: Where.
        wanted: How many tests will ask for one.
    """

    def __init__(self, world: World, wanted: int) -> None:
        self._world, self._wanted, self._made = world, wanted, 0
        self._ready: deque[Bot] = deque()
        self._begin()

    def take(self) -> Bot:
        """Return a bot that trades."""
        if not self._ready:
            self._wanted += 1
            self._begin()
        bot = self._ready.popleft()
        self._begin()
        bot.wait_trading()
        bot.wait_fills()
        return bot

    def namespace(self) -> Kube:
        """Make an empty namespace."""
        self._made += 1
        kube = self._world.kube.of(f"e2e-{self._made}")
        if kube.exists("namespace", kube.namespace):  # of a run that was interrupted, on a cluster that is used again
            remove(kube)
            kube.run("delete", "namespace", kube.namespace, "--ignore-not-found", within_s=HANGS_AFTER_S)
        kube.run("create", "namespace", kube.namespace)
        return kube

    def _begin(self) -> None:
        while self._wanted and len(self._ready) < AHEAD:
            self._wanted -= 1
            kube = self.namespace()
            bot = Bot(kube)
            kube.apply(manifest())
            kube.apply(keeper())
            self._ready.append(bot)


def finish(world: World, story: Story, bot: Bot, *, failed: bool) -> None:
    """
    End a test's bot: deleted as a person would, drained, audited, its namespace removed.

    Where the test failed, or this does, everything that is known of it is kept first.
    """
    try:
        if failed:
            story.says(f"kept: {keep(EVIDENCE, story.test, bot.kube, world.system)}")
            return
        try:
            end(world, story, bot)
        except BaseException:
            story.says(f"kept: {keep(EVIDENCE, story.test, bot.kube, world.system)}")
            raise
    finally:
        remove(bot.kube)


def end(world: World, story: Story, bot: Bot, *, ledger: str | None = None) -> None:
    """Delete a bot, wait until it is gone, and hold the audit to: nothing doubled, lost, invented or open."""
    if bot.kube.exists("tradingbot", bot.name):
        with suppress(Refused):
            bot.heal()
        with story.measured(f"{bot.name} deleted until gone"):
            bot.kube.run("delete", "tradingbot", bot.name, f"--timeout={HANGS_AFTER_S:g}s", within_s=HANGS_AFTER_S + 30)
    verdict = audit(bot.kube, bot.name, image=world.engine_image, ledger=ledger)
    story.judged(bot.name, verdict)
    assert bool(verdict.counts["open"]) == story.leaves_open, (
        f"{bot.name} is gone, and left trades open: {verdict}\n{verdict.report}"
    )
    assert verdict.counts["filled"] > 0, f"{bot.name} never traded: {verdict}\n{verdict.report}"


def remove(kube: Kube) -> None:
    """Remove a namespace, whatever is in it, without waiting."""
    with suppress(Refused):
        for bot in kube.items("tradingbots"):
            name = bot["metadata"]["name"]
            with suppress(Refused):
                kube.run("annotate", "tradingbot", name, "tradingbot.dev/force-delete=true", "--overwrite")
        kube.run("delete", "namespace", kube.namespace, "--wait=false")
