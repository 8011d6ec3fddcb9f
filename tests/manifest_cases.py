"""Sound manifests, and for every rule of the spec one that breaks this rule alone."""

from __future__ import annotations

import copy
from typing import Any

BONK = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
REF = {"secretKeyRef": {"name": "s", "key": "k"}}
BASE = {
    "apiVersion": "tradingbot.dev/v1alpha1",
    "kind": "TradingBot",
    "metadata": {"name": "bot"},
    "spec": {
        "mode": "Live",
        "cluster": "localnet",
        "market": {"tokens": [{"mint": BONK, "symbol": "BONK"}]},
        "strategies": [{"name": "m", "type": "momentum_5m"}],
    },
}
DROP = object()


def bot(**changes: Any) -> dict[str, Any]:
    """Return the base manifest with changes; double underscores stand for dots, DROP removes."""
    data = copy.deepcopy(BASE)
    for place, value in changes.items():
        target: Any = data
        *steps, last = place.split("__")
        for step in steps:
            target = target.setdefault(step, {})
        if value is DROP:
            target.pop(last, None)
        else:
            target[last] = value
    return data


def elsewhere(**changes: Any) -> dict[str, Any]:
    """Return a sound Live bot on mainnet."""
    return bot(
        **{
            "spec__cluster": "mainnet-beta",
            "spec__wallet": {"secretRef": {"name": "w", "key": "id.json"}},
            "spec__rpc": {"endpoints": [{"name": "a", "url": "https://rpc.example"}]},
            "spec__ledger": {"sqlite": {}},
            **changes,
        }
    )


RULE_BREAKERS: dict[str, dict[str, Any]] = {
    "live-states-its-cluster": bot(spec__cluster=DROP),
    "localnet-settings-need-localnet": elsewhere(spec__localnet={"speed": 2}),
    "endpoints-elsewhere": elsewhere(spec__rpc={}),
    "no-endpoints-on-localnet": bot(spec__rpc={"endpoints": [{"name": "a", "url": "http://x"}]}),
    "no-swap-api-on-localnet": bot(spec__execution={"swap": {"baseUrl": "http://x"}}),
    "live-has-a-key": elsewhere(spec__wallet={}),
    "something-to-trade": bot(spec__market={"quote": "SOL"}),
    "a-strategy": bot(spec__strategies=[]),
    "allocations-fit": bot(
        spec__strategies=[
            {"name": n, "type": "momentum_5m", "allocationPercent": p} for n, p in (("a", 60), ("b", 40.5))
        ]
    ),
    "position-within-strategy": bot(spec__risk={"maxPositionPercent": 11}),
    "drawdown-warning-before-halt": bot(spec__risk={"drawdown": {"warningPercent": 5}}),
    "drawdown-halt-before-emergency": bot(spec__risk={"drawdown": {"emergencyPercent": 5}}),
    "daily-loss-warning-before-halt": bot(spec__risk={"dailyLoss": {"haltPercent": 2}}),
    "queue-warning-before-critical": bot(spec__queue={"warningThreshold": 0.95}),
    "market-cap-range": bot(spec__market__screen={"minMarketCapUsd": 5, "maxMarketCapUsd": 5}),
    "age-range": bot(spec__market__screen={"minAgeMinutes": 60, "maxAgeHours": 1}),
    "replicas-within-shards": bot(spec__replicas=3, spec__scaling={"shards": 2}, spec__ledger={"urlFrom": REF}),
    "autoscaling-range": bot(spec__scaling={"minReplicas": 4, "maxReplicas": 4}, spec__ledger={"urlFrom": REF}),
    "autoscaling-within-shards": bot(spec__scaling={"maxReplicas": 9, "shards": 8}, spec__ledger={"urlFrom": REF}),
    "force-after-trade-timeout": bot(spec__shutdown={"tradeTimeoutSeconds": 61}),
    "one-ledger": bot(spec__ledger={"sqlite": {}, "urlFrom": REF}),
    "live-names-its-ledger": elsewhere(spec__ledger=DROP),
    "several-pods-need-postgresql": bot(spec__replicas=2),
}
