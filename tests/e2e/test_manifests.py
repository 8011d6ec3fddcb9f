"""Manifests that are wrong: what the API server says at once, and what becomes a condition."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from e2e.bot import Bot, manifest
from e2e.kube import Json, Kube, Refused
from e2e.story import Story

BONK = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"


def strategy(name: str, percent: int) -> Json:
    return {"name": name, "type": "momentum_5m", "allocationPercent": percent}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a field that does not exist": ({"pawsed": True}, "unknown field"),
    "Live without a cluster": ({"cluster": None, "localnet": None}, "cluster"),
    "no token and no screen": ({"market": {"quote": "SOL"}}, "token"),
    "a mint that is none": ({"market": {"tokens": [{"mint": "not-base58-0OIl", "symbol": "X"}]}}, "mint"),
    "a mint twice": (
        {"market": {"tokens": [{"mint": BONK, "symbol": "A"}, {"mint": BONK, "symbol": "B"}]}},
        "Duplicate",
    ),
    "a strategy twice": ({"strategies": [strategy("a", 10), strategy("a", 10)]}, "Duplicate"),
    "more than all of the capital": ({"strategies": [strategy("a", 60), strategy("b", 60)]}, "100"),
    "halt before warning": ({"risk": {"drawdown": {"warningPercent": 9, "haltPercent": 5}}}, "drawdown"),
    "several replicas on SQLite": ({"replicas": 3}, "urlFrom"),
    "force before the trades' time": (
        {"shutdown": {"tradeTimeoutSeconds": 60, "forceTimeoutSeconds": 30}},
        "forceTimeout",
    ),
    "an unknown mode": ({"mode": "Dream"}, "Paper"),
}


def test_wrong_manifests_are_refused_with_what_would_be_right(place: Kube, story: Story) -> None:
    """kubectl apply says so itself; nothing is stored."""
    for what, (spec, hint) in WRONG.items():
        story.breaks(what)
        with pytest.raises(Refused, match=r"(?s)unknown field|is invalid|is forbidden|Invalid value") as refused:
            place.run("apply", "-f", "-", text_in=yaml.safe_dump(manifest("wrong", **spec)))
        assert hint.lower() in str(refused.value).lower(), f"{what}: {refused.value}"
    assert not place.items("tradingbots")


def test_a_manifest_that_only_the_operator_can_judge_touches_nothing_that_runs(trading: Bot, story: Story) -> None:
    """An unknown strategy becomes a condition with what to do; the pod goes on, and the way back is the manifest."""
    pod, good = trading.pod(), trading.body()["spec"]["strategies"]
    story.breaks("a strategy that no engine knows, written to a bot that trades")
    trading.patch(strategies=[{"name": "none", "type": "no_such_strategy"}])
    message = trading.wait_condition("Degraded", "True", "InvalidSpec")
    story.says(message)
    assert "no_such_strategy" in message
    assert trading.body()["status"]["phase"] == "Invalid"
    trading.wait_fills(trading.fills())
    assert trading.pod()["metadata"]["uid"] == pod["metadata"]["uid"]
    trading.patch(strategies=good)
    trading.wait_trading()
    assert trading.pod()["metadata"]["uid"] == pod["metadata"]["uid"], "a manifest put back as it was rolls nothing"
