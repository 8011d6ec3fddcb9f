"""What providers say, read without trust."""

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from tradingbot_engine.domain.events import BAR_MS
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import SOL_MINT
from tradingbot_engine.market.discovery import LAYOUTS, PoolNotFound, pool_of
from tradingbot_engine.market.history import PoolNow, to_bars
from tradingbot_engine.market.layouts import POOL_PROGRAM_ID, PoolState, encode_pool
from tradingbot_engine.market.normalise import (
    AccountData,
    Malformed,
    account,
    accounts,
    candles,
    mint_decimals,
    parse,
    single_pool,
    slot_seen,
    usd_price,
    vault_amount,
    vault_write,
)

MINT = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
NOW = PoolNow(pool="p", quote_decimals=9, price=4.0, quote_reserve=8_000)
MINUTE_S = 1_700_000_040

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**300), 2**300) | st.floats() | st.text(max_size=70),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(
            st.sampled_from(
                "context slot parent value owner data lamports attributes ohlcv_list routePlan swapInfo ammKey inputMint "
                f"outputMint usdPrice {MINT} {SOL_MINT}".split()
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)
READERS = {
    "slot_seen": slot_seen,
    "vault_write": lambda x: vault_write(x, MINT),
    "accounts": lambda x: accounts(x, 2),
    "account": account,
    "single_pool": lambda x: single_pool(x, input_mint=SOL_MINT, output_mint=MINT),
    "candles": candles,
    "usd_price": lambda x: usd_price(x, MINT),
    "parse": lambda x: parse(str(x)),
}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=80, deadline=None)
@given(document=JSON)
def test_a_reader_returns_or_says_malformed_whatever_it_is_given(name, document):
    """No other exception leaves the border."""
    raised: Exception | None = None
    try:
        READERS[name](document)
    except Exception as error:
        raised = error
    assert raised is None or isinstance(raised, Malformed)


@settings(max_examples=80, deadline=None)
@given(
    st.binary(max_size=400),
    st.sampled_from(["TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA", str(POOL_PROGRAM_ID), "x" * 40]),
)
def test_account_bytes_of_any_kind_are_decoded_or_refused(data, owner):
    """Reserves are never negative and decimals never absurd."""
    with contextlib.suppress(Malformed):
        assert vault_amount(AccountData(owner, 1, data), MINT) >= 0
    with contextlib.suppress(Malformed):
        assert 0 <= mint_decimals(AccountData(owner, 1, data)) <= 18
    token = Token(MINT, "T", 5)
    with pytest.raises(PoolNotFound):
        pool_of("p", AccountData(owner, 1, data), token=token, quote_mint=SOL_MINT, quote_decimals=9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(-5, 5) | st.floats() | st.none() | st.text(max_size=3), max_size=7), max_size=10))
def test_dirty_rows_of_a_history_are_left_out_and_counted(rows):
    """What remains is finite, positive and ordered within the minute."""
    good = [MINUTE_S, 2.0, 3.0, 1.0, 2.5, 7.0]
    read, dirty = candles({"data": {"attributes": {"ohlcv_list": [*rows, good]}}})
    assert dirty == len(rows)
    assert [(c.start_s, c.open, c.high, c.low, c.close, c.volume) for c in read] == [tuple(good)]


def test_rows_come_out_oldest_first_whatever_their_order_and_once_each():
    """Providers send newest first, and repeat the row at a page's border."""
    rows = [[MINUTE_S + 60 * n, 1, 1, 1, 1, n] for n in (2, 1, 1, 0)]
    read, dirty = candles({"data": {"attributes": {"ohlcv_list": rows}}})
    assert ([c.volume for c in read], dirty) == ([0, 1, 2], 0)


def test_minutes_without_a_trade_become_flat_bars_and_the_open_minute_is_left_out():
    """The provider leaves quiet minutes out; volume turns into quote base units by the quote's decimals."""
    rows = [[MINUTE_S, 4, 4, 4, 4, 1.5], [MINUTE_S + 180, 4, 9, 4, 9, 0.25], [MINUTE_S + 300, 5, 5, 5, 5, 1]]
    read, _ = candles({"data": {"attributes": {"ohlcv_list": rows}}})
    start = MINUTE_S * 1000
    bars = to_bars(read, NOW, since_ms=start, until_ms=start + 5 * BAR_MS + 30_000)
    assert [(bar.start_ms - start) // BAR_MS for bar in bars] == [0, 1, 2, 3, 4]
    assert [bar.volume for bar in bars] == [1_500_000_000, 0, 0, 250_000_000, 0]
    assert [bar.close for bar in bars] == [4, 4, 4, 9, 9]


def test_the_depth_of_old_bars_follows_the_square_root_of_the_price():
    """x·y=k: at 9/4 of the price there was 3/2 of the quote reserve."""
    rows = [[MINUTE_S, 4, 4, 4, 4, 1], [MINUTE_S + 60, 9, 9, 9, 9, 1]]
    read, _ = candles({"data": {"attributes": {"ohlcv_list": rows}}})
    bars = to_bars(read, NOW, since_ms=0, until_ms=(MINUTE_S + 120) * 1000)
    assert [bar.quote_reserve for bar in bars] == [8_000, 12_000]


def test_a_hole_before_the_window_is_not_filled():
    """A token that last traded a year ago costs no million bars."""
    rows = [[MINUTE_S - 60 * 500_000, 4, 4, 4, 4, 1], [MINUTE_S, 4, 4, 4, 4, 1]]
    read, _ = candles({"data": {"attributes": {"ohlcv_list": rows}}})
    bars = to_bars(read, NOW, since_ms=(MINUTE_S - 120) * 1000, until_ms=(MINUTE_S + 60) * 1000)
    assert [bar.start_ms // 1000 - MINUTE_S for bar in bars] == [-120, -60, 0]


def pool_account(a: str, b: str) -> AccountData:
    keys = [Pubkey.from_string(a), Pubkey.from_string(b), Pubkey([3] * 32), Pubkey([4] * 32)]
    state = PoolState(*keys, fee_bps=25, creator=Pubkey([5] * 32), bump=250)
    return AccountData(str(POOL_PROGRAM_ID), 1, encode_pool(state))


def test_the_vaults_are_told_apart_by_mint_not_by_order():
    """A pool may hold the quote currency on either side."""
    token = Token(MINT, "BONK", 5)
    found = [
        pool_of("p", pool_account(*pair), token=token, quote_mint=SOL_MINT, quote_decimals=9)
        for pair in ((MINT, SOL_MINT), (SOL_MINT, MINT))
    ]
    assert found[0].base_vault == found[1].quote_vault == str(Pubkey([3] * 32))
    assert math.isclose(found[0].scale, 1e-4)


def test_a_pool_of_another_program_or_other_mints_is_named_and_refused():
    """A wrong price is worse than none."""
    token = Token(MINT, "BONK", 5)
    other = pool_account(MINT, "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
    with pytest.raises(PoolNotFound, match="other mints"):
        pool_of("p", other, token=token, quote_mint=SOL_MINT, quote_decimals=9)
    foreign = AccountData("11111111111111111111111111111111", 1, other.data)
    with pytest.raises(PoolNotFound, match="not supported"):
        pool_of("p", foreign, token=token, quote_mint=SOL_MINT, quote_decimals=9)
    assert set(LAYOUTS) == {str(POOL_PROGRAM_ID)}
