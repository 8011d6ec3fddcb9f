"""
How Solana nodes are asked, and what protects the asking.

Names on the manifest's side follow its `rpc:` block: `timeoutMilliseconds` → `request_timeout_s`, `maxInFlight` →
`max_in_flight`, `hedging.{enabled, delayMilliseconds, maxExtra}` → `hedging.{enabled, delay_ms, max_extra}`,
`breaker.{failureThreshold, cooldownSeconds, halfOpenProbes}` → `breaker.{failure_threshold, cooldown_s,
half_open_probes}`, `health.{intervalSeconds, jitterSeconds}` → `health.{interval_s, jitter_s}`, and of each endpoint
`requestsPerSecond`, `concurrency`, `priority` under the same words.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator

from tradingbot_engine.settings.base import LINE, Group
from tradingbot_engine.settings.urls import url_problem


def _seed(name: str, **more: Any) -> dict[str, Any]:
    return {"seed": name, **more}


def _checked_url(value: SecretStr, schemes: tuple[str, ...]) -> SecretStr:
    """Refuse what is no URL of these schemes; the text of the error never holds the URL, which may hold a key."""
    if problem := url_problem(value.get_secret_value(), schemes=schemes):
        raise ValueError(problem)
    return value


class EndpointSettings(Group):
    """One RPC provider; the URL may hold a key, so it is a secret."""

    name: str = Field(min_length=1, max_length=63, pattern=LINE)
    """What logs, metrics and errors call it."""
    url: SecretStr = Field(json_schema_extra=_seed("HELIUS_RPC_URL, CHAINSTACK_RPC_URL, PUBLIC_RPC_URL"))
    """Its JSON-RPC address, http:// or https://."""
    websocket_url: SecretStr | None = None
    """Its subscriptions' address, ws:// or wss://; absent: no subscriptions from it."""
    requests_per_second: float = Field(
        default=50, ge=1, le=1_000_000, json_schema_extra=_seed("RPC_DEFAULT_RPS_LIMIT", unit="requests/s")
    )
    """
    Requests that it is sent per second at most, over any longer time; see `rpc.rate_window_ms` for bursts. With fewer than
    one, the half dozen questions that settle one trade would take longer than they are worth.
    """
    concurrency: int = Field(
        default=10, ge=1, le=1_000_000, json_schema_extra=_seed("RPC_DEFAULT_CONCURRENCY_LIMIT", unit="requests")
    )
    """Requests that it works on at once at most."""
    priority: int = Field(default=0, ge=0, le=1_000_000)
    """Lower is asked first; among equals the one that answers sooner and fails less."""
    batch_size: int = Field(default=1, ge=1, le=1000, json_schema_extra={"unit": "calls"})
    """Small reads that may share one HTTP request (a JSON-RPC batch); 1: none. Each still counts as a request."""

    @field_validator("url")
    @classmethod
    def _http(cls, value: SecretStr) -> SecretStr:
        return _checked_url(value, ("http", "https"))

    @field_validator("websocket_url")
    @classmethod
    def _websocket(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else _checked_url(value, ("ws", "wss"))


class RpcQueueSettings(Group):
    """Calls that wait because every endpoint that may serve them is busy or at its rate limit."""

    max_size: int = Field(default=1000, ge=1, le=1_000_000, json_schema_extra=_seed("RPC_QUEUE_MAX_SIZE", unit="calls"))
    """How many calls may wait at once."""
    deadline_ms: int = Field(default=5000, ge=1, le=600_000, json_schema_extra=_seed("RPC_QUEUE_DEADLINE_MS"))
    """How long a call may wait; one that is sure to wait longer is refused at once."""
    reject_fast_ms: int = Field(default=10, ge=0, le=60_000, json_schema_extra=_seed("RPC_QUEUE_REJECT_FAST_MS"))
    """How long a call that finds the queue full waits for a place in it before it is refused."""

    @model_validator(mode="after")
    def _order(self) -> RpcQueueSettings:
        if self.reject_fast_ms > self.deadline_ms:
            raise ValueError("reject_fast_ms must not be above deadline_ms")
        return self


class BreakerSettings(Group):
    """An endpoint that keeps failing is left alone for a while."""

    enabled: bool = Field(
        default=True,
        json_schema_extra=_seed(
            "RPC_BREAKER_ENABLED", protection="nodes that keep failing are asked again with every call"
        ),
    )
    """Whether endpoints that keep failing are left alone."""
    failure_threshold: int = Field(
        default=5, ge=1, le=10_000, json_schema_extra=_seed("RPC_BREAKER_FAILURE_THRESHOLD", unit="failures")
    )
    """Failures in a row that open the breaker."""
    cooldown_s: float = Field(default=60, gt=0, le=86_400, json_schema_extra=_seed("RPC_BREAKER_COOLDOWN_MS"))
    """How long it stays open unless a good health probe comes first."""
    half_open_probes: int = Field(
        default=1, ge=1, le=1000, json_schema_extra=_seed("RPC_BREAKER_HALF_OPEN_PROBES", unit="requests")
    )
    """Requests tried at once while half open, and good answers that close it."""


class HedgingSettings(Group):
    """A read that is late is asked of a second endpoint too; the first answer counts."""

    enabled: bool = Field(
        default=True,
        json_schema_extra=_seed(
            "RPC_HEDGING_ENABLED", protection="a call to a hung node waits for the whole request timeout"
        ),
    )
    """Whether late requests are repeated elsewhere."""
    delay_ms: int = Field(default=200, ge=1, le=60_000, json_schema_extra=_seed("RPC_HEDGING_DELAY_MS"))
    """
    The longest wait before it, if that is below half of `rpc.request_timeout_s`; the observed 95th percentile of the
    method's latency if that is shorter.
    """
    max_extra: int = Field(default=1, ge=1, le=8, json_schema_extra=_seed("RPC_HEDGING_MAX_EXTRA", unit="requests"))
    """Extra requests for one call."""
    max_share: float = Field(default=0.1, gt=0, le=1, json_schema_extra={"unit": "ratio"})
    """Extra requests over all calls, as a share of them; saved up for at most `burst`."""
    burst: int = Field(default=100, ge=1, le=100_000, json_schema_extra={"unit": "requests"})
    """Extra requests that may come at once, as when a node hangs that many calls were asking."""
    abort_on_primary_success: bool = Field(default=True, json_schema_extra=_seed("RPC_ABORT_HEDGE_ON_PRIMARY_SUCCESS"))
    """Whether the extra request is cancelled when the first one answers; otherwise it ends by itself, unheard."""


class HealthSettings(Group):
    """Each endpoint is asked for its health and its slots, since HTTP 200 alone says nothing."""

    enabled: bool = Field(
        default=True,
        json_schema_extra={"protection": "a node that stands still or is back is noticed only by the calls themselves"},
    )
    """Whether endpoints are probed beside the calls."""
    interval_s: float = Field(default=30, gt=0, le=3600, json_schema_extra=_seed("RPC_HEALTH_INTERVAL_MS"))
    """How often each endpoint is probed."""
    jitter_s: float = Field(default=5, ge=0, le=3600, json_schema_extra=_seed("RPC_HEALTH_JITTER_MS"))
    """Up to this is added to each interval, so that probes of many engines don't meet."""
    probe_timeout_s: float = Field(default=1, gt=0, le=60, json_schema_extra=_seed("RPC_HEALTH_PROBE_TIMEOUT_MS"))
    """How long a probe may take."""
    probes_per_second: float = Field(
        default=2, gt=0, le=1000, json_schema_extra=_seed("RPC_HEALTH_PROBE_RPS_LIMIT", unit="probes/s")
    )
    """Probes of one endpoint at most, whoever asks for them."""
    max_lag_slots: int = Field(default=64, ge=32, le=100_000, json_schema_extra={"unit": "slots"})
    """Further behind the best endpoint: unhealthy, asked last. Finalized answers are 31 slots old by nature."""


class KeepAliveSettings(Group):
    """Connections that stay open between requests."""

    enabled: bool = Field(default=True, json_schema_extra=_seed("RPC_KEEP_ALIVE_ENABLED"))
    """Whether connections are kept; otherwise each request opens one."""
    max_sockets: int = Field(
        default=50, ge=1, le=100_000, json_schema_extra=_seed("RPC_KEEP_ALIVE_SOCKETS", unit="sockets")
    )
    """Connections to one endpoint at most; it also bounds the endpoint's concurrency, as a request needs one."""
    idle_timeout_s: float = Field(default=60, gt=0, le=3600, json_schema_extra=_seed("RPC_KEEP_ALIVE_TIMEOUT_MS"))
    """An unused connection is closed after this."""


class RetryBudgetSettings(Group):
    """Failover after faults is bounded over all calls, so that an outage makes no storm of repetitions."""

    enabled: bool = Field(
        default=True, json_schema_extra={"protection": "an outage multiplies the requests by the number of endpoints"}
    )
    """Whether it is bounded."""
    max_share: float = Field(default=0.2, gt=0, le=10, json_schema_extra={"unit": "ratio"})
    """Repetitions per call, on average."""
    per_second: float = Field(default=10, gt=0, le=10_000, json_schema_extra={"unit": "requests/s"})
    """Repetitions that are allowed in any case; ten seconds of them may come at once."""


class RpcSettings(Group):
    """How Solana nodes are asked."""

    endpoints: tuple[EndpointSettings, ...] = Field(min_length=1, max_length=64)
    request_timeout_s: float = Field(default=2.0, gt=0, le=300, json_schema_extra=_seed("RPC_DEFAULT_TIMEOUT_MS"))
    """How long one request to one node may take, to the last byte of its answer, in seconds of wall time."""
    urgent_timeout_s: float = Field(default=1.5, gt=0, le=300)
    """
    The same for what a trade waits for with its price running: sending a transaction, and the blockhash to sign with. The
    bytes go out again every `execution.resend_interval_s` anyway. Never more than `request_timeout_s`.
    """
    history_timeout_s: float = Field(default=5.0, gt=0, le=300)
    """The same for blocks, transactions and lists of them, which nodes read from their disks. Never less than `request_timeout_s`."""
    urgent_deadline_s: float = Field(default=5.0, gt=0, le=3600)
    """
    `call_deadline_s` for sends and blockhashes: after it the caller looks what became of the trade and asks anew. Never more
    than `call_deadline_s`, never less than `urgent_timeout_s`.
    """
    call_deadline_s: float = Field(default=30, gt=0, le=3600)
    """
    How long a call may take in all, waiting and repetitions included, where the caller names no deadline; never less
    than `request_timeout_s`.
    """
    max_in_flight: int = Field(
        default=200, ge=1, le=1_000_000, json_schema_extra=_seed("RPC_MAX_IN_FLIGHT_GLOBAL", unit="requests")
    )
    """Requests under way at once, over all endpoints."""
    rate_window_ms: int = Field(default=1000, ge=1, le=60_000, json_schema_extra=_seed("RPC_RATE_WINDOW_MS"))
    """An endpoint's rate limit lets a burst of this much of its rate through at once, never less than one request."""
    max_answer_bytes: int = Field(
        default=16 * 1024 * 1024, ge=1024, le=1024 * 1024 * 1024, json_schema_extra={"unit": "bytes"}
    )
    """
    A longer answer is a fault of the endpoint. The longest that is asked for: the largest account there can be, 10 MiB as
    13.4 MiB of base64; a list of 100,000 blocks is about 1 MB.
    """
    one_node_after_s: float = Field(default=120, ge=1, le=86_400)
    """
    After a start, or after the ledger was away: how long a second node is waited for before the word of the only one that
    answers is enough to leave positions by. Entries wait for two however long it takes (reason `OneNodeOnly`).
    """
    single_flight: bool = True
    """Whether equal reads of accounts at one time share one request; never sends, nor what proves anything."""
    queue: RpcQueueSettings = RpcQueueSettings()
    breaker: BreakerSettings = BreakerSettings()
    hedging: HedgingSettings = HedgingSettings()
    health: HealthSettings = HealthSettings()
    keep_alive: KeepAliveSettings = KeepAliveSettings()
    retry_budget: RetryBudgetSettings = RetryBudgetSettings()

    @model_validator(mode="after")
    def _fits(self) -> RpcSettings:
        names = [e.name for e in self.endpoints]
        if len(set(names)) != len(names):
            raise ValueError("endpoint names must differ")
        if "call_deadline_s" in self.model_fields_set and self.call_deadline_s < self.request_timeout_s:
            raise ValueError("call_deadline_s must not be below request_timeout_s")
        return self
