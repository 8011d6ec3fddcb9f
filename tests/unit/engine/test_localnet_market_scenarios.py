"""What the simulated market does: its traders on a real bank, in virtual time, looked at with plain indicators."""

from __future__ import annotations

from math import exp, log
from statistics import mean, median, stdev

import pytest
from solders.pubkey import Pubkey

from tradingbot_engine.domain.events import BAR_MS, Bar
from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.market import Market, Scenario, transactions_per_slot
from tradingbot_engine.localnet.market.world import Pool, reserves

SLOT_MS_AT_SPEED_60 = 24_000.0
WARM_UP_SLOTS = 33
"""Slots that a cluster ticks before it serves."""
ORIGIN_MS = 1_700_000_040_000
CalmHour = tuple[Bank, Market, dict[Pubkey, list[Bar]]]
TWO_TOKENS = (
    Pubkey.from_string("DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"),
    Pubkey.from_string("EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm"),
)


def market(
    scenario: Scenario, *, seed: int = 1, ms_per_slot: float = SLOT_MS_AT_SPEED_60, **settings: int
) -> tuple[Bank, Market]:
    bank = Bank(ms_per_slot=ms_per_slot, origin_ms=ORIGIN_MS)
    market = Market(bank, seed=seed, scenario=scenario, **settings)
    market.open()
    return bank, market


@pytest.fixture(scope="module")
def calm_hour() -> CalmHour:
    """A calm market after an hour, with the bars that each pool was born with; only to be looked at."""
    bank, calm = market(Scenario.CALM)
    born = {pool.address: bars_of(calm, pool) for pool in calm.world.pools}
    bank.tick(150)
    return bank, calm, born


def pool_of(market: Market, mint: Pubkey, quote: str = "SOL") -> Pool:
    return next(pool for pool in market.world.pools if pool.base.mint == mint and pool.quote.symbol == quote)


def bars_of(market: Market, pool: Pool) -> list[Bar]:
    return market.histories[pool.address].bars()


def momentum_fires(bars: list[Bar], end: int) -> bool:
    """5-minute return of 5 % or more, and volume of at least twice the median of the 12 windows before."""
    if bars[end].close / bars[end - 5].close - 1 < 0.05:
        return False
    volumes = [sum(bar.volume for bar in bars[end - 4 - 5 * back : end + 1 - 5 * back]) for back in range(13)]
    return volumes[0] >= 2 * median(volumes[1:])


def reversion_fires(bars: list[Bar], end: int) -> bool:
    """z of the last hour -2 or less, its deviation 0.5 % or more, not in free fall, and the liquidity still there."""
    closes = [bar.close for bar in bars[end - 59 : end + 1]]
    # 2 deviations below the mean are at least 1 % below the highest: most minutes need no logarithm
    if closes[-1] > max(closes) * exp(-2 * 0.005):
        return False
    logs = [log(close) for close in closes]
    deviation = stdev(logs)
    if deviation < 0.005 or (logs[-1] - mean(logs)) / deviation > -2:
        return False
    day, hour = bars[max(0, end - 1440)], bars[end - 60]
    return bars[end].close / day.close - 1 > -0.30 and bars[end].quote_reserve / hour.quote_reserve - 1 > -0.10


@pytest.mark.parametrize("seed", [0, 7])
def test_viral_offers_both_strategies_an_entry_within_40_seconds_of_the_sample(seed: int) -> None:
    """At the sample's speed, one of its two tokens bursts and one dips within 100 slots of 400 ms after localnet serves."""
    bank, viral = market(Scenario.VIRAL, seed=seed)
    bank.tick(WARM_UP_SLOTS)
    served_ms = bank.clock.at_ms(bank.slot)
    bank.tick(100)
    assert viral.failed_trades == 0
    entries: dict[str, list[float]] = {"momentum": [], "reversion": []}
    for mint in TWO_TOKENS:
        bars = bars_of(viral, pool_of(viral, mint))
        for end in range(len(bars) - 60, len(bars) - 1):
            closes_ms = bars[end].start_ms + BAR_MS
            if closes_ms > served_ms:
                wall_s = (closes_ms - served_ms) / 60_000
                entries["momentum"] += [wall_s] if momentum_fires(bars, end) else []
                entries["reversion"] += [wall_s] if reversion_fires(bars, end) else []
    assert entries["momentum"], "no burst"
    assert entries["reversion"], "no dip"
    assert max(min(entries["momentum"]), min(entries["reversion"])) <= 40


def test_viral_keeps_offering_entries_and_had_them_before_it_was_born() -> None:
    """Every token bursts and dips every hour, in history as in what follows."""
    _, viral = market(Scenario.VIRAL)
    for pool in (pool_of(viral, TWO_TOKENS[0]), pool_of(viral, TWO_TOKENS[1], "USDC")):
        bars = bars_of(viral, pool)
        for start in range(120, len(bars) - 75, 240):
            hour = range(start, start + 75)
            assert any(momentum_fires(bars, end) for end in hour)
            assert any(reversion_fires(bars, end) for end in hour)


def test_burst_shows_as_traffic() -> None:
    """50 times the traffic: more transactions up to a cap, and far more money through the pool."""
    bank, viral = market(Scenario.VIRAL)
    pool = pool_of(viral, TWO_TOKENS[0])
    per_slot: list[tuple[int, int]] = []
    for _ in range(75):
        bank.tick()
        mine = [record for record in bank.blocks[-1].records if pool.vault_quote in record.keys]
        spent = 0
        for record in mine:
            before = {balance.account_index: balance.amount for balance in record.pre_tokens}
            after = {balance.account_index: balance.amount for balance in record.post_tokens}
            at = record.keys.index(pool.vault_quote)
            spent += abs(after[at] - before[at])
        per_slot.append((len(mine), spent))
    quiet, loud = median(spent for _, spent in per_slot), max(spent for _, spent in per_slot)
    assert min(count for count, _ in per_slot) == 1
    assert max(count for count, _ in per_slot) == 5
    assert loud >= 20 * quiet


def test_dead_never_offers_an_entry() -> None:
    """Neither in its 25 h of history nor in the hours after."""
    bank, dead = market(Scenario.DEAD, seed=3)
    bank.tick(300)
    for pool in dead.world.pools:
        bars = bars_of(dead, pool)
        assert not any(momentum_fires(bars, end) or reversion_fires(bars, end) for end in range(65, len(bars)))
    assert bank.transaction_count < 300, "somebody keeps trading in a dead market"


def test_calm_never_offers_momentum_and_stays_near_its_opening(calm_hour: CalmHour) -> None:
    """Small wandering; the price after an hour is within a few percent."""
    _, calm, _ = calm_hour
    for pool in calm.world.pools:
        bars = bars_of(calm, pool)
        assert not any(momentum_fires(bars, end) for end in range(65, len(bars)))
        assert all(0.9 < bar.close / bars[-1].close < 1.1 for bar in bars)


def test_trend_rises_in_legs() -> None:
    """Every token is clearly higher than three hours ago, and its legs are entries for momentum."""
    bank, trend = market(Scenario.TREND)
    bank.tick(150)
    for mint in TWO_TOKENS:
        bars = bars_of(trend, pool_of(trend, mint))
        assert bars[-1].close / bars[-180].close > 1.05
        assert any(momentum_fires(bars, end) for end in range(len(bars) - 170, len(bars)))


def test_rug_pull_takes_the_liquidity_by_the_creators_own_transaction() -> None:
    """Within an hour the first token's creator withdraws nine tenths from both pools, and the price falls by half and more."""
    bank, rug = market(Scenario.RUG_PULL)
    pool = pool_of(rug, TWO_TOKENS[0])
    creator = rug.world.creator.pubkey()
    before = reserves(bank, pool)
    prices: list[float] = []
    withdrawals = []
    for _ in range(100):
        bank.tick()
        withdrawals += [r for r in bank.blocks[-1].records if r.keys[0] == creator and pool.address in r.keys]
        sample = rug.histories[pool.address].latest()
        assert sample is not None
        prices.append(sample.price)
    assert len(withdrawals) == 1
    after = reserves(bank, pool)
    assert after[0] * after[1] < 0.02 * before[0] * before[1]
    assert min(late / early for early, late in zip(prices, prices[3:], strict=False)) < 0.5, "one minute, three slots"
    assert prices[-1] < 0.1 * prices[0]
    assert rug.failed_trades == 0


def test_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    """Bars, addresses and transactions repeat; the price to pay is only the seed."""
    runs = []
    for seed in (5, 5, 6):
        bank, viral = market(Scenario.VIRAL, seed=seed)
        bank.tick(20)
        pool = pool_of(viral, TWO_TOKENS[1])
        runs.append((pool.address, bars_of(viral, pool), bank.transaction_count))
    assert runs[0] == runs[1]
    assert runs[0][:2] != runs[2][:2]


def test_history_ends_where_live_trading_begins_and_both_measure_volume_alike(calm_hour: CalmHour) -> None:
    """No step at birth: price and usual volume of the first live hour are those of the history."""
    _, calm, born_bars = calm_hour
    pool = pool_of(calm, TWO_TOKENS[0])
    born = born_bars[pool.address]
    assert len(born) >= 25 * 60
    assert abs(born[-2].close / born[-1].close - 1) < 0.01
    live = [bar for bar in bars_of(calm, pool) if bar.start_ms > ORIGIN_MS][:-1]
    assert 0.5 < median(bar.volume for bar in live) / median(bar.volume for bar in born) < 2
    assert [bar.start_ms for bar in bars_of(calm, pool)][-len(live) - 100 :] == list(
        range(
            bars_of(calm, pool)[-1].start_ms - BAR_MS * (len(live) + 99), bars_of(calm, pool)[-1].start_ms + 1, BAR_MS
        )
    )


def test_short_slots_share_a_budget_and_keep_the_volume_per_minute() -> None:
    """With 5 ms slots one pool trades per slot, in turns; the market looks the same from outside."""
    assert transactions_per_slot(400) == 48
    assert transactions_per_slot(5) == 1
    bank, calm = market(Scenario.CALM, ms_per_slot=300.0, transactions_per_slot=1)
    pool = pool_of(calm, TWO_TOKENS[0])
    usual = median(bar.volume for bar in bars_of(calm, pool))
    before = bank.transaction_count
    bank.tick(1_000)
    assert bank.transaction_count - before <= 1_000
    live = [bar for bar in bars_of(calm, pool) if bar.start_ms > ORIGIN_MS][:-1]
    assert len(live) >= 4
    assert 0.3 < median(bar.volume for bar in live) / usual < 3


def test_bot_that_moves_a_price_finds_it_restored() -> None:
    """Arbitrage undoes what a single large trade did."""
    bank, calm = market(Scenario.CALM)
    bank.tick(2)
    pool = pool_of(calm, TWO_TOKENS[0])
    base, quote = reserves(bank, pool)
    account = bank.account(pool.vault_quote)
    assert account is not None
    data = bytearray(account.data)
    data[64:72] = (quote * 11 // 10).to_bytes(8, "little")
    bank.set_account(
        pool.vault_quote, type(account)(account.lamports + quote // 10, bytes(data), account.owner, False, 0)
    )
    bank.tick(1)
    after = reserves(bank, pool)
    assert abs((after[1] / after[0]) / (quote / base) - 1) < 0.01
