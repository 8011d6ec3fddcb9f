"""
What a running engine counts; one registry per engine.

Nothing false gets in: a value that is no number, or is negative where that cannot be, is refused at the source and counted
in `tradingbot_metrics_refused_total`, and so is a label set beyond the limit of the settings. Counts and times beyond it are
not lost: they go to the label set `other`, so that sums stay right; a gauge has no such place, since the last writer would
win, and is refused. No call ever raises: a metric must not stop a trade.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from tradingbot_engine.redact import scrub

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 75)
OTHER = "other"
"""Label value of what is beyond the limit of label sets."""
MAX_LABEL_CHARS = 128
MAX_EXEMPLAR_CHARS = 128
"""What OpenMetrics allows, names and values together."""
MAX_SERIES = 2000
_INFINITY = float("inf")

Exemplar = Mapping[str, str] | None


class Series:
    """One label set of a metric; after it was forgotten it takes nothing more."""

    __slots__ = ("_child", "_guard", "own")

    def __init__(self, guard: Guard, child: Any, own: tuple[str, ...] = ()) -> None:
        self._guard, self._child, self.own = guard, child, own

    def end(self) -> None:
        """Take nothing more."""
        self._child = None


class Count(Series):
    """Goes up only."""

    __slots__ = ()

    def inc(self, amount: float = 1, exemplar: Exemplar = None) -> None:
        """Count; the exemplar names the trade or request that was counted."""
        if self._child is not None and (amount == 1 or self._guard.takes(amount)):
            self._child.inc(amount, None if exemplar is None else self._guard.exemplar(exemplar))


class Level(Series):
    """Goes up and down."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """State the value as it is now."""
        if self._child is not None and self._guard.takes(value):
            self._child.set(value)


class Spread(Series):
    """Values by size, for times above all."""

    __slots__ = ()

    def observe(self, value: float, exemplar: Exemplar = None) -> None:
        """Take a value; the exemplar names the trade or request that it belongs to."""
        if self._child is not None and self._guard.takes(value):
            self._child.observe(value, None if exemplar is None else self._guard.exemplar(exemplar))


_S = TypeVar("_S", bound=Series)


@dataclass(frozen=True, slots=True)
class Guard:
    """Which values a metric takes; the others are counted as refused."""

    name: str
    refuse: Callable[[str, str], None]
    least: float | None = None
    most: float | None = None

    def takes(self, value: float) -> bool:
        """Whether a value is sound; counts the refusal of one that is not."""
        why = self._fault(value)
        if why is None:
            return True
        self.refuse(self.name, why)
        return False

    def exemplar(self, labels: Mapping[str, str]) -> dict[str, str] | None:
        """Return an exemplar that the format allows; None for another, whose value is taken without it."""
        if sum(len(name) + len(text) for name, text in labels.items()) <= MAX_EXEMPLAR_CHARS and all(
            name.isidentifier() for name in labels
        ):
            return dict(labels)
        self.refuse(self.name, "exemplar")
        return None

    def _fault(self, value: object) -> str | None:
        if not isinstance(value, int | float):
            return "type"
        if value != value or value in (_INFINITY, -_INFINITY):
            return "notFinite"
        if self.least is not None and value < self.least:
            return "negative" if self.least == 0 else "belowRange"
        return "aboveRange" if self.most is not None and value > self.most else None


class Family(Generic[_S]):
    """One metric with labels: at most so many label sets, each made once."""

    def __init__(self, metric: Any, kind: type[_S], *, guard: Guard, labels: Sequence[str], max_series: int) -> None:
        self._metric, self._kind, self._guard = metric, kind, guard
        self._names, self._max_series = tuple(labels), max_series
        self._series: dict[tuple[str, ...], _S] = {}
        self._nowhere = kind(guard, None)

    def labels(self, *values: str) -> _S:
        """Return the series of a label set; beyond the limit that of `other`, or (gauges) one that takes nothing."""
        return self._series.get(values) or self._new(values)

    def forget(self, **labels: str) -> int:
        """Remove every series whose labels have these values; return how many. Labels it does not have match nothing."""
        if not labels or not set(labels) <= set(self._names):
            return 0
        wanted = {self._names.index(name): value for name, value in labels.items()}
        gone = [values for values in self._series if all(values[at] == value for at, value in wanted.items())]
        for values in gone:
            self._series.pop(values).end()
            self._metric.remove(*values)
        return len(gone)

    def _new(self, values: tuple[object, ...]) -> _S:
        clean = tuple(text for text in map(_label, values) if text is not None)
        if len(values) != len(self._names) or len(clean) != len(values):
            self._guard.refuse(self._guard.name, "labels")
            return self._nowhere
        if clean not in self._series and len(self._series) >= self._max_series:
            self._guard.refuse(self._guard.name, "tooManySeries")
            if self._kind is Level:
                return self._nowhere
            clean = (OTHER,) * len(self._names)
        if clean not in self._series:
            self._series[clean] = self._kind(self._guard, self._metric.labels(*clean), clean)
        return self._series[clean]


class Metrics:
    """
    All metrics of an engine. Names follow Prometheus' conventions: base units, `_total` for counters.

    Args:
        max_series: Label sets of one metric (`metrics.max_series`).
    """

    def __init__(self, *, max_series: int = MAX_SERIES) -> None:
        self.registry = CollectorRegistry()
        self.max_series = max_series
        self._forgetters: list[Callable[..., int]] = []
        self._refused = Counter(
            "tradingbot_metrics_refused_total",
            "Values and label sets that were refused, by metric and why.",
            ["metric", "why"],
            registry=self.registry,
        )
        self.signals = self.counters(
            "tradingbot_signals_total", "Signals that strategies emitted.", ["strategy", "purpose"]
        )
        self.refused = self.counters(
            "tradingbot_signals_refused_total", "Wishes that did not become an intent.", ["strategy", "reason"]
        )
        self.moves = self.counters(
            "tradingbot_intent_moves_total", "Steps of intents, by the state reached.", ["state"]
        )
        self.open_intents = self.gauge("tradingbot_open_intents", "Intents that are not terminal.", least=0)
        self.in_flight = self.gauge("tradingbot_in_flight_trades", "Trades that a task follows now.", least=0)
        self.queue_utilization = self.gauge(
            "tradingbot_queue_utilization", "Share of the signal queue in use, 0 to 1.", least=0, most=1
        )
        self.signal_to_send = self.histogram(
            "tradingbot_signal_to_send_seconds", "From the signal to the first byte sent."
        )
        self.signal_to_confirm = self.histogram(
            "tradingbot_signal_to_confirm_seconds", "From the signal to a confirmed block."
        )
        self.equity = self.gauge("tradingbot_equity_quote_units", "Equity in quote base units.")
        self.drawdown = self.gauge(
            "tradingbot_drawdown_ratio", "Fall of equity from its peak, 0 to 1.", least=0, most=1
        )
        self.tier = self.gauge("tradingbot_drawdown_tier", "0 normal, 1 warning, 2 halt, 3 emergency.", least=0, most=3)
        self.trading = self.gauge("tradingbot_trading", "1 while new signals may become intents.", least=0, most=1)
        self.dropped_events = self.counter(
            "tradingbot_events_dropped_total", "Price ticks dropped because the core lagged."
        )
        self.queued_signals = self.gauge("tradingbot_queued_signals", "Signals that wait for a worker.", least=0)
        self.busy_workers = self.gauge("tradingbot_busy_workers", "Workers that are at a signal now.", least=0)
        self.queued_events = self.gauge("tradingbot_queued_events", "Events that wait for the core.", least=0)
        self.events_lag = self.gauge(
            "tradingbot_events_lag_seconds", "How long the oldest event has waited for the core.", least=0
        )
        self.bus = self.counters(
            "tradingbot_bus_events_total",
            "Unusual events: conflated, dropped, duplicates, late; holes noticed, filled, given up.",
            ["what"],
        )
        self.rpc_calls = self.counters(
            "tradingbot_rpc_calls_total",
            "What the pool did for calls: waited, hedges, shared, batches, refused….",
            ["what"],
        )
        self.rpc_in_flight = self.gauge("tradingbot_rpc_in_flight", "Requests under way.", least=0)
        self.rpc_queued = self.gauge("tradingbot_rpc_queued", "Calls that wait for an endpoint.", least=0)
        self.process_tasks = self.gauge("tradingbot_process_tasks", "asyncio tasks that are not done.", least=0)
        self.process_open_fds = self.gauge("tradingbot_process_open_fds", "Open file descriptors.", least=0)
        self.process_resident_bytes = self.gauge("tradingbot_process_resident_bytes", "Memory in RAM.", least=0)
        self.health = self.gauges(
            "tradingbot_health", "0 healthy, 1 degraded, 2 unhealthy, by check.", ["check"], least=0, most=2
        )
        self.protection_off = self.gauges(
            "tradingbot_protection_off",
            "1 for each protection that the settings switch off.",
            ["protection"],
            least=0,
            most=1,
        )

    def counter(self, name: str, text: str) -> Count:
        """Return a new counter; what is counted is never negative."""
        return Count(self._guard(name, least=0), Counter(name, text, registry=self.registry))

    def counters(self, name: str, text: str, labels: Sequence[str]) -> Family[Count]:
        """Return a new counter with labels."""
        return self._family(
            Counter(name, text, labels, registry=self.registry), Count, labels, self._guard(name, least=0)
        )

    def gauge(self, name: str, text: str, *, least: float | None = None, most: float | None = None) -> Level:
        """Return a new gauge; values outside of `least` and `most` are refused."""
        return Level(self._guard(name, least=least, most=most), Gauge(name, text, registry=self.registry))

    def gauges(
        self, name: str, text: str, labels: Sequence[str], *, least: float | None = None, most: float | None = None
    ) -> Family[Level]:
        """Return a new gauge with labels."""
        guard = self._guard(name, least=least, most=most)
        return self._family(Gauge(name, text, labels, registry=self.registry), Level, labels, guard)

    def histogram(self, name: str, text: str, *, buckets: Sequence[float] = SECONDS) -> Spread:
        """Return a new histogram of values that are never negative, of seconds if no buckets are named."""
        metric = Histogram(name, text, buckets=buckets, registry=self.registry)
        return Spread(self._guard(name, least=0), metric)

    def histograms(
        self, name: str, text: str, labels: Sequence[str], *, buckets: Sequence[float] = SECONDS
    ) -> Family[Spread]:
        """Return a new histogram with labels."""
        metric = Histogram(name, text, labels, buckets=buckets, registry=self.registry)
        return self._family(metric, Spread, labels, self._guard(name, least=0))

    def forget(self, **labels: str) -> int:
        """
        Remove every series with these labels, for example `forget(strategy="old")`; return how many.

        For whoever takes a strategy, an endpoint or a token away from a running engine: its numbers would otherwise stand still for
        ever. (What a manifest takes away ends with the process, whose registry this is; no label names a bot or a token.)
        """
        return sum(forget(**labels) for forget in self._forgetters)

    def refuse(self, metric: str, why: str) -> None:
        """Count a value or a label set that was refused."""
        self._refused.labels(metric, why).inc()

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """
        Return all metrics as text, and the text's content type.

        Args:
            accept: The Accept header; exemplars are shown to those who accept OpenMetrics.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _guard(self, name: str, *, least: float | None = None, most: float | None = None) -> Guard:
        return Guard(name=name, refuse=self.refuse, least=least, most=most)

    def _family(self, metric: Any, kind: type[_S], labels: Sequence[str], guard: Guard) -> Family[_S]:
        family = Family(metric, kind, guard=guard, labels=labels, max_series=self.max_series)
        self._forgetters.append(family.forget)
        return family


def _label(value: object) -> str | None:
    """Return a label's value without secrets, cut to its limit; None for what is no text or is empty."""
    if not isinstance(value, str) or not value:
        return None
    clean = scrub("".join(c if c.isprintable() else "�" for c in value))
    return clean if len(clean) <= MAX_LABEL_CHARS else clean[: MAX_LABEL_CHARS - 1] + "…"
