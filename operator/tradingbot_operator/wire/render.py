"""A manifest as the engine's settings: pure, so that every field's way to the engine can be seen and tested."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tradingbot_operator.crd.v1alpha1 import TradingBot, TradingBotSpec, effective_cluster, effective_risk
from tradingbot_operator.crd.v1alpha1.tradingbot import ObjectMeta
from tradingbot_operator.manifest.engine_settings import put_settings
from tradingbot_operator.wire.chain import Chain, Node

BASE_UNITS = {"SOL": 10**9, "USDC": 10**6}
ENGINE_SHARDS = 1
"""One engine owns all tokens until members share them."""
WATCHED_ONLY = "11111111111111111111111111111111"
"""Address of a paper bot without a wallet: the system program, which no key can sign for."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """
    Where an engine finds and leaves its things, on a laptop or in a pod.

    Attributes:
        sqlite: File of the ledger; None with PostgreSQL.
        wallet_key: File with the wallet's key; None on paper without a wallet.
        admin_token: File with the token of the admin port.
        admin_host: Interface of the admin port.
        admin_port: Number of the admin port; 0 takes a free one.
        admin_port_file: Where its number is written; None where it is known.
        last_status_file: Where a drained engine leaves its last status document; None where nobody reads it.
    """

    sqlite: str | None
    wallet_key: str | None
    admin_token: str
    admin_host: str = "127.0.0.1"
    admin_port: int = 0
    admin_port_file: str | None = None
    last_status_file: str | None = None


@dataclass(frozen=True)
class Resolved:
    """What the manifest only names: addresses and keys, taken from Secrets or from localnet; None: the environment tells."""

    chain: Chain
    wallet_address: str | None
    ledger_url: str | None = None
    swap_api_key: str | None = None


def render(bot: TradingBot, *, places: Places, resolved: Resolved, cluster_id: str, generation: int) -> dict[str, Any]:
    """
    Return the engine's settings, ready to be written as JSON; they hold secrets.

    Args:
        bot: A sound manifest.
        places: Files of this machine.
        resolved: Addresses and keys that the manifest names.
        cluster_id: Where the engine runs; a ledger that another place holds is refused.
        generation: Of what may change while it runs; the newest wins.
    """
    spec, chain = bot.spec, resolved.chain
    settings: dict[str, Any] = {
        "bot": {
            "name": bot.metadata.name,
            "namespace": bot.metadata.namespace,
            "mode": spec.mode,
            "cluster": effective_cluster(spec),
            "cluster_id": cluster_id,
            "generation": generation,
            "paused": spec.paused,
            "shards": ENGINE_SHARDS,
            "genesis_hash": chain.genesis_hash,
        },
        "wallet": {"address": resolved.wallet_address, "key_file": places.wallet_key},
        "rpc": {
            "endpoints": [_node(node) for node in chain.nodes],
            "request_timeout_s": spec.rpc.timeout_milliseconds / 1000,
            "max_in_flight": spec.rpc.max_in_flight,
            **_node_care(spec),
        },
        "market": _market(spec, chain),
        "screen": _screen(spec),
        "strategies": strategies(spec),
        "risk": risk(spec),
        "execution": _execution(spec, resolved),
        "ledger": _ledger(places, resolved),
        "queue": {
            "max_size": spec.queue.max_size,
            "deadline_ms": spec.queue.deadline_milliseconds,
            "warning_threshold": spec.queue.warning_threshold,
            "critical_threshold": spec.queue.critical_threshold,
        },
        "shutdown": {
            "trade_timeout_s": spec.shutdown.trade_timeout_seconds,
            "force_timeout_s": spec.shutdown.force_timeout_seconds,
        },
        "admin": {
            "host": places.admin_host,
            "port": places.admin_port,
            "port_file": places.admin_port_file,
            "token_file": places.admin_token,
        },
        "logging": {"level": spec.logging.level, "json_lines": spec.logging.json_lines},
    }
    if (
        places.last_status_file is not None
    ):  # a pod's settings stay as they were: a new word in them rolls out every bot
        settings["admin"]["last_status_file"] = places.last_status_file
    put_settings(settings, spec.engine.settings)
    return settings


def preview(spec: TradingBotSpec) -> dict[str, Any]:
    """Return what a spec becomes, as far as it says it itself: without files, addresses and keys."""
    bot = TradingBot.model_construct(
        api_version="tradingbot.dev/v1alpha1", kind="TradingBot", metadata=ObjectMeta(name="preview"), spec=spec
    )
    nowhere = Places(sqlite=None, wallet_key=None, admin_token="")
    resolved = Resolved(chain=Chain(nodes=()), wallet_address="")
    return render(bot, places=nowhere, resolved=resolved, cluster_id="", generation=0)


def risk(spec: TradingBotSpec) -> dict[str, Any]:
    """Return the risk numbers in force, in the engine's shape; capital in base units of the quote."""
    numbers = effective_risk(spec)
    return {
        "profile": spec.risk.profile,
        "capital": base_units(spec.risk.capital, spec.market.quote),
        "max_position_percent": numbers.max_position_percent,
        "max_strategy_percent": numbers.max_strategy_percent,
        "drawdown": {
            "warning_percent": numbers.drawdown_warning_percent,
            "halt_percent": numbers.drawdown_halt_percent,
            "emergency_percent": numbers.drawdown_emergency_percent,
        },
        "daily_loss": {
            "warning_percent": numbers.daily_loss_warning_percent,
            "halt_percent": numbers.daily_loss_halt_percent,
        },
    }


def base_units(amount: float | None, quote: str) -> int | None:
    """Return an amount of SOL or USDC in lamports or millionths, at least one; None stays None."""
    if amount is None:
        return None
    return max(1, int((Decimal(str(amount)) * BASE_UNITS[quote]).to_integral_value()))


def strategies(spec: TradingBotSpec) -> list[dict[str, Any]]:
    """
    Return the strategies; those without an allocation share equally what the others leave.

    risk.maxStrategyPercent is not applied here: the engine holds to it in any case, and it may change while the engine runs.
    """
    stated = sum(s.allocation_percent or 0.0 for s in spec.strategies)
    silent = sum(s.allocation_percent is None for s in spec.strategies)
    share = (100.0 - stated) / silent if silent else 0.0
    return [
        {
            "name": s.name,
            "type": s.type,
            "allocation_percent": share if s.allocation_percent is None else s.allocation_percent,
            "parameters": dict(s.parameters),
        }
        for s in spec.strategies
    ]


def _node(node: Node) -> dict[str, Any]:
    """Return a node as the engine reads it, without an address that only the environment tells."""
    return {name: value for name, value in vars(node).items() if value not in (None, "")}


def _ledger(places: Places, resolved: Resolved) -> dict[str, Any]:
    if resolved.ledger_url:
        return {"url": resolved.ledger_url}
    return {"sqlite_path": places.sqlite} if places.sqlite else {}


def _node_care(spec: TradingBotSpec) -> dict[str, Any]:
    """Return how nodes are hedged, left alone and looked at."""
    hedging, breaker, health = spec.rpc.hedging, spec.rpc.breaker, spec.rpc.health
    return {
        "hedging": {
            "enabled": hedging.enabled,
            "delay_ms": hedging.delay_milliseconds,
            "max_extra": hedging.max_extra,
        },
        "breaker": {
            "failure_threshold": breaker.failure_threshold,
            "cooldown_s": breaker.cooldown_seconds,
            "half_open_probes": breaker.half_open_probes,
        },
        "health": {"interval_s": health.interval_seconds, "jitter_s": health.jitter_seconds},
    }


def _screen(spec: TradingBotSpec) -> dict[str, Any]:
    """Return the screen's limits; both sides use the same names, and an absent one passes."""
    return {} if spec.market.screen is None else spec.market.screen.model_dump()


def _market(spec: TradingBotSpec, chain: Chain) -> dict[str, Any]:
    return {
        "quote": spec.market.quote,
        "tokens": [{"mint": t.mint, "symbol": t.symbol or t.mint[:4]} for t in spec.market.tokens],
        "max_staleness_ms": spec.market.max_staleness_milliseconds,
        "event_time": chain.event_time,
        "clock_url": chain.clock_url,
        "history_url": chain.history_url,
        "price_url": chain.price_url,
    }


def _execution(spec: TradingBotSpec, resolved: Resolved) -> dict[str, Any]:
    execution = spec.execution
    swap: dict[str, Any] = {"version": execution.swap.version}
    address = resolved.chain.swap_url or execution.swap.base_url
    if address:
        swap["base_url"] = address
    if resolved.swap_api_key:
        swap["api_key"] = resolved.swap_api_key
    return {
        "swap": swap,
        "mark": execution.mark,
        "max_slippage_bps": effective_risk(spec).max_slippage_bps,
        "priority_fee": {
            "level": execution.priority_fee.level,
            "max_lamports": execution.priority_fee.max_lamports,
        },
        "commitment": execution.commitment,
        "expiry_proof": {
            "providers": execution.expiry_proof.providers,
            "above_lamports": execution.expiry_proof.above_lamports,
        },
    }
