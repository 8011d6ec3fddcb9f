"""
The rules between fields, as data: what a model's types and ranges cannot say.

Each rule stands once, as a Python predicate for `tradingbot validate` and as CEL for the API server, side by side. CEL
rules of the spec stand on `spec` with `has()`, so that removing and adding a field is caught too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tradingbot_operator.crd.v1alpha1.chain import Endpoint
from tradingbot_operator.crd.v1alpha1.effective import PROFILES, effective_cluster, effective_risk
from tradingbot_operator.crd.v1alpha1.spec import TradingBotSpec


@dataclass(frozen=True, kw_only=True)
class Rule:
    """
    One rule of the spec, or of every element of one of its lists.

    Attributes:
        id: Name for tests and references.
        path: Field that a problem is shown at, relative to the object the rule stands on.
        reads: Fields that the verdict depends on; when one of them is invalid in itself, the rule stays silent.
        message: What to do.
        cel: The rule in CEL, on the same object.
        holds: The rule in Python.
    """

    id: str
    path: str
    reads: tuple[str, ...]
    message: str
    cel: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True, kw_only=True)
class TransitionRule:
    """A rule between the old and the new spec."""

    id: str
    path: str
    message: str
    cel: str
    holds: Callable[[TradingBotSpec, TradingBotSpec], bool]


def _is_localnet(spec: TradingBotSpec) -> bool:
    return effective_cluster(spec) == "localnet" and not (spec.mode == "Live" and spec.cluster is None)


def _risk(path: str, number: str) -> str:
    """Return CEL of a risk number in force: the stated one, or the profile's."""
    owner, dot, _ = path.rpartition(".")
    has = f"has(self.risk.{owner}) && has(self.risk.{path})" if dot else f"has(self.risk.{path})"
    low, middle, high = (
        float(getattr(PROFILES[profile], number)) for profile in ("Conservative", "Balanced", "Aggressive")
    )
    profile = f"self.risk.profile == 'Conservative' ? {low} : self.risk.profile == 'Balanced' ? {middle} : {high}"
    return f"({has} ? double(self.risk.{path}) : ({profile}))"


CEL_LOCALNET = "(has(self.cluster) ? self.cluster == 'localnet' : self.mode == 'Paper')"
CEL_ELSEWHERE = "(has(self.cluster) && self.cluster != 'localnet')"
POSITION, STRATEGY = (
    _risk("maxPositionPercent", "max_position_percent"),
    _risk("maxStrategyPercent", "max_strategy_percent"),
)
WARNING, HALT, EMERGENCY = (
    _risk("drawdown.warningPercent", "drawdown_warning_percent"),
    _risk("drawdown.haltPercent", "drawdown_halt_percent"),
    _risk("drawdown.emergencyPercent", "drawdown_emergency_percent"),
)
DAILY_WARNING, DAILY_HALT = (
    _risk("dailyLoss.warningPercent", "daily_loss_warning_percent"),
    _risk("dailyLoss.haltPercent", "daily_loss_halt_percent"),
)


def _elsewhere(spec: TradingBotSpec) -> bool:
    return spec.cluster is not None and spec.cluster != "localnet"


def _ordered(low: float | None, high: float | None) -> bool:
    return low is None or high is None or low < high


SPEC_RULES = (
    Rule(
        id="live-states-its-cluster",
        path="cluster",
        reads=("mode", "cluster"),
        message="mode Live must state its cluster: set mainnet-beta, devnet or localnet",
        cel="self.mode != 'Live' || has(self.cluster)",
        holds=lambda spec: spec.mode != "Live" or spec.cluster is not None,
    ),
    Rule(
        id="localnet-settings-need-localnet",
        path="localnet",
        reads=("mode", "cluster"),
        message="only used with cluster localnet: remove it, or set cluster: localnet",
        cel=f"!has(self.localnet) || {CEL_LOCALNET}",
        holds=lambda spec: spec.localnet is None or _is_localnet(spec),
    ),
    Rule(
        id="endpoints-elsewhere",
        path="rpc.endpoints",
        reads=("cluster", "rpc.endpoints"),
        message="a bot outside localnet needs at least one RPC node: add {name, url} or {name, urlFrom}",
        cel=f"!{CEL_ELSEWHERE} || (has(self.rpc) && has(self.rpc.endpoints) && self.rpc.endpoints.size() > 0)",
        holds=lambda spec: not _elsewhere(spec) or len(spec.rpc.endpoints) > 0,
    ),
    Rule(
        id="no-endpoints-on-localnet",
        path="rpc.endpoints",
        reads=("mode", "cluster", "rpc.endpoints"),
        message="localnet provides its own RPC nodes: remove them, or set cluster: mainnet-beta or devnet",
        cel=f"!{CEL_LOCALNET} || !has(self.rpc) || !has(self.rpc.endpoints) || self.rpc.endpoints.size() == 0",
        holds=lambda spec: not _is_localnet(spec) or not spec.rpc.endpoints,
    ),
    Rule(
        id="no-swap-api-on-localnet",
        path="execution.swap",
        reads=("mode", "cluster", "execution.swap"),
        message="localnet provides its own swap API: remove baseUrl and apiKeyFrom",
        cel=f"!{CEL_LOCALNET} || !has(self.execution) || !has(self.execution.swap) || "
        "(!has(self.execution.swap.baseUrl) && !has(self.execution.swap.apiKeyFrom))",
        holds=lambda spec: (
            not _is_localnet(spec)
            or (spec.execution.swap.base_url is None and spec.execution.swap.api_key_from is None)
        ),
    ),
    Rule(
        id="live-has-a-key",
        path="wallet.secretRef",
        reads=("mode", "cluster", "wallet.secretRef"),
        message="mode Live outside localnet signs with your wallet: name the Secret that holds its key, {name, key}",
        cel=f"self.mode != 'Live' || !{CEL_ELSEWHERE} || (has(self.wallet) && has(self.wallet.secretRef))",
        holds=lambda spec: spec.mode != "Live" or not _elsewhere(spec) or spec.wallet.secret_ref is not None,
    ),
    Rule(
        id="something-to-trade",
        path="market.tokens",
        reads=("market",),
        message="name at least one token {mint, symbol}, or a market.screen",
        cel="has(self.market) && ((has(self.market.tokens) && self.market.tokens.size() > 0) || has(self.market.screen))",
        holds=lambda spec: bool(spec.market.tokens) or spec.market.screen is not None,
    ),
    Rule(
        id="a-strategy",
        path="strategies",
        reads=("strategies",),
        message="name at least one strategy {name, type}; `tradingbot explain strategies` lists the types",
        cel="has(self.strategies) && self.strategies.size() > 0",
        holds=lambda spec: bool(spec.strategies),
    ),
    Rule(
        id="allocations-fit",
        path="strategies",
        reads=("strategies",),
        message="the strategies' allocationPercent add up to more than 100, or leave nothing for those without one: "
        "lower them",
        cel="!has(self.strategies) || self.strategies.map(s, has(s.allocationPercent) ? "
        "double(s.allocationPercent) : 0.0).sum() <= (self.strategies.all(s, has(s.allocationPercent)) ? "
        "100.000000001 : 99.999)",
        holds=lambda spec: (
            sum(s.allocation_percent or 0.0 for s in spec.strategies)
            <= (100.000000001 if all(s.allocation_percent is not None for s in spec.strategies) else 99.999)
        ),
    ),
    Rule(
        id="position-within-strategy",
        path="risk.maxPositionPercent",
        reads=("risk.profile", "risk.maxPositionPercent", "risk.maxStrategyPercent"),
        message="one trade may not exceed its strategy's limit: lower maxPositionPercent or raise maxStrategyPercent "
        "(the profile fills in what is left out)",
        cel=f"{POSITION} <= {STRATEGY}",
        holds=lambda spec: effective_risk(spec).max_position_percent <= effective_risk(spec).max_strategy_percent,
    ),
    Rule(
        id="drawdown-warning-before-halt",
        path="risk.drawdown.warningPercent",
        reads=("risk.profile", "risk.drawdown.warningPercent", "risk.drawdown.haltPercent"),
        message="must be below haltPercent (the profile fills in what is left out)",
        cel=f"{WARNING} < {HALT}",
        holds=lambda spec: effective_risk(spec).drawdown_warning_percent < effective_risk(spec).drawdown_halt_percent,
    ),
    Rule(
        id="drawdown-halt-before-emergency",
        path="risk.drawdown.haltPercent",
        reads=("risk.profile", "risk.drawdown.haltPercent", "risk.drawdown.emergencyPercent"),
        message="must be below emergencyPercent (the profile fills in what is left out)",
        cel=f"{HALT} < {EMERGENCY}",
        holds=lambda spec: effective_risk(spec).drawdown_halt_percent < effective_risk(spec).drawdown_emergency_percent,
    ),
    Rule(
        id="daily-loss-warning-before-halt",
        path="risk.dailyLoss.warningPercent",
        reads=("risk.profile", "risk.dailyLoss.warningPercent", "risk.dailyLoss.haltPercent"),
        message="must be below haltPercent (the profile fills in what is left out)",
        cel=f"{DAILY_WARNING} < {DAILY_HALT}",
        holds=lambda spec: (
            effective_risk(spec).daily_loss_warning_percent < effective_risk(spec).daily_loss_halt_percent
        ),
    ),
    Rule(
        id="queue-warning-before-critical",
        path="queue.warningThreshold",
        reads=("queue.warningThreshold", "queue.criticalThreshold"),
        message="must be below criticalThreshold",
        cel="!has(self.queue) || self.queue.warningThreshold < self.queue.criticalThreshold",
        holds=lambda spec: spec.queue.warning_threshold < spec.queue.critical_threshold,
    ),
    Rule(
        id="market-cap-range",
        path="market.screen.minMarketCapUsd",
        reads=("market.screen.minMarketCapUsd", "market.screen.maxMarketCapUsd"),
        message="must be below maxMarketCapUsd",
        cel="!has(self.market) || !has(self.market.screen) || !has(self.market.screen.minMarketCapUsd) || "
        "!has(self.market.screen.maxMarketCapUsd) || "
        "self.market.screen.minMarketCapUsd < self.market.screen.maxMarketCapUsd",
        holds=lambda spec: (
            spec.market.screen is None
            or _ordered(spec.market.screen.min_market_cap_usd, spec.market.screen.max_market_cap_usd)
        ),
    ),
    Rule(
        id="age-range",
        path="market.screen.minAgeMinutes",
        reads=("market.screen.minAgeMinutes", "market.screen.maxAgeHours"),
        message="must be below maxAgeHours (in hours, 60 minutes each)",
        cel="!has(self.market) || !has(self.market.screen) || !has(self.market.screen.minAgeMinutes) || "
        "!has(self.market.screen.maxAgeHours) || "
        "double(self.market.screen.minAgeMinutes) < double(self.market.screen.maxAgeHours) * 60.0",
        holds=lambda spec: (
            spec.market.screen is None
            or spec.market.screen.max_age_hours is None
            or _ordered(spec.market.screen.min_age_minutes, spec.market.screen.max_age_hours * 60.0)
        ),
    ),
    Rule(
        id="replicas-within-shards",
        path="replicas",
        reads=("replicas", "scaling.shards"),
        message="must be at most scaling.shards, since a pod owns at least one shard",
        cel="self.replicas <= self.scaling.shards",
        holds=lambda spec: spec.replicas <= spec.scaling.shards,
    ),
    Rule(
        id="autoscaling-range",
        path="scaling.minReplicas",
        reads=("scaling.minReplicas", "scaling.maxReplicas"),
        message="must be below maxReplicas; for a fixed number set replicas and leave maxReplicas out",
        cel="!has(self.scaling) || !has(self.scaling.maxReplicas) || self.scaling.minReplicas < self.scaling.maxReplicas",
        holds=lambda spec: _ordered(spec.scaling.min_replicas, spec.scaling.max_replicas),
    ),
    Rule(
        id="autoscaling-within-shards",
        path="scaling.maxReplicas",
        reads=("scaling.maxReplicas", "scaling.shards"),
        message="must be at most scaling.shards, since a pod owns at least one shard",
        cel="!has(self.scaling) || !has(self.scaling.maxReplicas) || self.scaling.maxReplicas <= self.scaling.shards",
        holds=lambda spec: spec.scaling.max_replicas is None or spec.scaling.max_replicas <= spec.scaling.shards,
    ),
    Rule(
        id="force-after-trade-timeout",
        path="shutdown.forceTimeoutSeconds",
        reads=("shutdown.tradeTimeoutSeconds", "shutdown.forceTimeoutSeconds"),
        message="must be at least tradeTimeoutSeconds",
        cel="!has(self.shutdown) || self.shutdown.forceTimeoutSeconds >= self.shutdown.tradeTimeoutSeconds",
        holds=lambda spec: spec.shutdown.force_timeout_seconds >= spec.shutdown.trade_timeout_seconds,
    ),
    Rule(
        id="one-ledger",
        path="ledger",
        reads=("ledger",),
        message="name exactly one: sqlite: {} or urlFrom: {secretKeyRef: {name, key}}",
        cel="!has(self.ledger) || has(self.ledger.sqlite) != has(self.ledger.urlFrom)",
        holds=lambda spec: spec.ledger is None or (spec.ledger.sqlite is None) != (spec.ledger.url_from is None),
    ),
    Rule(
        id="live-names-its-ledger",
        path="ledger",
        reads=("mode", "cluster", "ledger"),
        message="mode Live outside localnet names its ledger: sqlite: {} or urlFrom: {secretKeyRef: {name, key}}",
        cel=f"self.mode != 'Live' || !{CEL_ELSEWHERE} || has(self.ledger)",
        holds=lambda spec: spec.mode != "Live" or not _elsewhere(spec) or spec.ledger is not None,
    ),
    Rule(
        id="several-pods-need-postgresql",
        path="ledger.urlFrom",
        reads=("replicas", "scaling.maxReplicas", "ledger"),
        message="more than one replica needs a ledger in PostgreSQL: set urlFrom: {secretKeyRef: {name, key}}, "
        "or replicas: 1 without maxReplicas",
        cel="(self.replicas <= 1 && (!has(self.scaling) || !has(self.scaling.maxReplicas) || "
        "self.scaling.maxReplicas <= 1)) || (has(self.ledger) && has(self.ledger.urlFrom))",
        holds=lambda spec: (
            (spec.replicas <= 1 and (spec.scaling.max_replicas or 1) <= 1)
            or (spec.ledger is not None and spec.ledger.url_from is not None)
        ),
    ),
)

ENDPOINT_RULES = (
    Rule(
        id="endpoint-one-url",
        path="url",
        reads=("url", "urlFrom"),
        message="state exactly one of url and urlFrom",
        cel="has(self.url) != has(self.urlFrom)",
        holds=lambda node: (node.url is None) != (node.url_from is None),
    ),
    Rule(
        id="endpoint-one-websocket-url",
        path="websocketUrl",
        reads=("websocketUrl", "websocketUrlFrom"),
        message="state at most one of websocketUrl and websocketUrlFrom",
        cel="!has(self.websocketUrl) || !has(self.websocketUrlFrom)",
        holds=lambda node: node.websocket_url is None or node.websocket_url_from is None,
    ),
)
ELEMENT_RULES = (("rpc.endpoints", Endpoint, ENDPOINT_RULES),)

UNIQUE = (
    ("rpc.endpoints", "name"),
    ("market.tokens", "mint"),
    ("market.feeds", "name"),
    ("strategies", "name"),
)
"""Lists and the field that identifies their elements (map lists in the schema)."""

TRANSITION_RULES = (
    TransitionRule(
        id="shards-are-immutable",
        path="scaling.shards",
        message="shards cannot be changed, since ownership is hashed by it: make a new bot",
        cel="self.scaling.shards == oldSelf.scaling.shards",
        holds=lambda old, new: old.scaling.shards == new.scaling.shards,
    ),
    TransitionRule(
        id="wallet-is-immutable",
        path="wallet.address",
        message="the wallet cannot be changed or removed once set: make a new bot",
        cel="!has(oldSelf.wallet) || !has(oldSelf.wallet.address) || (has(self.wallet) && has(self.wallet.address) && "
        "self.wallet.address == oldSelf.wallet.address)",
        holds=lambda old, new: old.wallet.address is None or new.wallet.address == old.wallet.address,
    ),
)
