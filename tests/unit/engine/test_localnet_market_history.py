"""Bars from slots: minutes, holes, forks, finality, and what is kept on disk."""

from __future__ import annotations

from math import exp
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingbot_engine.domain.events import BAR_MS, Bar
from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.market import BadToken, Market
from tradingbot_engine.localnet.market.history import KEPT_MS, History
from tradingbot_engine.localnet.market.store import Birth, MarketStore
from tradingbot_engine.localnet.market.tokens import SOL, WELL_KNOWN, listed, parse_token

MINUTE = 28_000_000 * BAR_MS


def history(*born: Bar) -> History:
    return History(base_decimals=0, quote_decimals=0, born_with=born)


def test_last_state_of_each_slot_makes_the_bar_and_changes_make_the_volume() -> None:
    """Price = quote / base; volume = what the quote vault changed by, up or down."""
    bars = history()
    for slot, quote in enumerate((1000, 1100, 900, 1000)):
        bars.observe(slot, MINUTE + slot * 20_000, 100, quote)
    assert bars.bars() == [
        Bar(MINUTE, 10.0, 11.0, 9.0, 9.0, 300, 900),
        Bar(MINUTE + BAR_MS, 10.0, 10.0, 10.0, 10.0, 100, 1000),
    ]


def test_minutes_without_a_slot_become_flat_bars() -> None:
    """A series of bars has no holes, however long a slot takes in market time."""
    bars = history()
    bars.observe(1, MINUTE, 100, 1000)
    bars.observe(2, MINUTE + 3 * BAR_MS + 5, 100, 1200)
    assert [(bar.start_ms, bar.close, bar.volume) for bar in bars.bars()] == [
        (MINUTE, 10.0, 0),
        (MINUTE + BAR_MS, 10.0, 0),
        (MINUTE + 2 * BAR_MS, 10.0, 0),
        (MINUTE + 3 * BAR_MS, 12.0, 200),
    ]


def test_slots_that_a_fork_took_back_leave_no_trace() -> None:
    """Neither their price nor their volume; the next slot's change is against the block before the fork."""
    forked, straight = history(), history()
    forked.observe(1, MINUTE, 100, 1000)
    forked.observe(2, MINUTE + 1, 100, 5000)
    forked.forget(lambda slot: slot == 2)
    for bars in (forked, straight):
        if bars is straight:
            bars.observe(1, MINUTE, 100, 1000)
        bars.observe(3, MINUTE + 2, 100, 1100)
    assert forked.bars() == straight.bars() == [Bar(MINUTE, 10.0, 11.0, 10.0, 11.0, 100, 1100)]


@given(
    reserves=st.lists(st.integers(1, 10**6), min_size=1, max_size=60),
    step_ms=st.integers(1, 4 * BAR_MS),
    finality=st.lists(st.integers(0, 5), min_size=60, max_size=60),
)
def test_bars_do_not_depend_on_when_slots_become_final(reserves: list[int], step_ms: int, finality: list[int]) -> None:
    """Folding is an optimisation: what is told before and after is the same, and closed bars come out once, in order."""
    eager, lazy = history(), history()
    closed: list[Bar] = []
    for slot, (quote, lag) in enumerate(zip(reserves, finality, strict=False)):
        for bars in (eager, lazy):
            bars.observe(slot, MINUTE + slot * step_ms, 100, quote)
        closed += eager.finalize(slot - lag)
        assert eager.bars() == lazy.bars()
    assert closed == lazy.bars()[: len(closed)]


def test_bars_older_than_25_hours_are_forgotten() -> None:
    """The list is bounded."""
    bars = history(Bar(MINUTE, 1.0, 1.0, 1.0, 1.0, 0, 100))
    for minute in range(1, 1600):
        bars.observe(minute, MINUTE + minute * BAR_MS, 100, 100)
        bars.finalize(minute - 3)
    assert len(bars.bars()) <= KEPT_MS // BAR_MS + 6


def test_emptied_pool_has_no_price() -> None:
    """Division by nothing never reaches a bar."""
    bars = history()
    bars.observe(1, MINUTE, 0, 1000)
    bars.observe(2, MINUTE, 10, 0)
    assert bars.bars() == []
    assert bars.latest() is None


def test_bank_that_forks_leaves_the_market_with_the_new_chain_only() -> None:
    """A fork of confirmed slots: bars are those of the blocks that are left, and the traders go on."""
    bank = Bank(ms_per_slot=24_000.0, origin_ms=MINUTE)
    market = Market(bank, seed=4)
    market.open()
    bank.tick(40)
    pool = market.world.pools[0]
    recorded = market.histories[pool.address]
    bank.rollback(12)
    bank.tick(1)
    slots = [sample.slot for sample in recorded._pending]
    assert all(bank.block_at(slot).slot == slot for slot in slots)
    assert slots == sorted(set(slots))
    bank.tick(5)
    assert market.failed_trades == 0
    sample = recorded.latest()
    assert sample is not None
    assert sample.slot == bank.slot


def test_store_gives_back_what_was_final_and_ignores_a_torn_line(tmp_path: Path) -> None:
    """kill -9 in the middle of a write costs the line that was written, nothing more."""
    bars = [Bar(MINUTE + minute * BAR_MS, 1.5, 2.0, 1.0, 1.25, minute, 10**15) for minute in range(5)]
    store = MarketStore(tmp_path)
    assert store.birth() is None
    store.keep_birth(Birth(7, ("M:6",), MINUTE))
    store.rewrite([bars[:2], []])
    store.append(0, bars[2:4])
    store.append(1, bars[:1])
    store.close()
    with (tmp_path / "bars.jsonl").open("ab") as file:
        file.write(b"[0,16800002")
    again = MarketStore(tmp_path)
    assert again.birth() == Birth(7, ("M:6",), MINUTE)
    assert again.bars_before(MINUTE + 10 * BAR_MS) == {0: bars[:4], 1: bars[:1]}
    assert again.bars_before(MINUTE + 2 * BAR_MS) == {0: bars[:2], 1: bars[:1]}
    assert again.bars_before(MINUTE + KEPT_MS + BAR_MS) == {0: bars[1:4]}


def test_market_that_died_before_its_genesis_was_final_is_born_again(tmp_path: Path) -> None:
    """The files know of a birth, the bank does not: the same world at the same addresses, with a new history."""
    first = Market(Bank(ms_per_slot=24_000.0, origin_ms=MINUTE), seed=9, state_dir=tmp_path)
    first.open()
    first.close()
    bank = Bank(ms_per_slot=24_000.0, origin_ms=MINUTE + 10**9)
    second = Market(bank, seed=1, state_dir=tmp_path)
    second.open()
    assert second.world == first.world
    assert second.origin_ms == MINUTE + 10**9
    assert len(second.histories[second.world.pools[0].address].bars()) >= 1500
    second.close()


def test_market_that_returns_with_another_scenario_goes_on_from_where_prices_are() -> None:
    """A new path is reached within half an hour of the market, not by a jump that a strategy would take for a signal."""
    bank = Bank(ms_per_slot=24_000.0, origin_ms=MINUTE)
    first = Market(bank, seed=3, scenario="Viral")
    first.open()
    bank.tick(67)
    first.trading = False
    before = {pool.address: first.histories[pool.address].latest() for pool in first.world.pools}
    second = Market(bank, seed=3, scenario="Calm")
    second.open()
    reference = second._paths(Birth(3, (), 0))
    bank.tick(1)
    for pool in second.world.pools:
        now, then = second.histories[pool.address].latest(), before[pool.address]
        assert now is not None
        assert then is not None
        assert now.price == pytest.approx(then.price, rel=0.01)
    bank.tick(80)
    minutes = (bank.clock.at_ms(bank.slot) - second.origin_ms) / 60_000
    pool = next(pool for pool in second.world.pools if (pool.base.symbol, pool.quote.symbol) == ("BONK", "USDC"))
    sample = second.histories[pool.address].latest()
    assert sample is not None
    assert sample.price == pytest.approx(2e-5 * exp(reference[pool.base.mint].log_price(minutes)), rel=0.006)


def test_tokens_are_at_their_mainnet_addresses_with_their_decimals() -> None:
    """Configuration carries over; decimals as on chain."""
    decimals = {token.symbol: token.decimals for token in (SOL, *WELL_KNOWN)}
    assert decimals == {"SOL": 9, "BONK": 5, "WIF": 6, "JUP": 6, "RAY": 6, "PYTH": 6, "JTO": 9, "USDT": 6}
    bonk = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
    assert listed([bonk, f"{bonk}:5", str(SOL.mint)]) == WELL_KNOWN
    assert parse_token("7GCihgDB8fe6KNjn2MYtkzZcRjQy3t9GHdC8uHYmW2hr:0").decimals == 0


@pytest.mark.parametrize(
    "text", ["", "BONK", "7GCihgDB8fe6KNjn2MYtkzZcRjQy3t9GHdC8uHYmW2hr:x", f"{SOL.mint}:8", f"{SOL.mint}:10"]
)
def test_tokens_that_cannot_be_are_refused(text: str) -> None:
    """An address that is none, decimals that are none, or not those of the known mint."""
    with pytest.raises(BadToken, match="token "):
        parse_token(text)
