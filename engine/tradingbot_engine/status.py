"""The status document of `GET /v1/status`: what a person or the operator wants to know of one engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tradingbot_engine.book import Book
from tradingbot_engine.clock import Clock
from tradingbot_engine.core.intents import OPEN
from tradingbot_engine.core.risk.approve import GUARD_RENT_LAMPORTS
from tradingbot_engine.domain.intents import IntentState
from tradingbot_engine.domain.portfolio import Position
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import Mint, QuoteUnits
from tradingbot_engine.ledger.port import FillRow, Ledger
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.market.port import Feed
from tradingbot_engine.quality import slippage_bps
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EngineSettings, switched_off
from tradingbot_engine.tally import Tally
from tradingbot_engine.trades import Trades


@dataclass(frozen=True, slots=True)
class Before:
    """What the bot had behind it when this engine started: with it, a run can tell its own share of the bot's life."""

    intents: Mapping[IntentState, int]
    equity: QuoteUnits
    """As it was last marked."""


class StatusPage:
    """Reads the engine's parts; changes nothing."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        lifecycle: Lifecycle,
        ledger: Ledger,
        book: Book,
        trades: Trades,
        tally: Tally,
        feed: Feed,
        rpc: RpcPool,
        before: Before,
        tokens: Sequence[Token],
        sale_value: Callable[[Position], QuoteUnits | None],
        queue_utilization: Callable[[], float],
        health: Callable[[], Mapping[str, Any]],
        closing: Callable[[], Mapping[str, Any] | None],
        clock: Clock,
    ) -> None:
        self._health, self._closing = health, closing
        self._settings, self._lifecycle, self._ledger, self._book = settings, lifecycle, ledger, book
        self._trades, self._tally, self._feed, self._rpc = trades, tally, feed, rpc
        self._before = before
        self._tokens, self._sale_value, self._queue_utilization, self._clock = (
            tokens,
            sale_value,
            queue_utilization,
            clock,
        )

    async def document(self) -> dict[str, Any]:
        """Return the status as JSON-ready data."""
        counts: Mapping[IntentState, int] = await self._ledger.intent_counts()
        shards = await self._ledger.shards()
        fills = await self._ledger.fills(limit=20)
        book, risk = self._book, self._book.risk
        p50, p99 = self._tally.signal_to_send_ms()
        return {
            "botId": book.bot.bot_id,
            "name": book.bot.name,
            "mode": self._settings.bot.mode,
            "paper": book.bot.paper,
            "quote": self._settings.market.quote,
            "phase": self._lifecycle.phase.value,
            "trading": self._lifecycle.may_trade,
            "generation": book.bot.generation,
            "paused": book.bot.paused,
            "latched": book.bot.latch,
            "closing": self._closing(),
            "openIntents": sum(counts.get(state, 0) for state in OPEN),
            "inFlight": len(self._trades),
            "unresolved": self._trades.unresolved,
            "health": self._health(),
            "switchedOff": switched_off_told(self._settings),
            "queueUtilization": round(self._queue_utilization(), 4),
            "tier": risk.tier.value,
            "tierReason": risk.tier_reason,
            "reasons": [{"type": r.type, "since": r.since_ms, "message": r.message} for r in self._lifecycle.reasons],
            "shards": [{"shard": s.shard, "epoch": s.epoch, "since": s.since_ms} for s in shards if s.holder],
            "wallet": {
                "address": book.bot.wallet,
                "lamports": book.bot.wallet_lamports,
                "quote": book.bot.wallet_quote,
                "slot": book.bot.wallet_slot,
            },
            "equity": {
                "start": risk.equity_start,
                "now": risk.equity,
                "peak": risk.peak,
                "realized": risk.realized,
                "drawdownBps": risk.drawdown_bps,
            },
            "guards": self._guards(),
            "market": self._market(),
            "tokens": [self._token(token) for token in self._tokens],
            "signals": {"total": self._tally.signals, "refused": dict(self._tally.refusals)},
            "intents": _by_state(counts),
            "attemptsExpired": self._tally.expired,
            "atStart": {"intents": _by_state(self._before.intents), "equity": self._before.equity},
            "fills": [self._fill(row) for row in fills],
            "rpc": [
                {"name": e.name, "healthy": e.healthy, "slot": e.slot, "latencyMs": e.latency_ms, "error": e.error}
                for e in self._rpc.endpoints()
            ],
            "latency": {"p50SignalToSendMs": p50, "p99SignalToSendMs": p99},
        }

    def _guards(self) -> dict[str, Any] | None:
        """Return where the rent of guard accounts stands; None for a bot that makes none, and before the first look."""
        rent = self._book.rent
        if rent is None or self._settings.execution.mark != "Guard":
            return None
        return {
            "outstanding": rent.outstanding,
            "lamportsAtMost": rent.outstanding * GUARD_RENT_LAMPORTS,
            "reclaimsUnderWay": rent.under_way,
            "failedFeeLamportsToday": rent.failed_fee_lamports,
            "failedFeeLimitLamports": self._settings.execution.reclaim_fee_budget_lamports,
        }

    def _market(self) -> dict[str, Any]:
        time = self._settings.market.event_time
        health = self._feed.health()
        return {
            "timeMs": health.event_time_ms,
            "slot": health.slot,
            "stale": health.stale,
            "msPerSlot": time.ms_per_slot if time else None,
        }

    def _token(self, token: Token) -> dict[str, Any]:
        view = self._feed.health().tokens.get(token.mint)
        held = self._book.positions_of(token.mint)
        refusal = self._tally.last_refusal.get(token.mint)
        return {
            "mint": token.mint,
            "symbol": token.symbol,
            "decimals": token.decimals,
            "price": view.price if view else None,
            "staleMs": view.stale_ms if view else None,
            "position": self._position(held) if held else None,
            "lastRefusal": {"reason": refusal[0], "message": refusal[1]} if refusal else None,
        }

    def _position(self, positions: Sequence[Position]) -> dict[str, Any]:
        values = [self._sale_value(p) for p in positions]
        cost = sum(p.cost * p.held // p.bought for p in positions if p.bought)
        known = [v for v in values if v is not None]
        return {
            "strategies": [p.strategy for p in positions],
            "states": [p.state.value for p in positions],
            "baseUnits": sum(p.held for p in positions),
            "costLamports": cost,
            "unrealizedLamports": sum(known) - cost if len(known) == len(values) else None,
        }

    def _fill(self, row: FillRow) -> dict[str, Any]:
        fill = row.fill
        tokens: dict[Mint, Token] = {t.mint: t for t in self._tokens}
        token = tokens.get(row.mint)
        return {
            "atMs": fill.block_time_ms,
            "mint": row.mint,
            "symbol": token.symbol if token else row.mint[:4],
            "decimals": token.decimals if token else None,
            "strategy": row.strategy,
            "side": fill.side.value,
            "purpose": row.purpose,
            "baseUnits": abs(fill.base_delta),
            "quoteLamports": abs(fill.quote_delta),
            "slippageBps": slippage_bps(row),
            "latencyMs": row.signed_at_ms - row.created_at_ms,
            "signature": fill.signature,
            "slot": fill.slot,
            "finalized": fill.finalized,
            "paper": fill.paper,
        }


def switched_off_told(settings: EngineSettings) -> list[dict[str, str]]:
    """Return the protections that are off, as status shows them from the first moment on."""
    return [{"setting": name, "lost": lost} for name, lost in switched_off(settings)]


def _by_state(counts: Mapping[IntentState, int]) -> dict[str, int]:
    return {state.value: count for state, count in counts.items() if count}
