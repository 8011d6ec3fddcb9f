"""Takes the engine's pulse: reads the vital signs off its parts, lets the health checks judge, and says what changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from tradingbot_engine.book import Book
from tradingbot_engine.clock import Clock
from tradingbot_engine.health.checks import Health, examine
from tradingbot_engine.health.loop_lag import LoopLag
from tradingbot_engine.health.monitor import HealthMonitor, Standing
from tradingbot_engine.health.vitals import Vitals
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.market.port import Feed
from tradingbot_engine.nodes import problem_of
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.tally import Tally
from tradingbot_engine.trades import Trades

_log = structlog.get_logger(__name__)


class Pulse:
    """One engine's vital signs, over time."""

    def __init__(
        self,
        *,
        lifecycle: Lifecycle,
        feed: Feed,
        rpc: RpcPool,
        book: Book,
        trades: Trades,
        tally: Tally,
        lag: LoopLag,
        utilization: Callable[[], float],
        fee_reserve_lamports: Callable[[], int],
        switched_off: tuple[str, ...],
        on_standing: Callable[[Standing], None],
        clock: Clock,
    ) -> None:
        self._lifecycle, self._feed, self._rpc, self._book = lifecycle, feed, rpc, book
        self._trades, self._tally, self._lag, self._clock = trades, tally, lag, clock
        self._utilization, self._fee_reserve_lamports = utilization, fee_reserve_lamports
        self._switched_off, self._on_standing = switched_off, on_standing
        self._monitor = HealthMonitor(now_ms=clock.now_ms())

    async def take(self) -> None:
        """Read, judge, and say what changed; called at the interval of the settings."""
        now_ms = self._clock.now_ms()
        for standing in self._monitor.observe(examine(self.vitals(now_ms)), now_ms=now_ms):
            level = _log.info if standing.health is Health.HEALTHY else _log.warning
            level("health", check=standing.check, health=standing.health.word, message=standing.message)
        for standing in self._monitor.standings:
            self._on_standing(standing)
        self._tell()

    def _tell(self) -> None:
        """Let the reasons that people see say that something is wrong; they do not stop trading."""
        overall = self._monitor.overall
        for health in (Health.DEGRADED, Health.UNHEALTHY):
            if overall.health is health:
                self._lifecycle.tell(health.word, overall.message)
            else:
                self._lifecycle.clear(health.word)

    def document(self) -> dict[str, Any]:
        """Return the health as status shows it."""
        overall = self._monitor.overall
        return {
            "state": overall.health.word,
            "since": overall.since_ms,
            "checks": [
                {"name": s.check, "state": s.health.word, "since": s.since_ms, "message": s.message}
                for s in self._monitor.standings
            ],
        }

    def vitals(self, now_ms: int) -> Vitals:
        """Read every sign once."""
        endpoints, feed = self._rpc.endpoints(), self._feed.health()
        tokens = feed.tokens.values()
        bot, landed = self._book.bot, self._tally.landed
        return Vitals(
            endpoints=len(endpoints),
            endpoints_sound=sum(e.healthy for e in endpoints),
            endpoint_problems=tuple(problem_of(e) for e in endpoints if not e.healthy),
            tokens=len(tokens),
            tokens_stale=sum(t.stale for t in tokens),
            feed_silent_ms=min((t.stale_ms for t in tokens), default=0) if feed.stale else 0,
            ledger_away_ms=round(self._lifecycle.lasted_s("LedgerUnavailable") * 1000),
            loop_lag_ms=self._lag.worst_ms,
            clock_step_ms=self._lag.clock_step_ms,
            queue_utilization=self._utilization(),
            oldest_open_ms=self._trades.oldest_ms(),
            failed_trades=sum(landed),
            landed_trades=len(landed),
            fee_lamports=None if bot.paper else bot.wallet_lamports,
            fee_reserve_lamports=self._fee_reserve_lamports(),
            switched_off=self._switched_off,
        )
