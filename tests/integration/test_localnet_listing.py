"""Tokens that are listed after localnet was born: made whole, with a past, and nothing else touched."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import struct
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT
from tradingbot_engine.localnet.cluster import Cluster
from tradingbot_engine.localnet.market import BadToken, Market
from tradingbot_engine.localnet.market.world import reserves

NEW = str(Keypair.from_seed(bytes([7]) * 32).pubkey())
OTHER = str(Keypair.from_seed(bytes([8]) * 32).pubkey())
DAY_AND_HOUR_MINUTES = 25 * 60


ORIGIN_MS = 1_790_000_000_000


@contextlib.asynccontextmanager
async def localnet(state: Path, *tokens: str, scenario: str = "Viral", speed: float = 30):
    cluster = Cluster(nodes=1, slot_ms=0, speed=speed, state_dir=state, origin_ms=ORIGIN_MS)
    market = Market(cluster.bank, seed=4, scenario=scenario, tokens=tokens, state_dir=state)
    market.open()
    market.mount(cluster.gateway)
    async with cluster:
        yield cluster, market
    market.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def born(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A localnet of some minutes, without any extra token."""
    state = tmp_path_factory.mktemp("born") / "state"
    async with localnet(state) as (cluster, _):
        cluster.bank.tick(100)
    return state


@pytest.fixture
def state(born: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(born, tmp_path / "state"))


def pools_of(market: Market, mint: str) -> list[Any]:
    return [pool for pool in market.world.pools if str(pool.base.mint) == mint]


def supply(cluster: Cluster, mint: str) -> int:
    account = cluster.bank.account(Pubkey.from_string(mint))
    assert account is not None
    return int(struct.unpack_from("<Q", bytes(account.data), 36)[0])


async def test_a_token_that_is_added_later_is_traded_quoted_and_has_a_past(state: Path) -> None:
    """It is final before anybody can ask; the pools that were there are where they were, and so are their bars."""
    async with localnet(state) as (cluster, market):
        cluster.bank.tick(40)
        pools = market.world.pools
        final = {pool.address: reserves(cluster.bank, pool, cluster.bank.finalized_slot) for pool in pools}
        past = {pool.address: market.histories[pool.address].bars() for pool in pools}
        final_ms = cluster.bank.clock.at_ms(cluster.bank.finalized_slot)
        issued = supply(cluster, USDC_MINT)
    cluster = Cluster(nodes=1, slot_ms=0, speed=30, state_dir=state)
    market = Market(cluster.bank, seed=99, scenario="Viral", tokens=(f"{NEW}:9",), state_dir=state)
    market.open()
    assert {address: reserves(cluster.bank, market.world.by_address[address]) for address in final} == final
    market.mount(cluster.gateway)
    async with cluster, aiohttp.ClientSession() as session:
        bank = cluster.bank
        assert market.world.pools[: len(pools)] == pools
        new = pools_of(market, NEW)
        assert [str(pool.quote.mint) for pool in new] == [SOL_MINT, USDC_MINT]
        assert all(bank.account(pool.address, bank.finalized_slot) is not None for pool in new)
        assert supply(cluster, USDC_MINT) == issued + _opening_quote(market, new[1])
        for pool in new:
            bars = market.histories[pool.address].bars()
            assert len(bars) >= DAY_AND_HOUR_MINUTES
            starts = [bar.start_ms for bar in bars]
            assert starts == list(range(starts[0], starts[-1] + 1, 60_000))
        for address, before in past.items():
            known = {bar.start_ms: bar for bar in market.histories[address].bars()}
            settled = [bar for bar in before if bar.start_ms < final_ms - 60_000 and bar.start_ms in known]
            assert len(settled) > DAY_AND_HOUR_MINUTES - 60
            assert all(known[bar.start_ms] == bar for bar in settled)
        before = reserves(bank, new[0])
        bank.tick(60)
        assert reserves(bank, new[0]) != before, "nobody trades it"
        assert market.failed_trades == 0
        query = {"inputMint": SOL_MINT, "outputMint": NEW, "amount": str(10**9)}
        async with session.get(f"{cluster.gateway_url}/swap/v1/quote", params=query) as answer:
            assert int((await answer.json())["outAmount"]) > 10**9  # it is worth less than SOL
    market.close()


def _opening_quote(market: Market, pool: Any) -> int:
    """What the vault held when it was opened: the first bar that was not imagined begins with it."""
    return market.listed_with[pool.address][1]


async def test_a_token_has_the_same_past_whenever_it_is_listed(state: Path, tmp_path: Path) -> None:
    """The same seed and mint: at every minute the price is what it would have been, had the token been there from birth."""
    async with localnet(tmp_path / "early", OTHER, NEW) as (_, market):
        early = {bar.start_ms: bar for bar in market.histories[pools_of(market, NEW)[1].address].bars()}
    async with localnet(state, NEW) as (cluster, market):
        assert cluster.bank.clock.at_ms(cluster.bank.slot) > ORIGIN_MS + 600_000
        late = market.histories[pools_of(market, NEW)[1].address].bars()
    shared = [bar for bar in late[1:] if bar.start_ms < ORIGIN_MS - 120_000]
    assert len(shared) > 1300
    assert all(early[bar.start_ms] == bar for bar in shared)


async def test_a_token_that_is_no_longer_wanted_stays(state: Path) -> None:
    """The world only grows: its pools, its number and its bars are the same in every later run."""
    async with localnet(state, NEW) as (cluster, market):
        world = market.world
        cluster.bank.tick(40)
    async with localnet(state, OTHER) as (cluster, market):
        assert market.world.pools[: len(world.pools)] == world.pools
        assert len(pools_of(market, OTHER)) == 2
        before = reserves(cluster.bank, pools_of(market, NEW)[0])
        cluster.bank.tick(60)
        assert reserves(cluster.bank, pools_of(market, NEW)[0]) != before


async def test_a_rugged_market_lists_what_is_left_of_a_token(state: Path) -> None:
    """Listed after its rug was pulled, its pools are shallow and its price is down: as if it had been there."""
    async with localnet(state, scenario="RugPull", speed=1200) as (cluster, _):
        cluster.bank.tick(40)  # 320 minutes
    async with localnet(state, NEW, scenario="RugPull") as (cluster, market):
        pool = pools_of(market, NEW)[1]
        base, quote = market.listed_with[pool.address]
        assert base * quote < pool.opening_base * pool.opening_quote // 50
        assert quote / base < 0.2 * pool.opening_quote / pool.opening_base
        cluster.bank.tick(60)
        assert market.failed_trades == 0
        bars = market.histories[pool.address].bars()
        assert max(bar.high for bar in bars) > 5 * bars[-1].close


async def test_a_token_that_did_not_become_final_is_listed_anew(state: Path) -> None:
    """Killed between the writing and finality: nothing of it is on disk, and the next start makes all of it."""
    for ticks in (0, 5):
        cluster = Cluster(nodes=1, slot_ms=0, speed=30, state_dir=state)
        market = Market(cluster.bank, seed=4, scenario="Viral", tokens=(NEW,), state_dir=state)
        market.open()
        cluster.bank.tick(ticks)
        market.close()
        cluster.store.close()  # what a kill leaves
    async with localnet(state) as (cluster, market):  # and it is listed although it is not asked for again
        new = pools_of(market, NEW)
        assert all(cluster.bank.account(pool.address, cluster.bank.finalized_slot) is not None for pool in new)
        assert len(market.histories[new[0].address].bars()) >= DAY_AND_HOUR_MINUTES


async def test_an_address_that_is_taken_is_refused_and_nothing_is_written(state: Path) -> None:
    """Somebody made a mint of their own there: theirs stays as it is."""
    async with localnet(state) as (cluster, _):
        cluster.bank.airdrop(Pubkey.from_string(NEW), 10**9)
        cluster.bank.tick(40)
    for _ in range(2):
        cluster = Cluster(nodes=1, slot_ms=0, state_dir=state)
        market = Market(cluster.bank, tokens=(NEW,), state_dir=state)
        with pytest.raises(BadToken, match="has an account there already"):
            market.open()
        market.close()
        cluster.store.close()
    async with localnet(state) as (cluster, market):
        assert not pools_of(market, NEW)
        account = cluster.bank.account(Pubkey.from_string(NEW))
        assert account is not None
        assert account.lamports == 10**9


async def test_other_decimals_than_a_token_has_are_refused(state: Path) -> None:
    """What was minted cannot be counted anew."""
    async with localnet(state, f"{NEW}:9"):
        pass
    cluster = Cluster(nodes=1, slot_ms=0, state_dir=state)
    with pytest.raises(BadToken, match="9 decimals"):
        Market(cluster.bank, tokens=(f"{NEW}:6",), state_dir=state).open()
    cluster.store.close()


async def test_kill_9_while_a_token_is_listed_leaves_all_of_it_or_nothing(state: Path) -> None:
    """From the moment at which it is listed to the first blocks that hold it; afterwards the mint, its pools and its history are whole."""
    mints = [str(Keypair.from_seed(bytes([n]) * 32).pubkey()) for n in range(20, 23)]
    for number, delay_s in enumerate((0.0, 0.02, 0.2)):
        process = await _start(state, mints[: number + 1])
        async with asyncio.timeout(120):
            while mints[number] not in (state / "market" / "market.json").read_text():
                await asyncio.sleep(0.001)
        await asyncio.sleep(delay_s)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    async with localnet(state, *mints) as (cluster, market):
        for mint in mints:
            for pool in pools_of(market, mint):
                assert min(reserves(cluster.bank, pool, cluster.bank.finalized_slot)) > 0
                assert cluster.bank.account(pool.lookup_table) is not None
                assert len(market.histories[pool.address].bars()) >= DAY_AND_HOUR_MINUTES
        cluster.bank.tick(40)
        assert market.failed_trades == 0


async def _start(state: Path, mints: Any) -> asyncio.subprocess.Process:
    options = [part for mint in mints for part in ("--token", mint)]
    command = ["-m", "tradingbot_engine", "localnet", "--output", "json", "--slot-ms", "20", "--state-dir", str(state)]
    return await asyncio.create_subprocess_exec(
        sys.executable, *command, *options, "--parent-pid", str(os.getpid()), stdout=asyncio.subprocess.PIPE
    )
