"""The risk desk: what a signal may become under the numbers in force now, and what a position could be sold for."""

from __future__ import annotations

from collections.abc import Sequence

from tradingbot_engine.book import Book
from tradingbot_engine.clock import Clock
from tradingbot_engine.core.risk.approve import Refused, approve
from tradingbot_engine.core.risk.limits import RiskLimits
from tradingbot_engine.core.risk.tiers import utc_day
from tradingbot_engine.domain.intents import IntentRecord, OrderIntent
from tradingbot_engine.domain.money import CURRENCIES
from tradingbot_engine.domain.portfolio import Position, RiskState, Tier
from tradingbot_engine.domain.signals import Purpose, Signal
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import BPS_ONE, Lamports, Mint, QuoteUnits
from tradingbot_engine.ledger.port import ClaimLimits
from tradingbot_engine.live import Live
from tradingbot_engine.market.port import Feed
from tradingbot_engine.settings import EngineSettings
from tradingbot_engine.tally import Tally


class Desk:
    """Feeds the pure risk functions with the book, the live settings and the time."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        tokens: Sequence[Token],
        book: Book,
        live: Live,
        feed: Feed,
        tally: Tally,
        clock: Clock,
    ) -> None:
        self._settings, self._book, self._live = settings, book, live
        self._feed, self._tally, self._clock = feed, tally, clock
        self._tokens: dict[Mint, Token] = {t.mint: t for t in tokens}
        self._quote = CURRENCIES[settings.market.quote]
        self._allocation_percent = {s.name: s.allocation_percent for s in settings.strategies}

    @property
    def fee_reserve_lamports(self) -> Lamports:
        """What entries leave in the wallet, by the settings in force."""
        return self._live.risk.fee_reserve_lamports

    def risk_limits(self, risk: RiskState) -> RiskLimits:
        """Return the limits in quote base units that the settings in force mean for the bot's capital."""
        return RiskLimits.from_settings(self._live.risk, self._settings.execution, capital=risk.capital)

    def approve(self, signal: Signal) -> OrderIntent | Refused:
        """Size the signal, or say why not; pure but for the numbers that are read here."""
        view = self._feed.health().tokens.get(signal.mint)
        decision = approve(
            signal,
            bot_id=self._book.bot.bot_id,
            risk=self._book.risk,
            limits=self.risk_limits(self._book.risk),
            # A token that left the manifest can only be sold, and a sale needs no decimals.
            token=self._tokens.get(signal.mint) or Token(signal.mint, "", 0),
            quote=self._quote,
            position=self._book.position(signal.position_id),
            price=view.price if view is not None and view.price else signal.price,
            now_ms=self._clock.now_ms(),
        )
        if isinstance(decision, OrderIntent):
            self._tally.approved(signal, decision.id)
        return decision

    def recheck(self, record: IntentRecord) -> str | None:
        """Return why a further attempt of an entry must not be made now, or None; an exit may always be tried again."""
        intent = record.intent
        if intent.purpose is Purpose.EXIT:
            return None
        if self._book.risk.tier in (Tier.HALT, Tier.EMERGENCY):
            return "Halted"
        if self._book.bot.closing_since_ms:
            return "ClosingOut"
        if self._book.bot.paused or self._book.bot.latch:
            return "Paused"
        view = self._feed.health().tokens.get(intent.mint)
        if view is None or view.stale or not view.price:
            return "StaleMarketData"
        return "PriceMoved" if view.price > intent.price * (1 + intent.max_slippage_bps / BPS_ONE) else None

    def claim_limits(self, intent: OrderIntent) -> ClaimLimits:
        """Return the bot-wide limits that the claiming transaction checks."""
        risk, numbers = self._book.risk, self._live.risk
        percent = min(numbers.max_strategy_percent, self._allocation_percent.get(intent.strategy, 100.0))
        now_ms = self._clock.now_ms()
        return ClaimLimits(
            quote=self._quote,
            now_ms=now_ms,
            today=utc_day(now_ms),
            max_strategy_quote=int(risk.capital * percent / 100),
            max_open_intents=numbers.max_open_intents,
            fee_reserve_lamports=numbers.fee_reserve_lamports,
            failed_fee_budget_lamports=numbers.failed_fee_budget_lamports,
            marks_max_age_ms=numbers.marks_max_age_ms,
            strategy_max_drawdown_quote=int(risk.capital * numbers.strategy_drawdown_percent / 100),
        )

    def sale_value(self, position: Position) -> QuoteUnits | None:
        """
        Return what selling the whole position into its pool would give now, in quote base units; None without a price.

        Constant product, after the pool's fee: out = R_q · a / (R_b + a).
        """
        view = self._feed.health().tokens.get(position.mint)
        if view is None or not view.base_reserve or not view.quote_reserve:
            return None
        amount = position.held * (BPS_ONE - (view.fee_bps or 0)) // BPS_ONE
        return view.quote_reserve * amount // (view.base_reserve + amount)
