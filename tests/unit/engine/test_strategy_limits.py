"""At the very numbers of the design: what is exactly at a limit, and what lies a hair beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_market import SOL, START_MS

from tradingbot_engine.core.bars import BarRing
from tradingbot_engine.core.catalogue import make_strategy
from tradingbot_engine.core.strategies.base import Declined, Entry, MarketView
from tradingbot_engine.domain.events import BAR_MS, Bar

MOMENTUM = make_strategy("momentum_5m", {})
REVERSION = make_strategy("mean_revert_1h", {})
LAST_MS = START_MS + 64 * BAR_MS
RESERVE = 50 * SOL


def flat(start_ms: int, price: float = 1.0, volume: int = 100, reserve: int = RESERVE) -> Bar:
    return Bar(start_ms, price, price, price, price, volume, reserve)


def rise(*, to: float = 1.05, volume: int = 200, reserve: int = RESERVE, usd: float = 100.0, order: int = SOL // 2):
    """13 windows of 5 minutes at price 1 and volume 100 a minute; the last window differs."""
    ring = BarRing()
    for i in range(65):
        last = i == 64
        ring.put(flat(START_MS + i * BAR_MS, to if last else 1.0, volume if i >= 60 else 100, reserve))
    return MarketView(ring, LAST_MS, usd, SOL, order)


def reason(answer: object) -> str | None:
    return answer.reason if isinstance(answer, Declined) else "Entry" if isinstance(answer, Entry) else None


@pytest.mark.parametrize(
    ("market", "expected"),
    [
        (rise(), "Entry"),  # 5 %, 2 ×, $10,000, 1 %: all exactly at their limits
        (rise(to=1.049999), None),
        (rise(volume=199), "VolumeTooSmall"),
        (rise(usd=99.99), "LiquidityTooSmall"),
        (rise(order=SOL // 2 + SOL // 10_000), "ImpactTooLarge"),
        (rise(reserve=0), "LiquidityTooSmall"),
    ],
)
def test_momentum_enters_at_its_limits_and_not_beside_them(market, expected):
    """Return ≥ 5 %, volume ≥ 2 × the median, liquidity ≥ $10,000, impact ≤ 1 %."""
    assert reason(MOMENTUM.on_bar(market)) == expected


def test_the_usual_volume_is_the_median_of_twelve_windows():
    """One wild window among the twelve changes nothing; seven do."""
    for wild_windows, expected in ((1, "Entry"), (5, "Entry"), (7, "VolumeTooSmall")):
        market = rise()
        for i in range(wild_windows * 5):
            market.bars.put(flat(START_MS + i * BAR_MS, volume=10_000))
        assert reason(MOMENTUM.on_bar(market)) == expected


def test_a_pool_without_any_volume_is_not_bought():
    """Twice nothing is nothing: a ratio needs some volume now."""
    market = rise(volume=0)
    for i in range(60):
        market.bars.put(flat(START_MS + i * BAR_MS, volume=0))
    assert reason(MOMENTUM.on_bar(market)) == "VolumeTooSmall"


def test_liquidity_is_twice_the_quote_reserve_in_whole_units():
    """USDC has 6 decimals: $5,000 of it on one side make $10,000."""
    market = replace(rise(reserve=5_000 * 10**6, usd=1.0, order=1), quote_unit=10**6)
    assert reason(MOMENTUM.on_bar(market)) == "Entry"
    assert reason(MOMENTUM.on_bar(replace(market, quote_usd=0.99))) == "LiquidityTooSmall"


def fall(
    *, day: float = 1.0, reserve: int = RESERVE, before: int = RESERVE, usd: float | None = None, old: bool = True
) -> MarketView:
    """A quiet swing of an hour around 1, and a last close at 0.98: z about -2.6; a day ago the price was 0.98 / `day`."""
    ring = BarRing()
    if old:
        ring.put(flat(LAST_MS - 1440 * BAR_MS, 0.98 / day))
    for i in range(61):
        price = 0.98 if i == 60 else 1.0 + (0.009 if i % 2 else -0.004)
        ring.put(flat(LAST_MS - (60 - i) * BAR_MS, price, reserve=reserve if i else before))
    return MarketView(ring, LAST_MS, usd, SOL, SOL)


@pytest.mark.parametrize(
    ("market", "expected"),
    [
        (fall(), "Entry"),
        (fall(day=0.7001), "Entry"),
        (fall(day=0.7), "FallingKnife"),
        (fall(old=False), "WarmingUp"),
        (fall(reserve=901, before=1000), "Entry"),
        (fall(reserve=900, before=1000), "LiquidityLeaves"),
        (fall(reserve=0), "LiquidityUnknown"),
        (fall(before=0), "LiquidityUnknown"),
        (fall(reserve=900, before=1000, day=0.1), "LiquidityLeaves"),  # a rug is a deep z: liquidity is looked at first
    ],
)
def test_reversion_enters_at_its_limits_and_not_beside_them(market, expected):
    """24 h > -30 %, liquidity of 60 minutes > -10 %, and nothing where either is unknown."""
    assert reason(REVERSION.on_bar(market)) == expected


def test_the_price_of_a_day_ago_may_be_up_to_an_hour_older():
    """A hole just there does not blind the strategy; 25 hours are kept."""
    for minutes_older, expected in ((30, "Entry"), (58, "Entry")):
        market = fall(old=False)
        market.bars.put(flat(LAST_MS - (1440 + minutes_older) * BAR_MS, 1.0))
        assert reason(REVERSION.on_bar(market)) == expected
    market = fall(old=False)
    market.bars.put(flat(LAST_MS - 1439 * BAR_MS, 1.0))
    assert reason(REVERSION.on_bar(market)) == "WarmingUp"


def test_a_price_that_never_moved_has_no_z_score():
    """No deviation, no division by zero, no signal."""
    ring = BarRing()
    for i in range(61):
        ring.put(flat(LAST_MS - i * BAR_MS))
    assert REVERSION.on_bar(MarketView(ring, LAST_MS, None, SOL, SOL)) is None
