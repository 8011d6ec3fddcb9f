"""The feed on a real cluster: what it tells is what the pools hold, through everything that nodes do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.events import BAR_MS, ClockTick, FeedStatus, HistoryLoaded, PriceTick, QuoteInUsd
from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT
from tradingbot_engine.localnet.cluster import Cluster
from tradingbot_engine.localnet.faults import parse_fault
from tradingbot_engine.localnet.market.market import Market
from tradingbot_engine.localnet.market.world import reserves
from tradingbot_engine.market.pools import build_feed
from tradingbot_engine.market.tokens import TokenUnknown, resolve_tokens
from tradingbot_engine.market.wallet import read_wallet
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import (
    BotSettings,
    EndpointSettings,
    EngineSettings,
    EventTimeSettings,
    ExecutionSettings,
    LedgerSettings,
    MarketSettings,
    RpcSettings,
    StrategySettings,
    SwapSettings,
    TokenSettings,
    WalletSettings,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

BONK = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
WIF = "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm"
SLOT_MS, SPEED = 50, 60


class World:
    """A cluster of two nodes that the feed may listen to, and one beside them."""

    def __init__(self, cluster: Cluster, market: Market, cables: list[Cable]) -> None:
        self.cluster, self.market, self.cables = cluster, market, cables

    def settings(
        self, *, mints=(BONK, WIF), nodes=(0, 1), quote="SOL", staleness_ms=500, by_slot=True
    ) -> EngineSettings:
        clock, slot = self.cluster.bank.clock, self.cluster.bank.slot
        per_slot = (clock.at_ms(slot + 1000) - clock.at_ms(slot)) / 1000
        time = EventTimeSettings(origin_slot=slot, origin_ms=clock.at_ms(slot), ms_per_slot=per_slot)
        endpoints = tuple(
            EndpointSettings(
                name=f"node-{i}",
                url=SecretStr(self.cluster.nodes[i].http_url),
                websocket_url=SecretStr(self.cables[i].url),
            )
            for i in nodes
        )
        return EngineSettings(
            bot=BotSettings(name="bot"),
            wallet=WalletSettings(address=BONK),
            rpc=RpcSettings(endpoints=endpoints),
            market=MarketSettings(
                quote=quote,
                tokens=tuple(TokenSettings(mint=m) for m in mints),
                max_staleness_ms=staleness_ms,
                event_time=time if by_slot else None,
                history_url=self.cluster.gateway_url,
                price_url=self.cluster.gateway_url,
            ),
            strategies=(StrategySettings(name="a", type="b"),),
            execution=ExecutionSettings(swap=SwapSettings(base_url=self.cluster.gateway_url)),
            ledger=LedgerSettings(sqlite_path=Path("/nowhere")),
        )

    def pool(self, mint: str, quote: str = SOL_MINT):
        pools = self.market.world.pools
        return next(p for p in pools if (str(p.base.mint), str(p.quote.mint)) == (mint, quote))


class Cable:
    """The way from the feed to a node's websocket; it can be cut (connections reset, none taken) or go dead silently."""

    def __init__(self) -> None:
        self.is_cut = self.is_dead = False
        self.url = ""
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def lay(self, websocket_url: str) -> Cable:
        self.port = int(websocket_url.rpartition(":")[2])
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def cut(self) -> None:
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self.is_cut = self.is_dead = False

    async def close(self) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        finally:
            for one in (writer, far_writer):
                one.transport.abort()
                self._writers.discard(one)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                while self.is_dead:
                    await asyncio.sleep(0.02)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


class Listener:
    """Collects what a running feed tells."""

    def __init__(self, feed, events) -> None:
        self.feed, self.events = feed, events

    def of(self, kind, mint=None):
        return [e for e in self.events if isinstance(e, kind) and (mint is None or e.mint == mint)]

    async def until(self, condition, what: str):
        async with asyncio.timeout(60):
            while not (found := condition()):
                await asyncio.sleep(0.01)
        assert found, what
        return found

    async def fresh(self):
        await self.until(
            lambda: not any(t.stale for t in self.feed.health().tokens.values()) and not self.told(), "fresh"
        )

    def told(self) -> set[str]:
        """Return the tokens that are stale by the events told so far."""
        stale: set[str] = set()
        for event in self.of(FeedStatus):
            moved = {event.mint} if event.mint else set(self.feed.health().tokens)
            stale = stale | moved if event.stale else stale - moved
        return stale

    async def next_tick(self, mint=BONK):
        count = len(self.of(PriceTick, mint))
        await self.until(lambda: len(self.of(PriceTick, mint)) > count, "a tick")
        return self.of(PriceTick, mint)[-1]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world():
    cluster = Cluster(nodes=3, slot_ms=SLOT_MS, speed=SPEED, seed=5)
    market = Market(cluster.bank, seed=5)
    market.open()
    market.mount(cluster.gateway)
    async with cluster:
        cables = [await Cable().lay(node.websocket_url) for node in cluster.nodes[:2]]
        yield World(cluster, market, cables)
        for cable in cables:
            await cable.close()
    market.close()


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def healed(world):
    yield
    world.cluster.faults.clear()
    world.market.trading = True
    for cable in world.cables:
        cable.mend()


@asynccontextmanager
async def listening(world: World, **options):
    settings, clock = world.settings(**options), SystemClock()
    rpc = RpcPool(settings.rpc.endpoints, request_timeout_s=1, max_in_flight=50, clock=clock)
    async with rpc:
        feed = build_feed(settings, rpc, clock)
        events: list = []
        task = asyncio.create_task(feed.run(events.append))
        try:
            yield Listener(feed, events)
            assert not task.done(), task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})


async def test_every_price_is_what_the_pool_held_at_the_end_of_that_slot(world):
    """Checked tick by tick against the bank's own view; volume is the change of the quote reserve; times never go back."""
    seen: dict[int, tuple[int, int]] = {}
    pool = world.pool(BONK)

    def remember(slot: int) -> None:
        seen[slot - 1] = reserves(world.cluster.bank, pool, slot - 1)

    world.cluster.bank.on_slot(remember)
    async with listening(world) as listener:
        await listener.fresh()
        count = len(listener.of(PriceTick, BONK))
        await listener.until(lambda: len(listener.of(PriceTick, BONK)) >= count + 12, "ticks")
    ticks = listener.of(PriceTick, BONK)
    known = [t for t in ticks if t.slot in seen]
    assert len(known) >= 10
    for tick in known:
        base, quote = seen[tick.slot]
        assert tick.quote_reserve == quote
        assert tick.price == pytest.approx(quote / base * 10.0 ** (5 - 9), rel=1e-12)
        assert tick.at_ms >= world.cluster.bank.clock.at_ms(tick.slot) - 1
    for before, after in itertools.pairwise(ticks):
        assert after.volume == abs(after.quote_reserve - before.quote_reserve)
        assert after.at_ms >= before.at_ms
    clock_ms = 0
    for event in listener.events:
        if isinstance(event, ClockTick):
            assert event.at_ms > clock_ms
            clock_ms = event.at_ms
        elif isinstance(event, PriceTick):
            assert event.at_ms >= clock_ms
    assert listener.feed.health().counts.get("malformed", 0) == 0


async def test_the_value_of_the_quote_currency_is_told(world):
    """Thresholds in dollars need it."""
    async with listening(world) as listener:
        (first, *_) = await listener.until(lambda: listener.of(QuoteInUsd), "a value")
    assert 50 < first.usd < 500


async def test_usdc_pools_are_found_when_usdc_is_the_quote(world):
    """The pool is the one that a trade in that currency would use."""
    async with listening(world, quote="USDC", mints=(BONK,)) as listener:
        await listener.fresh()
        health = listener.feed.health().tokens[BONK]
    assert health.pool == str(world.pool(BONK, USDC_MINT).address)
    assert health.price == pytest.approx(health.quote_reserve / health.base_reserve * 10.0 ** (5 - 6))


async def test_a_node_that_goes_down_is_replaced_and_the_gap_repaired(world):
    """The websocket drops; the other node takes over; no price is torn, none invented."""
    async with listening(world) as listener:
        await listener.fresh()
        first = listener.feed.health().endpoint
        index = int(first[-1])
        world.cluster.faults.add(parse_fault({"kind": "down", "nodes": [index]}))
        world.cables[index].cut()
        await listener.until(lambda: listener.feed.health().endpoint not in ("", first), "the other node")
        await listener.fresh()
        tick = await listener.next_tick()
        counts = listener.feed.health().counts
    assert counts["reconnects"] >= 1
    assert tick.slot > 0


async def test_a_connection_that_dies_silently_makes_stale_and_is_left(world):
    """No reset, no close: only the missing proof of life tells. Prices of the other node make it fresh again."""
    async with listening(world) as listener:
        await listener.fresh()
        first = listener.feed.health().endpoint
        world.cables[int(first[-1])].is_dead = True
        await listener.until(lambda: listener.feed.health().stale, "stale")
        await listener.until(lambda: listener.feed.health().endpoint not in ("", first), "the other node")
        await listener.fresh()
        assert listener.feed.health().endpoint != first


async def test_a_halted_chain_makes_everything_stale_and_its_return_fresh(world):
    """No slot, no life: pings alone do not count for long; afterwards nobody has to do anything."""
    async with listening(world) as listener:
        await listener.fresh()
        world.cluster.faults.add(parse_fault({"kind": "halt"}))
        await listener.until(lambda: listener.told() == {BONK, WIF}, "stale")
        assert listener.feed.health().stale
        world.cluster.faults.clear()
        await listener.fresh()


async def test_a_quiet_market_on_a_live_chain_is_not_stale(world):
    """No trade for a while is no news, and slots prove that it is none."""
    async with listening(world) as listener:
        await listener.fresh()
        world.market.trading = False
        await asyncio.sleep(0.3)  # what was under way has been told
        ticks, told = len(listener.of(PriceTick)), len(listener.of(FeedStatus))
        clock = len(listener.of(ClockTick))
        await asyncio.sleep(1.0)
        assert len(listener.of(PriceTick)) == ticks
        assert len(listener.of(ClockTick)) > clock
        assert len(listener.of(FeedStatus)) == told


async def test_a_fork_of_confirmed_slots_is_followed(world):
    """Prices of the abandoned branch are replaced by reading the surviving one."""
    async with listening(world) as listener:
        await listener.fresh()
        await listener.next_tick()
        world.market.trading = False
        await asyncio.sleep(0.3)
        world.cluster.faults.add(parse_fault({"kind": "fork", "slots": 12}))
        await listener.until(lambda: listener.feed.health().counts.get("forks"), "the fork")
        await listener.fresh()
        pool = world.pool(BONK)

        def agrees() -> bool:
            view = listener.feed.health().tokens[BONK]
            return (view.base_reserve, view.quote_reserve) == reserves(world.cluster.bank, pool)

        assert await listener.until(agrees, "the surviving branch")


async def test_a_node_far_behind_is_left_for_one_that_is_not(world):
    """It tells slots and prices as if all were well; only the others show that they are old."""
    world.cluster.faults.add(parse_fault({"kind": "lag", "nodes": [0], "slots": 200}))
    async with listening(world) as listener:
        await listener.until(lambda: listener.feed.health().endpoint == "node-1", "the node that is not behind")
        await listener.fresh()
        assert await listener.until(
            lambda: world.cluster.bank.slot - listener.feed.health().slot < 64, "the newest slots"
        )


async def agreed(world, listener) -> None:
    """The traders rest; what the feed knows of every pool is what the chain holds."""
    world.market.trading = False

    def agrees() -> bool:
        tokens = listener.feed.health().tokens
        known = {mint: (view.base_reserve, view.quote_reserve) for mint, view in tokens.items()}
        return known == {mint: reserves(world.cluster.bank, world.pool(mint)) for mint in tokens}

    assert await listener.until(agrees, "the chain's own reserves")
    for mint in (BONK, WIF):
        base, quote = reserves(world.cluster.bank, world.pool(mint))
        decimals = {BONK: 5, WIF: 6}[mint]
        assert listener.of(PriceTick, mint)[-1].price == pytest.approx(quote / base * 10.0 ** (decimals - 9))
    await listener.fresh()


async def test_no_event_is_lost_when_connections_are_killed_in_the_middle_of_the_stream(world):
    """Six times and more, at any moment: each price that is told was the chain's at that slot, and the last one is the chain's now."""
    seen: dict[tuple[str, int], tuple[int, int]] = {}

    def remember(slot: int) -> None:
        for mint in (BONK, WIF):
            seen[mint, slot - 1] = reserves(world.cluster.bank, world.pool(mint), slot - 1)

    world.cluster.bank.on_slot(remember)

    def known() -> list[PriceTick]:
        return [tick for tick in listener.of(PriceTick) if (tick.mint, tick.slot) in seen]

    async with listening(world) as listener:
        await listener.fresh()
        for number in range(60):  # a busy machine tells fewer prices between two cuts
            await asyncio.sleep(0.11 + 0.07 * (number % 6))
            for cable in world.cables:
                cable.cut()
            await asyncio.sleep(0.05)
            for cable in world.cables:
                cable.mend()
            if number >= 5 and len(known()) >= 12:
                break
        reconnects = listener.feed.health().counts["reconnects"]
        await agreed(world, listener)
    assert reconnects >= 6
    assert len(known()) >= 12
    assert all(seen[t.mint, t.slot][1] == t.quote_reserve for t in known())


async def test_all_nodes_gone_is_told_and_their_return_brings_the_last_price(world):
    """Stale while nobody answers, by websocket or by HTTP; afterwards the newest reserves and the minutes between."""
    async with listening(world) as listener:
        await listener.fresh()
        refills = len(listener.of(HistoryLoaded, BONK))
        world.cluster.faults.add(parse_fault({"kind": "down", "nodes": [0, 1]}))
        for cable in world.cables:
            cable.cut()
        await listener.until(lambda: listener.told() == {BONK, WIF}, "stale")
        last = listener.of(PriceTick, BONK)[-1]
        await asyncio.sleep(1.5)
        assert listener.of(PriceTick, BONK)[-1] == last
        assert listener.told() == {BONK, WIF}
        world.cluster.faults.clear()
        for cable in world.cables:
            cable.mend()
        await listener.until(lambda: len(listener.of(HistoryLoaded, BONK)) > refills, "the missed minutes")
        await agreed(world, listener)


async def test_a_hung_node_is_left_and_no_event_is_lost(world):
    """Its connections stand and say nothing, pings and HTTP included: stale at once, until the other node tells the pools."""
    async with listening(world) as listener:
        await listener.fresh()
        first = listener.feed.health().endpoint
        world.cluster.faults.add(parse_fault({"kind": "hang", "nodes": [int(first[-1])]}))
        await listener.until(lambda: listener.told() == {BONK, WIF}, "stale")
        await listener.until(lambda: listener.feed.health().endpoint not in ("", first), "the other node")
        await agreed(world, listener)
        assert listener.feed.health().endpoint != first


async def test_a_node_that_stays_on_a_dead_fork_is_left(world):
    """Its slots grow and its pools are quiet: only what is final there shows that its chain is dead."""
    async with listening(world) as listener:
        await listener.fresh()
        first = listener.feed.health().endpoint
        world.cluster.faults.add(parse_fault({"kind": "dead_fork", "nodes": [int(first[-1])]}))
        await listener.until(lambda: listener.feed.health().endpoint not in ("", first), "the other node")
        await agreed(world, listener)
        assert listener.feed.health().endpoint != first


async def test_a_websocket_of_another_chain_feeds_no_price(world):
    """Same seed, same pools at the same addresses: it looks right in everything but the transactions that are on it."""
    bank = world.cluster.bank
    other = Cluster(nodes=1, slot_ms=SLOT_MS, speed=SPEED, seed=5, origin_ms=bank.clock.at_ms(bank.slot))
    market = Market(other.bank, seed=5)
    market.open()
    other.bank.tick(bank.slot + 10 - other.bank.slot)  # a little ahead of ours
    async with other:
        cable = world.cables[0]
        ours, cable.port = cable.port, int(other.nodes[0].websocket_url.rpartition(":")[2])
        try:
            async with listening(world, nodes=(0,)) as listener:
                await asyncio.sleep(2)
                assert listener.feed.health().endpoint == ""
                assert not listener.of(ClockTick)
                assert listener.told() == {BONK, WIF}
            async with listening(world, nodes=(0, 1)) as listener:
                await listener.until(lambda: listener.feed.health().endpoint == "node-1", "the node of our chain")
                await agreed(world, listener)
        finally:
            cable.port = ours
    market.close()


async def test_history_is_the_providers_own_bars(world):
    """25 hours of closed minutes, no holes, in quote base units, equal to what the pool's history holds."""
    async with listening(world) as listener:
        await listener.fresh()
        now_ms = listener.feed.health().event_time_ms
        since_ms = now_ms - 25 * 3_600_000
        bars = await listener.feed.history(BONK, since_ms=since_ms)
    truth = {bar.start_ms: bar for bar in world.market.histories[world.pool(BONK).address].bars()}
    assert [b.start_ms - a.start_ms for a, b in itertools.pairwise(bars)] == [BAR_MS] * (len(bars) - 1)
    assert len(bars) > 1400
    assert bars[-1].start_ms + BAR_MS <= now_ms + BAR_MS
    for bar in bars[:-2]:
        known = truth.get(bar.start_ms)
        if known is None:
            continue
        assert (bar.open, bar.high, bar.low, bar.close) == pytest.approx(
            (known.open, known.high, known.low, known.close), rel=1e-9
        )
        assert bar.volume == pytest.approx(known.volume, rel=1e-6, abs=2)
        assert bar.quote_reserve == pytest.approx(known.quote_reserve, rel=0.05)


async def test_minutes_that_were_missed_are_loaded_from_the_history(world):
    """At 60 times the speed a pause of a second is a minute of the market."""
    async with listening(world) as listener:
        await listener.fresh()
        await listener.until(lambda: listener.of(HistoryLoaded, BONK), "the first refill")
        count = len(listener.of(HistoryLoaded, BONK))
        for cable in world.cables:
            cable.cut()
        await listener.until(lambda: listener.feed.health().stale, "stale")
        await asyncio.sleep(1.5)
        for cable in world.cables:
            cable.mend()
        await listener.until(lambda: len(listener.of(HistoryLoaded, BONK)) > count, "the missed minutes")
    assert listener.of(HistoryLoaded, BONK)[-1].bars


async def test_a_token_without_a_pool_does_not_hold_up_the_others(world):
    """Its problem is named in health; it stays stale."""
    async with listening(world, mints=(BONK, SOL_MINT)) as listener:
        await listener.until(lambda: not listener.feed.health().tokens[BONK].stale, "the other token")
        await listener.until(lambda: listener.feed.health().tokens[SOL_MINT].problem, "a problem")
        view = listener.feed.health().tokens[SOL_MINT]
    assert view.stale
    assert view.price is None


async def test_tokens_are_resolved_from_their_mints_and_nonsense_is_named(world):
    """Decimals come from the chain; every address that is no mint is listed."""
    clock = SystemClock()
    settings = world.settings()
    async with RpcPool(settings.rpc.endpoints, request_timeout_s=1, max_in_flight=8, clock=clock) as rpc:
        assert [(t.mint, t.decimals) for t in await resolve_tokens(settings, rpc)] == [(BONK, 5), (WIF, 6)]
        pool = str(world.pool(BONK).address)
        with pytest.raises(TokenUnknown, match=pool):
            await resolve_tokens(world.settings(mints=(BONK, pool)), rpc)


async def test_the_wallet_is_read_from_one_finalized_bank(world):
    """Lamports and quote currency belong together; a missing token account is nothing held, and told."""
    clock = SystemClock()
    settings = world.settings()
    trader = next(iter(world.market.world.traders)).pubkey() if hasattr(world.market.world, "traders") else None
    async with RpcPool(settings.rpc.endpoints, request_timeout_s=1, max_in_flight=8, clock=clock) as rpc:
        creator = str(trader or world.market.world.creator.pubkey())
        sol = await read_wallet(rpc, wallet=creator, quote_mint=SOL_MINT)
        assert sol.lamports == sol.quote
        assert 0 < sol.slot <= world.cluster.bank.finalized_slot
        nobody = await read_wallet(rpc, wallet=BONK, quote_mint=USDC_MINT)
        assert (nobody.quote, nobody.token_account) == (0, False)
