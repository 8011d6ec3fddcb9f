"""What the engine's parts say of themselves, read into metrics once a second."""

from __future__ import annotations

from collections.abc import Mapping

from tradingbot_engine.app import Wired
from tradingbot_engine.domain.portfolio import Tier
from tradingbot_engine.health.process import read_process
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.metrics import Count, Metrics

BUS_TOTALS = ("conflated", "dropped", "duplicates", "late", "holes", "filled", "givenUp")


class Gauges:
    """Reads levels as they are, and counters by what they gained since the last reading."""

    def __init__(self, *, metrics: Metrics, lifecycle: Lifecycle) -> None:
        self._metrics, self._lifecycle = metrics, lifecycle
        self._seen: dict[tuple[str, str], float] = {}

    def read(self, wired: Wired) -> None:
        """Take one reading."""
        self._trading(wired)
        self._waiting(wired)
        self._asking(wired)
        self._process()

    def _trading(self, wired: Wired) -> None:
        metrics, risk = self._metrics, wired.book.risk
        metrics.in_flight.set(len(wired.trades))
        metrics.equity.set(risk.equity)
        metrics.drawdown.set(risk.drawdown_bps / 10_000)
        metrics.tier.set(list(Tier).index(risk.tier))
        metrics.trading.set(self._lifecycle.may_trade)

    def _waiting(self, wired: Wired) -> None:
        metrics, figures = self._metrics, wired.events.figures()
        metrics.queue_utilization.set(wired.signals.utilization)
        metrics.queued_signals.set(len(wired.signals))
        metrics.busy_workers.set(wired.signals.working)
        metrics.queued_events.set(figures["waiting"])
        metrics.events_lag.set(figures["lag_s"])
        for what in BUS_TOTALS:
            self._gain(metrics.bus.labels(what), ("bus", what), figures[what])

    def _asking(self, wired: Wired) -> None:
        metrics, stats = self._metrics, wired.outside.rpc.stats()
        metrics.rpc_in_flight.set(stats.in_flight)
        metrics.rpc_queued.set(stats.queued)
        totals: Mapping[str, int] = {
            "waited": stats.waited,
            "hedges": stats.hedges,
            "hedgesWon": stats.hedges_won,
            "shared": stats.shared,
            "batches": stats.batches,
            **{f"refused{reason.title().replace(' ', '')}": n for reason, n in stats.refused.items()},
        }
        for what, total in totals.items():
            self._gain(metrics.rpc_calls.labels(what), ("rpc", what), total)

    def _process(self) -> None:
        metrics, use = self._metrics, read_process()
        metrics.process_tasks.set(use.tasks)
        if use.open_fds is not None:
            metrics.process_open_fds.set(use.open_fds)
        if use.resident_bytes is not None:
            metrics.process_resident_bytes.set(use.resident_bytes)

    def _gain(self, count: Count, name: tuple[str, str], total: float) -> None:
        gained = total - self._seen.get(name, 0)
        self._seen[name] = total
        if gained > 0:
            count.inc(gained)
