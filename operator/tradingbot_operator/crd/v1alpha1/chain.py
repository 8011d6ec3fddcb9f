"""The Solana cluster a bot trades on, the wallet it signs with, and the RPC nodes it asks."""

from typing import Annotated, Literal

from pydantic import Field

from tradingbot_operator.crd.v1alpha1.base import (
    DNS_1035,
    Address,
    FromSecret,
    HttpUrl,
    Model,
    Name,
    SecretKeyRef,
    Unit,
    WebsocketUrl,
)

LocalnetName = Annotated[str, Field(pattern=DNS_1035, max_length=40)]
Scenario = Literal["Calm", "Trend", "Viral", "RugPull", "Dead"]


class Localnet(Model):
    """The embedded Solana cluster. It comes with chain, wallet, endpoints, swap API and ledger."""

    name: LocalnetName | None = None
    """Bots of one namespace that state the same name share one localnet, and those that state none share one too. On a
    laptop every bot has its own."""
    nodes: Annotated[int, Field(ge=1, le=9), Unit("nodes")] = 3
    """How many JSON-RPC nodes stand over the one bank."""
    scenario: Scenario = "Calm"
    """What the simulated traders do to the price: Calm, Trend, Viral, RugPull or Dead."""
    speed: Annotated[float, Field(ge=0.1, le=3600), Unit("× wall time")] = 1.0
    """How many times as fast as wall time the market plays; slots and timeouts stay in wall time."""


class Wallet(Model):
    """The wallet that trades."""

    address: Address | None = None
    """Public key of the wallet; immutable once set."""
    secret_ref: SecretKeyRef | None = None
    """The private key, as Solana CLI JSON or base58; its public key must equal the address."""


class Endpoint(Model):
    """One JSON-RPC node."""

    name: Name
    """Name of the node in status, logs and metrics; unique within the bot."""
    url: HttpUrl | None = None
    """Its HTTP address; put an address with a key in it into a Secret and use urlFrom."""
    url_from: FromSecret | None = None
    """The HTTP address from a Secret, instead of url."""
    websocket_url: WebsocketUrl | None = None
    """Its websocket address; absent: the HTTP address with ws for http."""
    websocket_url_from: FromSecret | None = None
    """The websocket address from a Secret, instead of websocketUrl."""
    requests_per_second: Annotated[float, Field(ge=1, le=100_000), Unit("requests/s")] = 50.0
    """Requests that the provider allows; with fewer than one a second no trade could be followed to its end."""
    concurrency: Annotated[int, Field(ge=1, le=10_000), Unit("requests")] = 10
    """Requests that may be under way at once."""
    priority: Annotated[int, Field(ge=0, le=1000)] = 0
    """Nodes of the lowest number are asked first; those of higher numbers when none of them is healthy."""


class Hedging(Model):
    """A second request to another node when the first is slow; reads only."""

    enabled: bool = True
    """Whether slow reads are asked again elsewhere."""
    delay_milliseconds: Annotated[int, Field(ge=1, le=60_000), Unit("ms")] = 200
    """How long the first request may take before the second is sent."""
    max_extra: Annotated[int, Field(ge=1, le=5), Unit("requests")] = 1
    """How many extra requests one call may cost."""


class Breaker(Model):
    """The circuit breaker of a node."""

    failure_threshold: Annotated[int, Field(ge=1, le=1000), Unit("failures")] = 5
    """Failures in a row that open it."""
    cooldown_seconds: Annotated[float, Field(gt=0, le=3600), Unit("s")] = 60.0
    """How long it stays open before it tries again."""
    half_open_probes: Annotated[int, Field(ge=1, le=100), Unit("requests")] = 1
    """Requests that must succeed before it closes."""


class Health(Model):
    """How often nodes are looked at."""

    interval_seconds: Annotated[float, Field(gt=0, le=3600), Unit("s")] = 30.0
    """Time between two looks at a node."""
    jitter_seconds: Annotated[float, Field(ge=0, le=3600), Unit("s")] = 5.0
    """At most this much is added to the interval at random, so that bots do not ask in step."""


class Rpc(Model):
    """The JSON-RPC nodes and how they are asked."""

    endpoints: Annotated[
        list[Endpoint],
        Field(
            max_length=32,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = Field(default_factory=list)
    """The nodes. On localnet they are provided and none may be stated; elsewhere at least one is needed."""
    timeout_milliseconds: Annotated[int, Field(ge=50, le=60_000), Unit("ms")] = 2000
    """How long one request may take."""
    max_in_flight: Annotated[int, Field(ge=1, le=100_000), Unit("requests")] = 200
    """Requests of the whole bot that may be under way at once."""
    hedging: Hedging = Field(default_factory=Hedging)
    """A second request when the first is slow."""
    breaker: Breaker = Field(default_factory=Breaker)
    """When a failing node is left alone, and for how long."""
    health: Health = Field(default_factory=Health)
    """How often nodes are looked at."""
