"""
Everything that `decide` remembers; it owns this state and changes it in place.

What must survive a restart is not here but in the ledger (bars, positions, risk): a state built anew from those gives the
same signals, with the same ids, for the same events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from tradingbot_engine.core.bars import BarRing
from tradingbot_engine.core.catalogue import make_strategy
from tradingbot_engine.core.screen import NO_LIMITS, Screened, ScreenLimits
from tradingbot_engine.core.strategies.base import NEVER_MS, Exit, Levels, Strategy
from tradingbot_engine.domain.events import BAR_MS, TokenFacts
from tradingbot_engine.domain.portfolio import Position, PositionState, Tier
from tradingbot_engine.domain.signals import Priority
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import IntentId, Mint, QuoteUnits, Slot, UnixMs

ASK_AGAIN_MS = 60_000
"""An exit signal of which nothing was heard for this long (event time) is asked for again; the ledger allows one open exit."""
ENTRY_PATIENCE_MS = 300_000
"""The same for entries, which are asked for only at a bar's close; the ledger allows one per strategy and token."""
RETRY_MS = 1_000
"""Pause (event time) after an exit came to nothing before any attempt; doubled with each in a row, so that what stays (a
ledger or a swap API that is away) is not asked at every tick."""
MAX_RETRY_MS = 16_000
"""The longest such pause."""
FAILED_MS = 1_000
"""Pause (event time) after the nth exit of a position that failed or expired: 2ⁿ times this, since each may have cost a fee."""
MAX_FAILED_MS = 600_000
"""The longest such pause."""
MAX_CRITICAL_FAILED_MS = 60_000
"""The longest such pause of a critical exit."""


@dataclass(frozen=True, slots=True)
class StrategyConfig:
    """One use of a strategy in a manifest: its own name, the strategy's type, parameters as written."""

    name: str
    type: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Holding:
    """An open position under watch, and the exit that is wanted or on its way."""

    position: Position
    levels: Levels
    wanted: Exit | None = None
    """An exit that was decided stays decided: it is asked for again at every event until the position is closed."""
    asked_at_ms: UnixMs | None = None
    """When its exit signal left; None while none is on its way."""
    refusals: int = 0
    """Exits in a row that were refused or given up before any attempt."""
    not_before_ms: UnixMs = 0
    failed_at_ms: UnixMs | None = None
    """When its last exit failed or was given up; a restart takes it from the ledger. None if none did."""
    last_trigger: str = ""

    @property
    def sellable(self) -> bool:
        return self.position.state is PositionState.OPEN and self.position.held > 0

    @property
    def idle(self) -> bool:
        """Whether an exit may be asked for: something to sell, and none under way."""
        return self.asked_at_ms is None and not self.position.exit_open and self.sellable

    def pause(self, at_ms: UnixMs) -> None:
        """Ask for no exit for a while: the last one came to nothing before any attempt."""
        pause_ms = min(RETRY_MS << min(self.refusals, 10), MAX_RETRY_MS)
        self.refusals, self.not_before_ms = self.refusals + 1, at_ms + pause_ms

    def rests(self, priority: Priority, at_ms: UnixMs) -> bool:
        """Whether an exit of this priority must still wait after the last failure; a more urgent one may not have to."""
        if self.failed_at_ms is None:
            return False
        # Event time may have gone back since (another recording): a failure that is still far ahead holds nothing up.
        rest_ms = self.rest_ms(priority)
        return -rest_ms < at_ms - self.failed_at_ms < rest_ms

    def rest_ms(self, priority: Priority) -> int:
        """Return the pause after as many failures as the position has."""
        longest_ms = MAX_CRITICAL_FAILED_MS if priority is Priority.CRITICAL else MAX_FAILED_MS
        return min(FAILED_MS << min(max(self.position.exit_failures, 0), 16), longest_ms)


@dataclass(slots=True, eq=False)
class Lane:
    """One strategy instance's business in one token; `strategy` is None if it left the manifest with a position open."""

    name: str
    strategy: Strategy | None
    holdings: dict[IntentId, Holding] = field(default_factory=dict)
    entry_asked_at_ms: UnixMs | None = None
    """When an entry signal left whose end is not known yet."""
    cool_until_ms: UnixMs = 0


@dataclass(slots=True, eq=False)
class TokenState:
    """One token: closed bars, the bar under way, the last price, and who trades it."""

    token: Token
    lanes: dict[str, Lane]
    bars: BarRing = field(default_factory=BarRing)
    stale: bool = False
    """The feed gives no sign of life now."""
    was_stale: bool = False
    """The feed was stale at some time of the minute under way."""

    bar_start_ms: UnixMs = -1
    """Start of the minute under way; -1 before the first tick."""
    bar_end_ms: UnixMs = 0
    ticks: int = 0
    """Ticks in the minute under way; without any the fields below carry the last price on."""
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    volume: QuoteUnits = 0
    quote_reserve: QuoteUnits = 0
    at_ms: UnixMs = 0
    """A tick before this is late: the newest tick's time, at least the start of the minute under way."""
    slot: Slot = 0

    floor: float = 0.0
    """A price at or below this concerns some holding."""
    ceiling: float = inf
    """A price at or above this concerns some holding."""
    deadline_ms: UnixMs = NEVER_MS
    """Event time at which some holding's time is up, or nothing was heard of its exit for too long."""
    eager: bool = False
    """Some holding wants its exit asked for at the next event, whatever the price."""

    facts: TokenFacts | None = None
    screened: Screened | None = None
    """Why the screen keeps it from the strategies, as of the last bar's close; None while it passes."""

    late_ticks: int = 0
    """Ticks older than the newest one: they do not move bars backwards."""
    bad_ticks: int = 0
    """Ticks with a price that is not positive and finite, or with amounts that cannot be."""


@dataclass(slots=True, eq=False)
class CoreState:
    """The core's memory; made by `create`, changed only by `decide`."""

    tokens: dict[Mint, TokenState]
    strategies: dict[str, tuple[Strategy, StrategyConfig]]
    quote_unit: int
    max_position_percent: float
    screen: ScreenLimits = NO_LIMITS
    """What a token must show before a strategy may open a position in it."""
    quote_usd: float | None = None
    order_quote: QuoteUnits | None = None
    """Size of an order at full size, for impact estimates; None until the first `RiskChanged`."""
    now_ms: UnixMs = 0
    """Newest event time that the market told (ticks, clock, feed)."""
    tier: Tier = Tier.NORMAL
    tier_since_ms: UnixMs = 0
    closing_since_ms: UnixMs = 0
    """Since when all is to be sold and nothing bought; 0 while the bot trades."""
    next_minute_ms: UnixMs = 0
    """Event time at which some bar may close; before it a clock tick has no bars to look at."""
    next_deadline_ms: UnixMs = NEVER_MS
    """Event time at which some holding's time is up, or earlier."""
    eager: dict[Mint, TokenState] = field(default_factory=dict)
    """Tokens in which some holding wants its exit asked for at the next event."""
    homes: dict[IntentId, tuple[Lane, TokenState]] = field(default_factory=dict)
    """Where each open position is watched."""

    @classmethod
    def create(
        cls,
        tokens: Sequence[Token],
        strategies: Sequence[StrategyConfig],
        *,
        quote_decimals: int = 9,
        max_position_percent: float = 2.0,
        screen: ScreenLimits = NO_LIMITS,
    ) -> CoreState:
        """
        Return the state of a bot that has seen nothing yet.

        Args:
            tokens: What is traded; mints differ.
            strategies: Names differ; every strategy looks at every token.
            quote_decimals: 9 for SOL, 6 for USDC.
            max_position_percent: Share of the capital in one order, for the strategies' estimate of their own impact.
            screen: What a token must show; asks for nothing by default.

        Raises:
            ParametersInvalid: A strategy's type or parameters are wrong; all faults of the first wrong one.
        """
        made = {c.name: (make_strategy(c.type, c.parameters), c) for c in strategies}
        return cls(
            tokens={
                t.mint: TokenState(t, {name: Lane(name, strategy) for name, (strategy, _) in made.items()})
                for t in tokens
            },
            strategies=made,
            quote_unit=10**quote_decimals,
            max_position_percent=max_position_percent,
            screen=screen,
        )

    def missing_minutes(self, mint: Mint, minutes: int) -> list[UnixMs]:
        """Return the starts of closed minutes without a bar among the last `minutes`, oldest first: what to ask history for."""
        token = self.tokens.get(mint)
        if token is None or self.now_ms < (minutes + 1) * BAR_MS:
            return []
        return token.bars.missing(self.now_ms - self.now_ms % BAR_MS - BAR_MS, minutes)

    def rearm(self, token: TokenState) -> None:
        """Recompute what a tick is compared with, after holdings of `token` changed."""
        floor, ceiling, deadline_ms, eager = 0.0, inf, NEVER_MS, False
        for lane in token.lanes.values():
            for holding in lane.holdings.values():
                if holding.idle:
                    floor, ceiling = max(floor, holding.levels.stop), min(ceiling, holding.levels.take)
                    eager = eager or holding.wanted is not None
                    deadline_ms = min(deadline_ms, holding.levels.deadline_ms)
                elif holding.asked_at_ms is not None:
                    deadline_ms = min(deadline_ms, holding.asked_at_ms + ASK_AGAIN_MS)
        token.floor, token.ceiling, token.deadline_ms = floor, ceiling, deadline_ms
        if eager != token.eager:
            token.eager = eager
            if eager:
                self.eager[token.token.mint] = token
            else:
                del self.eager[token.token.mint]
        self.next_deadline_ms = min(self.next_deadline_ms, deadline_ms)

    def due(self, at_ms: UnixMs) -> list[TokenState]:
        """Return the tokens in which the clock alone may ask for an exit now."""
        if at_ms < self.next_deadline_ms:
            return list(self.eager.values())
        held = {token.token.mint: token for _, token in self.homes.values()}
        self.next_deadline_ms = min((t.deadline_ms for t in held.values()), default=NEVER_MS)
        return [token for token in held.values() if token.eager or token.deadline_ms <= at_ms]
