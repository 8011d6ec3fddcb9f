"""
The composition root: settings become wired objects, in two steps.

`open_outside` (`outside.py`) reaches ledger and nodes; `assemble` checks chain and ledger against each other, takes the
shards and wires the trade path of `pipeline.py`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import structlog

from tradingbot_engine import crashpoint
from tradingbot_engine.adopt import adopt
from tradingbot_engine.book import Book
from tradingbot_engine.bus.core_events import CoreEvents
from tradingbot_engine.bus.seen import SeenSignals
from tradingbot_engine.bus.signals import SignalQueue
from tradingbot_engine.chores import Chores, Parts, chores_of
from tradingbot_engine.closing import ClosingOut
from tradingbot_engine.comparison import Comparison, entries_wait_for_two
from tradingbot_engine.core.decide import decide
from tradingbot_engine.core.ids import shard_of
from tradingbot_engine.core.screen import ScreenLimits
from tradingbot_engine.core.state import CoreState, StrategyConfig
from tradingbot_engine.desk import Desk
from tradingbot_engine.domain.events import CloseOutChanged, Event, PositionChanged, RiskChanged
from tradingbot_engine.execution.trade import TradeDriver
from tradingbot_engine.guard import LedgerGuard
from tradingbot_engine.health.loop_lag import LoopLag
from tradingbot_engine.ledger.port import BotRecord, Ownership
from tradingbot_engine.leftovers import Leftovers
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.live import Live
from tradingbot_engine.market.tokens import QUOTE_DECIMALS
from tradingbot_engine.metrics import Metrics
from tradingbot_engine.nodes import NodeWatch, held_for_exits
from tradingbot_engine.outside import Outside
from tradingbot_engine.pipeline import Pipeline
from tradingbot_engine.pulse import Pulse
from tradingbot_engine.recovery import take_shards
from tradingbot_engine.settings import EngineSettings, switched_off
from tradingbot_engine.status import Before, StatusPage
from tradingbot_engine.tally import Tally
from tradingbot_engine.trades import Trades
from tradingbot_engine.upkeep import BarKeeper, OutboxTeller
from tradingbot_engine.warm import HISTORY_MS, kept_bars

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wired:
    """The trade path, wired and warm, with what has to be repeated beside it: (name, every seconds, work)."""

    outside: Outside
    bot: BotRecord
    owned: dict[int, Ownership]
    book: Book
    events: CoreEvents
    signals: SignalQueue
    bars: BarKeeper
    trades: Trades
    leftovers: Leftovers
    pipeline: Pipeline
    status: StatusPage
    live: Live
    closing: ClosingOut
    guard: LedgerGuard
    nodes: NodeWatch
    pulse: Pulse
    lag: LoopLag
    chores: Chores

    async def flush(self) -> None:
        """Write what waits to be written, and tell what was committed last."""
        await self.bars.flush()
        await OutboxTeller(ledger=self.outside.ledger).tell()

    async def release(self) -> None:
        """Free the shards; the next owner takes them at once."""
        for ownership in self.owned.values():
            crashpoint.reached("release:before")
            await self.outside.ledger.release(ownership, now_ms=self.outside.clock.now_ms())


async def assemble(
    outside: Outside,
    settings: EngineSettings,
    lifecycle: Lifecycle,
    metrics: Metrics,
    comparison: Comparison | None = None,
) -> Wired:
    """
    Check the ledger against the chain, take the shards, wire the trade path, and warm it with what is known.

    `comparison` remembers from one try to the next how long nodes have been silent; absent: a new one.
    """
    ledger, clock, feed, tokens = outside.ledger, outside.clock, outside.feed, outside.tokens
    if comparison is None:
        comparison = Comparison(
            ledger=ledger,
            rpc=outside.rpc,
            lifecycle=lifecycle,
            clock=clock,
            alone_after_s=settings.rpc.one_node_after_s,
        )
    bot = await adopt(outside, settings)
    outside.rpc.expect_genesis(bot.genesis_hash)
    await outside.rpc.probe()  # so that the nodes' troubles are told before what may fail for want of them
    if not bot.paper:
        await comparison.compare(bot)
    owned = await take_shards(ledger, holder=outside.holder, clock=clock)

    early: deque[Event] = deque()  # what the book tells before the pipeline is there
    pipelines: list[Pipeline] = []

    def emit(event: Event) -> None:
        if pipelines:
            pipelines[0].emit(event)
        else:
            early.append(event)

    tally = Tally(metrics=metrics, clock=clock)
    screen = ScreenLimits(**settings.screen.model_dump())
    state = CoreState.create(
        tokens,
        [StrategyConfig(name=s.name, type=s.type, parameters=s.parameters) for s in settings.strategies],
        quote_decimals=QUOTE_DECIMALS[settings.market.quote],
        max_position_percent=settings.risk.max_position_percent,
        screen=screen,
    )
    events = CoreEvents(settings=settings.bus, clock=clock, tokens=len(tokens), on_drop=tally.event_dropped)
    signals = SignalQueue(settings=settings.queue, workers=settings.execution.workers, clock=clock)
    risk = await ledger.risk()
    book = Book(ledger=ledger, bot=bot, risk=risk, emit=emit, event_time_ms=lambda: feed.health().event_time_ms)
    live = Live(settings=settings, ledger=ledger, book=book, lifecycle=lifecycle)
    await live.load()
    desk = Desk(settings=settings, tokens=tokens, book=book, live=live, feed=feed, tally=tally, clock=clock)
    guard = LedgerGuard(ledger=ledger, lifecycle=lifecycle, compare=comparison.compare)
    trades = Trades(
        driver_with=lambda on_step: TradeDriver(
            ledger=ledger,
            executor=outside.executor,
            clock=clock,
            settings=settings.execution,
            genesis_hash=outside.genesis_hash,
            on_step=on_step,
            on_send=tally.sending,
            recheck=entries_wait_for_two(lifecycle, desk.recheck),
            hold=lambda record: guard.hold() or not outside.rpc.serving or held_for_exits(lifecycle, record),
            on_ledger_away=guard.away,
        ),
        book=book,
        lifecycle=lifecycle,
        tally=tally,
        emit=emit,
        clock=clock,
    )
    bars = BarKeeper(ledger=ledger)
    pipeline = Pipeline(
        state=state,
        events=events,
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
        seen=SeenSignals(size=settings.idempotency.cache_size if settings.idempotency.enabled else 0),
    )
    kept = await kept_bars(ledger, tokens)
    for warm in kept:
        decide(state, warm)  # history only warms the core: what it would have traded then is past
    newest_ms = max((warm.bars[-1].start_ms for warm in kept if warm.bars), default=0)
    for closed in await ledger.closed_since(newest_ms - HISTORY_MS):
        decide(state, PositionChanged(closed))  # a restart does not shorten a token's rest after a sale
    await book.refresh()
    emit(RiskChanged(feed.health().event_time_ms, risk))
    if book.bot.closing_since_ms:  # an engine before this one was told to
        emit(CloseOutChanged(feed.health().event_time_ms, book.bot.closing_since_ms))
    pipelines.append(pipeline)
    for event in early:
        pipeline.emit(event)

    closing = ClosingOut(
        ledger=ledger,
        book=book,
        lifecycle=lifecycle,
        symbols={t.mint: t.symbol for t in tokens if t.symbol},
        trouble_of=tally.exit_trouble,
    )
    await closing.look()
    nodes = NodeWatch(
        endpoints=outside.rpc.endpoints,
        away=lambda: outside.rpc.away,
        exits_unsent=lambda: trades.exits_unsent,
        positions=lambda: len(book.positions),
        market_slot=lambda: feed.health().slot,
        lifecycle=lifecycle,
        clock=clock,
    )
    await nodes.look()
    lag = LoopLag(clock=clock)
    pulse = Pulse(
        lifecycle=lifecycle,
        feed=feed,
        rpc=outside.rpc,
        book=book,
        trades=trades,
        tally=tally,
        lag=lag,
        utilization=lambda: signals.utilization,
        fee_reserve_lamports=lambda: desk.fee_reserve_lamports,
        switched_off=tuple(name for name, _ in switched_off(settings)),
        on_standing=tally.standing,
        clock=clock,
    )
    status = StatusPage(
        settings=settings,
        lifecycle=lifecycle,
        ledger=ledger,
        book=book,
        trades=trades,
        tally=tally,
        feed=feed,
        rpc=outside.rpc,
        before=Before(intents=await ledger.intent_counts(), equity=risk.equity),
        tokens=tokens,
        sale_value=desk.sale_value,
        queue_utilization=lambda: signals.utilization,
        health=pulse.document,
        closing=closing.document,
        clock=clock,
    )
    return Wired(
        outside=outside,
        bot=bot,
        owned=owned,
        book=book,
        events=events,
        signals=signals,
        bars=bars,
        trades=trades,
        leftovers=Leftovers(ledger=ledger, trades=trades, owned=owned, guard=guard, lifecycle=lifecycle, clock=clock),
        pipeline=pipeline,
        status=status,
        live=live,
        closing=closing,
        guard=guard,
        nodes=nodes,
        pulse=pulse,
        lag=lag,
        chores=chores_of(
            Parts(
                outside=outside,
                settings=settings,
                lifecycle=lifecycle,
                book=book,
                bars=bars,
                desk=desk,
                owned=owned,
                emit=emit,
                tally=tally,
                guard=guard,
                comparison=comparison,
                nodes=nodes,
                pulse=pulse,
                screens=screen.asks,
                closing=closing,
            )
        ),
    )
