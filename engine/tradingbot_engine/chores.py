"""What is done again and again beside the trade path, wired: which work, and every how many seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from tradingbot_engine.book import Book
from tradingbot_engine.closing import ClosingOut
from tradingbot_engine.comparison import Comparison
from tradingbot_engine.desk import Desk
from tradingbot_engine.domain.events import Event
from tradingbot_engine.execution.reclaim import Reclaimer
from tradingbot_engine.feed_watch import FeedWatch
from tradingbot_engine.guard import LedgerGuard
from tradingbot_engine.ledger.port import GuardRent, Ownership
from tradingbot_engine.lifecycle import ONE_NODE, Lifecycle, Phase
from tradingbot_engine.market.event_time import EventTime
from tradingbot_engine.market.facts import FactsReader
from tradingbot_engine.market.wallet import read_wallet
from tradingbot_engine.nodes import NodeWatch
from tradingbot_engine.outside import Outside
from tradingbot_engine.pulse import Pulse
from tradingbot_engine.quality import Quality
from tradingbot_engine.recovery import compare_with_chain
from tradingbot_engine.settings import EngineSettings
from tradingbot_engine.tally import Tally
from tradingbot_engine.upkeep import BarKeeper, Marker, OutboxTeller, WalletWatch
from tradingbot_engine.warm import HistoryFiller

COMPARE_S = 600.0

Chores: TypeAlias = tuple[tuple[str, float, Callable[[], Awaitable[None]]], ...]
"""(name, every how many seconds, what)."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the chores work on."""

    outside: Outside
    settings: EngineSettings
    lifecycle: Lifecycle
    book: Book
    bars: BarKeeper
    desk: Desk
    owned: dict[int, Ownership]
    emit: Callable[[Event], None]
    tally: Tally
    guard: LedgerGuard
    comparison: Comparison
    nodes: NodeWatch
    pulse: Pulse
    screens: bool
    """Whether the screen asks for anything of a token."""
    closing: ClosingOut


def chores_of(parts: Parts) -> Chores:
    """Return the work of this bot: a paper bot has no wallet to compare and no rent to fetch back."""
    outside, book = parts.outside, parts.book
    marker = Marker(
        ledger=outside.ledger,
        book=book,
        ownership=lambda: next(iter(parts.owned.values()), None),
        sale_value=parts.desk.sale_value,
        limits=parts.desk.risk_limits,
        faults=Quality(ledger=outside.ledger, book=book, feed=outside.feed, tally=parts.tally).faults,
        lifecycle=parts.lifecycle,
        clock=outside.clock,
    )
    feed_watch = FeedWatch(health=outside.feed.health, lifecycle=parts.lifecycle, clock=outside.clock)
    history = HistoryFiller(feed=outside.feed, tokens=outside.tokens, bars=parts.bars, emit=parts.emit)
    chores: Chores = (
        ("nodes", 0.5, parts.nodes.look),
        ("closing", 0.5, parts.closing.look),
        ("feed-watch", 0.5, feed_watch.look),
        ("book", 5.0, book.refresh),
        ("history", 0.5, history.fill),
        ("bars", 1.0, parts.bars.flush),
        ("mark", 1.0, marker.mark),
        ("outbox", 0.5, OutboxTeller(ledger=outside.ledger).tell),
    )
    if parts.settings.health.enabled:
        chores += (("pulse", parts.settings.health.interval_s, parts.pulse.take),)
    if parts.screens:
        chores += (("facts", 5.0, _facts(parts).learn),)
    if outside.signer is not None:
        chores += (
            ("wallet", 5.0, _wallet_watch(parts).compare),
            ("rent", 10.0, _reclaimer(parts).step),
            ("chain", COMPARE_S, _comparing(outside)),
            ("second-node", 10.0, parts.comparison.again),
        )
    return chores


def _comparing(outside: Outside) -> Callable[[], Awaitable[None]]:
    """
    Return the work that compares ledger and chain also while nothing was wrong.

    So the next start has little left to compare, however long this engine ran and however much dust the wallet was sent
    meanwhile; and another ledger that trades the same wallet is found.
    """

    async def compare() -> None:
        await compare_with_chain(outside.ledger, outside.rpc, await outside.ledger.bot())

    return compare


def _facts(parts: Parts) -> FactsReader:
    outside = parts.outside
    return FactsReader(
        rpc=outside.rpc,
        tokens=outside.tokens,
        emit=parts.emit,
        event_time=EventTime(parts.settings.market.event_time, clock=outside.clock),
        clock=outside.clock,
    )


def _wallet_watch(parts: Parts) -> WalletWatch:
    bot = parts.book.bot
    return WalletWatch(
        ledger=parts.outside.ledger,
        book=parts.book,
        read=lambda: read_wallet(parts.outside.rpc, wallet=bot.wallet, quote_mint=bot.quote_mint),
        capital_is_fixed=parts.settings.risk.capital is not None,
        fee_reserve=lambda: parts.desk.fee_reserve_lamports,
        lifecycle=parts.lifecycle,
    )


def _reclaimer(parts: Parts) -> Reclaimer:
    outside, lifecycle, execution = parts.outside, parts.lifecycle, parts.settings.execution
    assert outside.signer is not None

    def told(rent: GuardRent, used_up: bool) -> None:
        parts.book.rent = rent
        if used_up:
            lifecycle.tell(
                "ReclaimFeeBudget",
                f"failed reclaims cost {rent.failed_fee_lamports} lamports today, limit "
                f"{execution.reclaim_fee_budget_lamports} (execution.reclaim_fee_budget_lamports): the rent of "
                f"{rent.outstanding} guards waits for the next UTC day",
            )
        else:
            lifecycle.clear("ReclaimFeeBudget")

    return Reclaimer(
        ledger=outside.ledger,
        rpc=outside.rpc,
        signer=outside.signer,
        genesis_hash=outside.genesis_hash,
        clock=outside.clock,
        ownerships=lambda: tuple(parts.owned.values()),
        hold=lambda: (
            parts.guard.hold()
            or lifecycle.has(ONE_NODE)
            or lifecycle.phase is not Phase.READY
            or lifecycle.fatal is not None
        ),
        fee_budget_lamports=execution.reclaim_fee_budget_lamports,
        told=told,
    )
