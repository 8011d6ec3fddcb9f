"""The live numbers of a bot: what its engines count, summed up; written now and then, if they changed."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tradingbot_operator.observed import Observed

LIVE = ("queueUtilizationPercent", "inFlightTrades", "openPositions", "lastTradeTime")
FROM_ENGINES = (*LIVE, "drawdownTier", "shards")
TIERS = ("normal", "warning", "halt", "emergency")


def numbers(observed: Observed, *, selector: str) -> dict[str, Any]:
    """Return the status' fields beside phase, conditions and risk; what no engine said is left out."""
    statuses = [observed.said[pod.uid].status for pod in observed.engines if pod.uid in observed.said]
    out: dict[str, Any] = {
        "replicas": len([pod for pod in observed.engines if not pod.deleting]),
        "readyReplicas": len([pod for pod in observed.engines if pod.ready and not pod.deleting]),
        "selector": selector,
        "botId": next((s["botId"] for s in statuses if isinstance(s.get("botId"), str)), observed.status.get("botId")),
    }
    if tier := _worst_tier(statuses):
        out["drawdownTier"] = tier
    shards = [s["shards"] for s in statuses if isinstance(s.get("shards"), list)]
    if shards:
        out["shards"] = {"total": 1, "owned": len({x.get("shard") for x in shards[0] if isinstance(x, Mapping)})}
    out |= _live(statuses)
    if observed.unasked:
        out = {name: observed.status[name] for name in FROM_ENGINES if name in observed.status} | out
    return {name: value for name, value in out.items() if value is not None}


def _live(statuses: list[Mapping[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    queues = list(_numbers(statuses, "queueUtilization"))
    if queues:
        out["queueUtilizationPercent"] = round(100 * min(1.0, max(0.0, sum(queues) / len(queues))))
    if in_flight := list(_numbers(statuses, "inFlight")):
        out["inFlightTrades"] = int(sum(in_flight))
    tokens = [s["tokens"] for s in statuses if isinstance(s.get("tokens"), list)]
    if tokens:
        out["openPositions"] = len(
            {t.get("mint") for page in tokens for t in page if isinstance(t, Mapping) and t.get("position")}
        )
    times = [fill.get("atMs") for s in statuses for fill in s.get("fills") or () if isinstance(fill, Mapping)]
    newest = max((at for at in times if isinstance(at, int)), default=None)
    if newest is not None and 0 < newest < 10**14:
        out["lastTradeTime"] = datetime.fromtimestamp(newest // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return out


def _numbers(statuses: Iterable[Mapping[str, Any]], name: str) -> Iterable[float]:
    return (s[name] for s in statuses if isinstance(s.get(name), int | float) and not isinstance(s.get(name), bool))


def _worst_tier(statuses: Iterable[Mapping[str, Any]]) -> str | None:
    said = [str(s.get("tier")).lower() for s in statuses if s.get("tier") is not None]
    return max((tier for tier in said if tier in TIERS), key=TIERS.index, default=None)
