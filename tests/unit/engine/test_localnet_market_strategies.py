"""The scenarios against the strategies themselves: the core is fed with what the pools of a real bank held, slot by slot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import core_market
import pytest
from solders.pubkey import Pubkey

from tradingbot_engine.domain.effects import EmitSignal
from tradingbot_engine.domain.events import ClockTick, HistoryLoaded, PriceTick, QuoteInUsd, RiskChanged
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.market import Market

BONK = Token("DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263", "BONK", 5)
WIF = Token("EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm", "WIF", 6)
TOKENS = (BONK, WIF)
WARM_UP_SLOTS = 33
"""Slots that a cluster ticks before it serves."""


def fired(effects: Sequence[object]) -> Counter[str]:
    return Counter(effect.signal.strategy for effect in effects if isinstance(effect, EmitSignal))


def signals(
    scenario: str,
    slots: int,
    *,
    seed: int,
    quote: str = "SOL",
    tokens: Sequence[Token] = TOKENS,
    enough: Collection[str] = ("none",),
) -> Counter[str]:
    """
    Return how many entries each strategy asks for within `slots` of 400 ms at 60 times the speed, with 25 h of history.

    Stops early when all strategies in `enough` have asked.
    """
    bank = Bank(ms_per_slot=24_000.0)
    market = Market(bank, seed=seed, scenario=scenario)
    market.open()
    bank.tick(WARM_UP_SLOTS)
    core = core_market.Market(tokens=tokens)
    pools = {}
    for token in tokens:
        mint = Pubkey.from_string(token.mint)
        pools[token] = next(p for p in market.world.pools if p.base.mint == mint and p.quote.symbol == quote)
    now_ms = bank.clock.at_ms(bank.slot)
    core.play([RiskChanged(now_ms, core_market.risk_row()), QuoteInUsd(now_ms, 150.0)])
    for number in range(slots):
        bank.tick()
        at_ms = bank.clock.at_ms(bank.slot)
        if number in (0, 5):  # again when the minute in which the feed began is over: only history has it whole
            for token, pool in pools.items():
                closed = [bar for bar in market.histories[pool.address].bars() if bar.start_ms + 60_000 <= at_ms]
                core.play([HistoryLoaded(token.mint, tuple(closed))])
        for token, pool in pools.items():
            sample = market.histories[pool.address].latest()
            assert sample is not None
            tick = PriceTick(token.mint, sample.slot, at_ms, sample.price, sample.quote_reserve, sample.volume)
            core.play([tick])
        core.play([ClockTick(at_ms)])
        if set(enough) <= set(fired(core.effects)):
            break
    return fired(core.effects)


@pytest.mark.parametrize(("seed", "quote"), [(0, "SOL"), (1, "SOL"), (3, "USDC")])
def test_viral_makes_both_strategies_of_the_sample_fire_within_40_seconds(seed: int, quote: str) -> None:
    """The sample's two tokens at the sample's speed: 100 slots after localnet serves."""
    entries = signals("Viral", 100, seed=seed, quote=quote, enough=("momentum", "reversion"))
    assert entries["momentum"] >= 1
    assert entries["reversion"] >= 1


def test_dead_makes_no_strategy_fire() -> None:
    """A minute of the sample, an hour of its market."""
    assert not signals("Dead", 150, seed=0)


def test_calm_makes_momentum_not_fire() -> None:
    """Small wandering is no momentum."""
    assert signals("Calm", 100, seed=1)["momentum"] == 0
