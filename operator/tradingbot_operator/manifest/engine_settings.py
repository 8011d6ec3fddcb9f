"""
`spec.engine.settings`: what the engine can be told and the manifest has no field for, by the engine's own dotted names.

A setting that has a field of the manifest is refused here, so that nobody has to ask which of two values holds.
"""

from collections.abc import Callable, Iterator
from typing import Any

from tradingbot_operator.crd.v1alpha1.spec import TradingBotSpec
from tradingbot_operator.manifest.problem import Path, Problem, shown
from tradingbot_operator.settings_schema import MISSING, SettingsSchema

HERE: Path = ("spec", "engine", "settings")
OPERATOR = "the operator sets it"

FIELDS = {
    "bot.name": "metadata.name",
    "bot.namespace": "metadata.namespace",
    "bot.mode": "spec.mode",
    "bot.cluster": "spec.cluster",
    "bot.cluster_id": OPERATOR,
    "bot.generation": OPERATOR,
    "bot.genesis_hash": OPERATOR,
    "bot.paused": "spec.paused",
    "bot.shards": "spec.scaling.shards",
    "wallet.address": "spec.wallet.address",
    "wallet.key_file": "spec.wallet.secretRef",
    "rpc.endpoints": "spec.rpc.endpoints",
    "rpc.request_timeout_s": "spec.rpc.timeoutMilliseconds",
    "rpc.max_in_flight": "spec.rpc.maxInFlight",
    "rpc.hedging.enabled": "spec.rpc.hedging.enabled",
    "rpc.hedging.delay_ms": "spec.rpc.hedging.delayMilliseconds",
    "rpc.hedging.max_extra": "spec.rpc.hedging.maxExtra",
    "rpc.breaker.failure_threshold": "spec.rpc.breaker.failureThreshold",
    "rpc.breaker.cooldown_s": "spec.rpc.breaker.cooldownSeconds",
    "rpc.breaker.half_open_probes": "spec.rpc.breaker.halfOpenProbes",
    "rpc.health.interval_s": "spec.rpc.health.intervalSeconds",
    "rpc.health.jitter_s": "spec.rpc.health.jitterSeconds",
    "market.quote": "spec.market.quote",
    "market.tokens": "spec.market.tokens",
    "market.max_staleness_ms": "spec.market.maxStalenessMilliseconds",
    "market.event_time": OPERATOR,
    "market.clock_url": OPERATOR,
    "market.history_url": OPERATOR,
    "market.price_url": OPERATOR,
    "screen.min_edge_score": "spec.market.screen.minEdgeScore",
    "screen.min_liquidity_usd": "spec.market.screen.minLiquidityUsd",
    "screen.max_holder_concentration": "spec.market.screen.maxHolderConcentration",
    "screen.min_market_cap_usd": "spec.market.screen.minMarketCapUsd",
    "screen.max_market_cap_usd": "spec.market.screen.maxMarketCapUsd",
    "screen.min_age_minutes": "spec.market.screen.minAgeMinutes",
    "screen.max_age_hours": "spec.market.screen.maxAgeHours",
    "strategies": "spec.strategies",
    "risk.profile": "spec.risk.profile",
    "risk.capital": "spec.risk.capital",
    "risk.max_position_percent": "spec.risk.maxPositionPercent",
    "risk.max_strategy_percent": "spec.risk.maxStrategyPercent",
    "risk.drawdown.warning_percent": "spec.risk.drawdown.warningPercent",
    "risk.drawdown.halt_percent": "spec.risk.drawdown.haltPercent",
    "risk.drawdown.emergency_percent": "spec.risk.drawdown.emergencyPercent",
    "risk.daily_loss.warning_percent": "spec.risk.dailyLoss.warningPercent",
    "risk.daily_loss.halt_percent": "spec.risk.dailyLoss.haltPercent",
    "execution.swap.base_url": "spec.execution.swap.baseUrl",
    "execution.swap.version": "spec.execution.swap.version",
    "execution.swap.api_key": "spec.execution.swap.apiKeyFrom",
    "execution.mark": "spec.execution.mark",
    "execution.max_slippage_bps": "spec.execution.maxSlippageBps",
    "execution.priority_fee.level": "spec.execution.priorityFee.level",
    "execution.priority_fee.max_lamports": "spec.execution.priorityFee.maxLamports",
    "execution.commitment": "spec.execution.commitment",
    "execution.expiry_proof.providers": "spec.execution.expiryProof.providers",
    "execution.expiry_proof.above_lamports": "spec.execution.expiryProof.aboveLamports",
    "ledger.sqlite_path": "spec.ledger.sqlite",
    "ledger.url": "spec.ledger.urlFrom",
    "queue.max_size": "spec.queue.maxSize",
    "queue.deadline_ms": "spec.queue.deadlineMilliseconds",
    "queue.warning_threshold": "spec.queue.warningThreshold",
    "queue.critical_threshold": "spec.queue.criticalThreshold",
    "shutdown.trade_timeout_s": "spec.shutdown.tradeTimeoutSeconds",
    "shutdown.force_timeout_s": "spec.shutdown.forceTimeoutSeconds",
    "admin.host": OPERATOR,
    "admin.port": OPERATOR,
    "admin.port_file": OPERATOR,
    "admin.last_status_file": OPERATOR,
    "admin.token_file": OPERATOR,
    "logging.level": "spec.logging.level",
    "logging.json_lines": "spec.logging.json",
}
"""Settings that rendering fills from a field of the manifest, or that are the operator's own."""


def setting_problems(
    stated: Any, schema: SettingsSchema, did_you_mean: Callable[[str, list[str]], str]
) -> Iterator[Problem]:
    """Yield what is wrong with the entries of spec.engine.settings, each by itself."""
    free = [name for name in schema.settings if _field_of(name) is None]
    for name, value in (stated if isinstance(stated, dict) else {}).items():
        if not isinstance(name, str) or isinstance(value, dict | list) or value is None:
            continue  # the resource's own models tell
        path, setting, field = (*HERE, name), schema.settings.get(name), _field_of(name)
        if field is not None:
            instead = "and cannot be set here" if field == OPERATOR else f"through {field}: state it there"
            subject = OPERATOR if field == OPERATOR else "the manifest sets it"
            yield Problem(path, f"{subject} {instead}")
        elif setting is None:
            yield Problem(
                path, f"the engine has no such setting{_hint(name, free, did_you_mean)}: docs/settings.md lists them"
            )
        elif setting.secret:
            yield Problem(path, "is a secret and has no place in a manifest: remove it")
        elif (fault := setting.fault(value)) is not None:
            yield Problem(path, fault, shown(value, ()))


def conflict_problems(
    spec: TradingBotSpec, rendered: dict[str, Any], schema: SettingsSchema, sound: set[str]
) -> Iterator[Problem]:
    """
    Yield what is wrong between settings, as the engine's own rules say.

    Args:
        spec: The desired state, or its sound part.
        rendered: What it becomes, with the engine's settings put in.
        schema: What the engine offers.
        sound: Names of the stated settings that have no problem of their own.
    """

    def value_of(name: str) -> Any:
        value: Any = rendered
        for step in name.split("."):
            value = value.get(step, MISSING) if isinstance(value, dict) else MISSING
        if value is MISSING:
            setting = schema.settings.get(name)
            return MISSING if setting is None else setting.schema.get("default")
        return value

    for name, message in schema.broken_rules(value_of, sound):
        yield Problem((*HERE, name), message, shown(spec.engine.settings[name], ()))


def put_settings(rendered: dict[str, Any], stated: dict[str, Any]) -> None:
    """Put stated settings into rendered ones, by their dotted names."""
    for name, value in stated.items():
        *groups, last = name.split(".")
        target = rendered
        for group in groups:
            target = target.setdefault(group, {})
        target[last] = value


def _field_of(name: str) -> str | None:
    """Return the manifest's field for a setting, or for the list or group that it is in."""
    steps = name.split(".")
    return next((FIELDS[".".join(steps[:n])] for n in range(len(steps), 0, -1) if ".".join(steps[:n]) in FIELDS), None)


def _hint(name: str, free: list[str], did_you_mean: Callable[[str, list[str]], str]) -> str:
    """Suggest a name; people also write the environment's form, the manifest's form or the last part alone."""
    dotted = name.removeprefix("TRADINGBOT_").replace("__", ".").lower()
    by_end = [known for known in free if known.rpartition(".")[2] == dotted.rpartition(".")[2]]
    if dotted in free or by_end:
        return f" (did you mean {dotted if dotted in free else by_end[0]}?)"
    return did_you_mean(name, free)
