"""What the RPC pool tells of itself, as metrics and log lines."""

from __future__ import annotations

import structlog

from tradingbot_engine.metrics import Metrics
from tradingbot_engine.rpc.breaker import BreakerState
from tradingbot_engine.rpc.events import BreakerMoved, HealthSeen, PoolEvent, Requested
from tradingbot_engine.tracing import exemplar

_log = structlog.get_logger(__name__)

_BREAKER = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


class RpcMeter:
    """Takes the pool's events: `RpcPool(…, on_event=RpcMeter(metrics=metrics).take)`. Quick, and never raises."""

    def __init__(self, *, metrics: Metrics) -> None:
        self._requests = metrics.counters(
            "tradingbot_rpc_requests_total", "Requests, by endpoint and what came of them.", ["endpoint", "outcome"]
        )
        self._seconds = metrics.histograms(
            "tradingbot_rpc_request_duration_seconds", "How long requests took.", ["endpoint", "method"]
        )
        self._breaker = metrics.gauges(
            "tradingbot_rpc_breaker", "0 closed, 1 half open, 2 open.", ["endpoint"], least=0, most=2
        )
        self._healthy = metrics.gauges(
            "tradingbot_rpc_healthy", "1 while the last probe found nothing wrong.", ["endpoint"], least=0, most=1
        )
        self._trouble: dict[str, str] = {}

    def take(self, event: PoolEvent) -> None:
        """Count an event; the exemplar names the trade that asked, or else the request."""
        if isinstance(event, Requested):
            whose = exemplar()
            self._requests.labels(event.endpoint, event.outcome).inc(1, whose)
            self._seconds.labels(event.endpoint, event.method).observe(event.seconds, whose)
            _log.debug(
                "request",
                endpoint=event.endpoint,
                method=event.method,
                came=event.outcome,
                took_ms=round(event.seconds * 1000, 2),
            )
        elif isinstance(event, BreakerMoved):
            self._breaker.labels(event.endpoint).set(_BREAKER[event.after])
            _log.warning("breaker", endpoint=event.endpoint, before=event.before.name, after=event.after.name)
        elif isinstance(event, HealthSeen):
            self._healthy.labels(event.endpoint).set(not event.trouble)
            if event.trouble != self._trouble.get(event.endpoint, ""):
                _log.warning("node health", endpoint=event.endpoint, trouble=event.trouble or "none any more")
            self._trouble[event.endpoint] = event.trouble
