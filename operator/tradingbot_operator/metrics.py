"""The operator's metrics. Series that carry a bot's name are removed with the bot."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from tradingbot_operator.kube.store import Key
from tradingbot_operator.status.reasons import CONDITIONS

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """All of them, in one registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.passes = Histogram(
            "tradingbot_operator_pass_seconds",
            "Passes over bots by outcome.",
            ["outcome"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.observed = Histogram(
            "tradingbot_operator_observed_seconds",
            "From the first sight of a new generation of a spec to the status with its observedGeneration.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.requests = Histogram(
            "tradingbot_operator_api_request_seconds",
            "Requests to the API server.",
            ["verb", "kind", "code"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.steps = Counter(
            "tradingbot_operator_steps", "Steps of plans that were taken.", ["step"], registry=self.registry
        )
        self.engine_calls = Counter(
            "tradingbot_operator_engine_calls",
            "Questions to engines by outcome.",
            ["call", "outcome"],
            registry=self.registry,
        )
        self.running = Gauge("tradingbot_operator_passes_running", "Passes under way.", registry=self.registry)
        self.leads = Gauge(
            "tradingbot_operator_leads", "1 if this operator acts, 0 if it only watches.", registry=self.registry
        )
        self.stale_s = Gauge(
            "tradingbot_operator_watch_stale_seconds", "How long a watch has missed a change that a list shows.", ["kind"],
            registry=self.registry,
        )  # fmt: skip
        self.bots = Gauge("tradingbot_operator_bots", "Bots that are looked after.", registry=self.registry)
        self.condition = Gauge(
            "tradingbot_condition",
            "1 if a condition of a bot is True, 0 if it is False, -1 if it is Unknown.",
            ["namespace", "name", "type"],
            registry=self.registry,
        )

    def request(self, verb: str, kind: str, code: str, seconds: float) -> None:
        """Count a request to the API server."""
        self.requests.labels(verb, kind, code).observe(seconds)

    def conditions(self, key: Key, found: dict[str, str]) -> None:
        """Show a bot's conditions: status by type."""
        for name, status in found.items():
            self.condition.labels(*key, name).set({"True": 1, "False": 0}.get(status, -1))

    def forget(self, key: Key) -> None:
        """Remove every series of a bot."""
        for name in CONDITIONS:
            self.condition.remove(*key, name)
