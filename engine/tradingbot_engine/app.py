"""
The composition root: settings become wired objects, in two steps.

`open_outside` reaches the outside (ledger, nodes); `assemble` checks chain and ledger against each other, takes the shards
and wires the trade path of `pipeline.py`.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from tradingbot_engine import crashpoint
from tradingbot_engine.book import Book
from tradingbot_engine.bus.signals import SignalQueue
from tradingbot_engine.clock import Clock
from tradingbot_engine.core.decide import decide
from tradingbot_engine.core.ids import shard_of
from tradingbot_engine.core.risk.tiers import utc_day
from tradingbot_engine.core.state import CoreState, StrategyConfig
from tradingbot_engine.desk import Desk
from tradingbot_engine.domain.events import Event, PositionChanged, RiskChanged
from tradingbot_engine.domain.portfolio import RiskState
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT, Mint
from tradingbot_engine.errors import EngineError, PermanentError, WalletEmpty, WrongGenesis
from tradingbot_engine.execution.live import LiveExecutor
from tradingbot_engine.execution.paper import PaperExecutor
from tradingbot_engine.execution.port import Executor
from tradingbot_engine.execution.signer import load_signer
from tradingbot_engine.execution.swap import SwapApi
from tradingbot_engine.execution.trade import TradeDriver
from tradingbot_engine.guard import LedgerGuard
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.port import BotRecord, Ledger, Ownership
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.live import Live
from tradingbot_engine.market.pools import build_feed
from tradingbot_engine.market.port import Feed
from tradingbot_engine.market.tokens import QUOTE_DECIMALS, resolve_tokens
from tradingbot_engine.market.wallet import read_wallet
from tradingbot_engine.metrics import Metrics
from tradingbot_engine.pipeline import Pipeline
from tradingbot_engine.quality import Quality
from tradingbot_engine.recovery import compare_with_chain, take_shards
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EngineSettings
from tradingbot_engine.status import StatusPage
from tradingbot_engine.tally import Tally
from tradingbot_engine.trades import Trades
from tradingbot_engine.upkeep import BarKeeper, Marker, OutboxTeller, WalletWatch
from tradingbot_engine.warm import HISTORY_MS, HistoryFiller, kept_bars

_log = structlog.get_logger(__name__)

Upkeep: TypeAlias = tuple[tuple[str, float, Callable[[], Awaitable[None]]], ...]
"""(name, every how many seconds, what)."""
PAPER_CAPITAL = {"SOL": 10_000_000_000, "USDC": 1_000_000_000}
"""What a paper bot starts with when the manifest names no capital: 10 SOL or 1,000 USDC, in quote base units."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What an engine reaches beyond its own process, opened."""

    ledger: Ledger
    rpc: RpcPool
    swap: SwapApi
    executor: Executor
    genesis_hash: str
    tokens: Sequence[Token]
    feed: Feed
    clock: Clock
    holder: str
    """Random id of this process incarnation, under which it holds shards."""

    closing: AsyncExitStack

    async def close(self) -> None:
        """Let go of connections and files, in the reverse order of opening."""
        await self.closing.aclose()


@dataclass(frozen=True, slots=True)
class Wired:
    """The trade path, wired and warm, with what has to be repeated beside it: (name, every seconds, work)."""

    outside: Outside
    bot: BotRecord
    owned: dict[int, Ownership]
    book: Book
    signals: SignalQueue
    bars: BarKeeper
    trades: Trades
    pipeline: Pipeline
    status: StatusPage
    live: Live
    guard: LedgerGuard
    upkeep: Upkeep

    async def finish(self) -> None:
        """Write what waits and free the shards."""
        await self.bars.flush()
        for ownership in self.owned.values():
            crashpoint.reached("release:before")
            await self.outside.ledger.release(ownership, now_ms=self.outside.clock.now_ms())


async def open_outside(settings: EngineSettings, *, clock: Clock) -> Outside:
    """Open the ledger and reach the chain; on any error everything opened is closed again."""
    holder = secrets.token_hex(16)
    paper = settings.bot.mode == "Paper"
    async with AsyncExitStack() as opened:
        ledger = open_ledger(settings.ledger, holder=holder, clock=clock, paper=paper)
        await ledger.open()
        opened.push_async_callback(ledger.close)
        rpc = await opened.enter_async_context(
            RpcPool(
                settings.rpc.endpoints,
                request_timeout_s=settings.rpc.request_timeout_s,
                max_in_flight=settings.rpc.max_in_flight,
                clock=clock,
            )
        )
        swap = SwapApi(settings.execution.swap, clock=clock)
        opened.push_async_callback(swap.close)
        tokens = await resolve_tokens(settings, rpc)
        feed = build_feed(settings, rpc, clock)
        executor: Executor
        if paper:
            executor = PaperExecutor(swap=swap, rpc=rpc, settings=settings, clock=clock)
        else:
            assert settings.wallet.key_file is not None  # the settings' own rule for mode Live
            signer = load_signer(settings.wallet.key_file, address=settings.wallet.address)
            executor = LiveExecutor(
                swap=swap,
                rpc=rpc,
                signer=signer,
                settings=settings,
                clock=clock,
                decimals={token.mint: token.decimals for token in tokens},
                fair_price=lambda mint: _fresh_price(feed, mint),
            )
        return Outside(
            ledger=ledger,
            rpc=rpc,
            swap=swap,
            executor=executor,
            genesis_hash=await executor.genesis_hash(),
            tokens=tokens,
            feed=feed,
            clock=clock,
            holder=holder,
            closing=opened.pop_all(),
        )


def _fresh_price(feed: Feed, mint: Mint) -> float | None:
    """Return the feed's price of a token; None if it has none, or only an old one."""
    view = feed.health().tokens.get(mint)
    return None if view is None or view.stale else view.price


async def open_in_ledger(settings: EngineSettings, *, clock: Clock) -> int:
    """Return how many intents are open in the ledger, for an engine that stops before it could reach the chain; 0 if it cannot be read."""
    ledger = open_ledger(settings.ledger, holder="", clock=clock, paper=settings.bot.mode == "Paper")
    try:
        await ledger.open()
        return len(await ledger.open_intents()) if await ledger.shards() else 0
    except EngineError:
        return 0
    finally:
        await ledger.close()


async def assemble(outside: Outside, settings: EngineSettings, lifecycle: Lifecycle, metrics: Metrics) -> Wired:
    """Check the ledger against the chain, take the shards, wire the trade path, and warm it with what is known."""
    ledger, clock, feed, tokens = outside.ledger, outside.clock, outside.feed, outside.tokens
    bot = await _adopt(outside, settings)
    outside.rpc.expect_genesis(bot.genesis_hash)
    if not bot.paper:
        await compare_with_chain(ledger, outside.rpc, bot)
    owned = await take_shards(ledger, holder=outside.holder, clock=clock)

    events: deque[Event] = deque()  # what the book tells before the pipeline is there
    pipelines: list[Pipeline] = []

    def emit(event: Event) -> None:
        if pipelines:
            pipelines[0].emit(event)
        else:
            events.append(event)

    tally = Tally(metrics=metrics, clock=clock)
    state = CoreState.create(
        tokens,
        [StrategyConfig(name=s.name, type=s.type, parameters=s.parameters) for s in settings.strategies],
        quote_decimals=QUOTE_DECIMALS[settings.market.quote],
        max_position_percent=settings.risk.max_position_percent,
    )
    signals = SignalQueue(max_size=settings.queue.max_size, deadline_ms=settings.queue.deadline_ms, clock=clock)
    risk = await ledger.risk()
    book = Book(ledger=ledger, bot=bot, risk=risk, emit=emit, event_time_ms=lambda: feed.health().event_time_ms)
    live = Live(settings=settings, ledger=ledger, book=book, lifecycle=lifecycle)
    await live.load()
    desk = Desk(settings=settings, tokens=tokens, book=book, live=live, feed=feed, tally=tally, clock=clock)
    guard = LedgerGuard(
        ledger=ledger, lifecycle=lifecycle, compare=lambda now: compare_with_chain(ledger, outside.rpc, now)
    )
    trades = Trades(
        driver_with=lambda on_step: TradeDriver(
            ledger=ledger,
            executor=outside.executor,
            clock=clock,
            settings=settings.execution,
            genesis_hash=outside.genesis_hash,
            on_step=on_step,
            on_send=tally.sending,
            recheck=desk.recheck,
            hold=guard.hold,
            on_ledger_away=guard.away,
        ),
        book=book,
        lifecycle=lifecycle,
        tally=tally,
        emit=emit,
    )
    bars = BarKeeper(ledger=ledger)
    pipeline = Pipeline(
        state=state,
        signals=signals,
        ledger=ledger,
        book=book,
        bars=bars,
        trades=trades,
        lifecycle=lifecycle,
        tally=tally,
        clock=clock,
        approve=desk.approve,
        limits=desk.claim_limits,
        owner_of=lambda mint: owned.get(shard_of(bot.bot_id, mint, bot.shards)),
    )
    kept = await kept_bars(ledger, tokens)
    for warm in kept:
        decide(state, warm)  # history only warms the core: what it would have traded then is past
    newest_ms = max((warm.bars[-1].start_ms for warm in kept if warm.bars), default=0)
    for closed in await ledger.closed_since(newest_ms - HISTORY_MS):
        decide(state, PositionChanged(closed))  # a restart does not shorten a token's rest after a sale
    await book.refresh()
    emit(RiskChanged(feed.health().event_time_ms, risk))
    pipelines.append(pipeline)
    for event in events:
        pipeline.emit(event)

    status = StatusPage(
        settings=settings,
        lifecycle=lifecycle,
        ledger=ledger,
        book=book,
        trades=trades,
        tally=tally,
        feed=feed,
        rpc=outside.rpc,
        tokens=tokens,
        sale_value=desk.sale_value,
        queue_utilization=lambda: signals.utilization,
        clock=clock,
    )
    return Wired(
        outside=outside,
        bot=bot,
        owned=owned,
        book=book,
        signals=signals,
        bars=bars,
        trades=trades,
        pipeline=pipeline,
        status=status,
        live=live,
        guard=guard,
        upkeep=_upkeep(
            outside, settings, lifecycle, book=book, bars=bars, desk=desk, owned=owned, emit=emit, tally=tally
        ),
    )


def _upkeep(
    outside: Outside,
    settings: EngineSettings,
    lifecycle: Lifecycle,
    *,
    book: Book,
    bars: BarKeeper,
    desk: Desk,
    owned: dict[int, Ownership],
    emit: Callable[[Event], None],
    tally: Tally,
) -> Upkeep:
    ledger, bot = outside.ledger, book.bot
    marker = Marker(
        ledger=ledger,
        book=book,
        ownership=lambda: next(iter(owned.values()), None),
        sale_value=desk.sale_value,
        limits=desk.risk_limits,
        faults=Quality(ledger=ledger, book=book, feed=outside.feed, tally=tally).faults,
        lifecycle=lifecycle,
        clock=outside.clock,
    )
    watch = WalletWatch(
        ledger=ledger,
        book=book,
        read=lambda: read_wallet(outside.rpc, wallet=bot.wallet, quote_mint=bot.quote_mint),
        capital_is_fixed=settings.risk.capital is not None,
        fee_reserve=lambda: desk.fee_reserve_lamports,
        lifecycle=lifecycle,
    )
    history = HistoryFiller(feed=outside.feed, tokens=outside.tokens, bars=bars, emit=emit)
    every: Upkeep = (
        ("nodes", 1.0, outside.rpc.probe),
        ("book", 5.0, book.refresh),
        ("history", 0.5, history.fill),
        ("bars", 1.0, bars.flush),
        ("mark", 1.0, marker.mark),
        ("outbox", 0.5, OutboxTeller(ledger=ledger).tell),
    )
    return every if bot.paper else (*every, ("wallet", 5.0, watch.compare))


async def _adopt(outside: Outside, settings: EngineSettings) -> BotRecord:
    """Find or make the bot's row; a new one starts with the configured capital, or with what the wallet holds now."""
    quote_mint = SOL_MINT if settings.market.quote == "SOL" else USDC_MINT
    paper = settings.bot.mode == "Paper"
    if paper:
        capital = settings.risk.capital or PAPER_CAPITAL[settings.market.quote]
        lamports, quote, slot = capital + settings.risk.fee_reserve_lamports, capital, 0
        if quote_mint == SOL_MINT:
            quote = lamports
    else:
        balance = await read_wallet(outside.rpc, wallet=settings.wallet.address, quote_mint=quote_mint)
        lamports, quote, slot = balance.lamports, balance.quote, balance.slot
        spendable = lamports - settings.risk.fee_reserve_lamports if quote_mint == SOL_MINT else quote
        capital = settings.risk.capital or max(0, spendable)
    if capital <= 0 and not await _known(outside.ledger):
        raise WalletEmpty(
            f"the wallet {settings.wallet.address} holds no {settings.market.quote} to trade with; fund it"
        )
    now_ms = outside.clock.now_ms()
    wanted = BotRecord(
        bot_id=settings.bot.bot_id or secrets.token_hex(16),
        name=f"{settings.bot.namespace}/{settings.bot.name}",
        wallet=settings.wallet.address,
        genesis_hash=outside.genesis_hash,
        cluster_id=settings.bot.cluster_id,
        quote_mint=quote_mint,
        shards=settings.bot.shards,
        paper=paper,
        generation=0,
        settled_slot=0,
        wallet_lamports=lamports,
        wallet_quote=quote,
        wallet_slot=slot,
    )
    start = RiskState(
        capital=capital,
        equity_start=capital,
        equity=capital,
        peak=capital,
        day=utc_day(now_ms),
        day_start=capital,
        marked_at_ms=now_ms,
    )
    bot = await outside.ledger.adopt_bot(wanted, risk=start, force=settings.bot.adopt)
    if bot.genesis_hash != outside.genesis_hash:
        raise WrongGenesis(f"the nodes serve {outside.genesis_hash}, but this bot has traded on {bot.genesis_hash}")
    if bot.paper != paper:
        raise PermanentError(
            f"this ledger is a {'paper' if bot.paper else 'live'} bot's; use another one for mode {settings.bot.mode}"
        )
    return bot


async def _known(ledger: Ledger) -> bool:
    """Whether the ledger has a bot already: an empty wallet stops only a bot that is being born."""
    return bool(await ledger.shards())
