"""That the market is not heard any more is said to people, once it lasts, and where nothing else says more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.units import Mint
from tradingbot_engine.feed_watch import TELL_AFTER_S, FeedWatch
from tradingbot_engine.lifecycle import NO_ENDPOINT, STALE_MARKET_DATA, Lifecycle, Phase
from tradingbot_engine.market.port import FeedHealth, TokenHealth


class Market:
    """A feed of two tokens, watched."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.life = Lifecycle(clock=self.clock)
        self.life.enter(Phase.READY)
        self.problems = ["NoProofOfLife", "HoleInHistory: slots 3 to 7"]
        self.tokens = 2
        self.stale = (True, True)
        self.watch = FeedWatch(health=self.health, lifecycle=self.life, clock=self.clock)

    def health(self) -> FeedHealth:
        told = [
            replace(TokenHealth(Mint(f"m{n}")), stale=stale, problem=problem if stale else "")
            for n, (stale, problem) in enumerate(zip(self.stale, self.problems, strict=True))
        ]
        return FeedHealth(0, 1, all(self.stale), "n0", {token.mint: token for token in told[: self.tokens]})

    async def told_after(self, seconds: float) -> str:
        """Return the reason's message after looks over so many seconds, "" without it."""
        for _ in range(round(seconds / 0.5)):
            await self.watch.look()
            await self.clock.advance(0.5)
        await self.watch.look()
        return next((r.message for r in self.life.reasons if r.type == STALE_MARKET_DATA), "")


async def test_a_market_that_is_silent_for_long_is_told_with_the_kinds_of_trouble():
    """The message does not change while it lasts, so that nobody writes it down again and again."""
    market = Market()
    assert not await market.told_after(TELL_AFTER_S - 0.5)
    said = await market.told_after(0.5)
    assert said == "no token has a fresh price, none is bought (HoleInHistory, NoProofOfLife)"
    assert await market.told_after(60.0) == said


async def test_it_is_over_with_the_first_fresh_price():
    market = Market()
    assert await market.told_after(TELL_AFTER_S)
    market.stale = (True, False)
    assert not await market.told_after(0.0)
    market.stale = (True, True)
    assert not await market.told_after(TELL_AFTER_S - 0.5), "the time counts anew"


@pytest.mark.parametrize("stale", [(False, True), (True, False), (False, False)])
async def test_one_token_with_a_fresh_price_is_enough(stale):
    market = Market()
    market.stale = stale
    assert not await market.told_after(60.0)


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.DRAINING, Phase.STOPPED])
async def test_an_engine_that_is_not_ready_says_other_things(phase):
    market = Market()
    market.life.phase = phase
    assert not await market.told_after(60.0)


async def test_without_a_node_that_is_the_reason():
    """The feed is silent because of it; afterwards it gets its time to be heard again."""
    market = Market()
    assert await market.told_after(TELL_AFTER_S)
    market.life.tell(NO_ENDPOINT, "all away")
    assert not await market.told_after(60.0)
    market.life.clear(NO_ENDPOINT)
    assert not await market.told_after(TELL_AFTER_S - 0.5)
    assert await market.told_after(0.5)


async def test_a_bot_without_tokens_lacks_no_price():
    """Its screen found none: that is no fault of the feed."""
    market = Market()
    market.tokens = 0
    assert not await market.told_after(60.0)
