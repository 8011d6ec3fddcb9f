"""What a running engine counts; one registry per engine, label sets bounded by the settings."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 75)


class Metrics:
    """Names follow Prometheus' conventions: base units, `_total` for counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.events = Counter("tradingbot_market_events_total", "Events that reached the core.", ["kind"], registry=r)
        self.signals = Counter(
            "tradingbot_signals_total", "Signals that strategies emitted.", ["strategy", "purpose"], registry=r
        )
        self.refused = Counter(
            "tradingbot_signals_refused_total",
            "Wishes that did not become an intent.",
            ["strategy", "reason"],
            registry=r,
        )
        self.moves = Counter(
            "tradingbot_intent_moves_total", "Steps of intents, by the state reached.", ["state"], registry=r
        )
        self.open_intents = Gauge("tradingbot_open_intents", "Intents that are not terminal.", registry=r)
        self.in_flight = Gauge("tradingbot_in_flight_trades", "Trades that a task follows now.", registry=r)
        self.queue_utilization = Gauge(
            "tradingbot_queue_utilization", "Share of the signal queue in use, 0 to 1.", registry=r
        )
        self.signal_to_send = Histogram(
            "tradingbot_signal_to_send_seconds", "From the signal to the first byte sent.", buckets=_SECONDS, registry=r
        )
        self.signal_to_confirm = Histogram(
            "tradingbot_signal_to_confirm_seconds",
            "From the signal to a confirmed block.",
            buckets=_SECONDS,
            registry=r,
        )
        self.equity = Gauge("tradingbot_equity_quote_units", "Equity in quote base units.", registry=r)
        self.drawdown = Gauge("tradingbot_drawdown_ratio", "Fall of equity from its peak, 0 to 1.", registry=r)
        self.tier = Gauge("tradingbot_drawdown_tier", "0 normal, 1 warning, 2 halt, 3 emergency.", registry=r)
        self.trading = Gauge("tradingbot_trading", "1 while new signals may become intents.", registry=r)
        self.dropped_events = Counter(
            "tradingbot_events_dropped_total", "Price ticks dropped because the core lagged.", registry=r
        )
