"""The health script for Argo CD, run by Lua 5.1 with what Argo CD loads: base and table functions, nothing else."""

import itertools
from pathlib import Path
from typing import Any

import lupa.lua51 as lua
import pytest

from tradingbot_operator.status.reasons import REASONS, Reason

SCRIPT = (Path(__file__).parents[2] / "charts/tradingbot-operator/argo/health.lua").read_text()
NOT_LOADED = (
    "string",
    "math",
    "io",
    "os",
    "package",
    "require",
    "module",
    "dofile",
    "loadfile",
    "debug",
    "coroutine",
    "python",
)


def health(resource: dict[str, Any]) -> tuple[str, str]:
    """Return status and message that the script gives a resource."""
    runtime = lua.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    runtime.execute('getmetatable("").__index = nil')  # nor are they reached through a text
    for name in NOT_LOADED:
        runtime.globals()[name] = None
    runtime.globals()["obj"] = runtime.table_from(resource, recursive=True)
    found = dict(runtime.execute(SCRIPT).items())
    assert set(found) == {"status", "message"}
    assert isinstance(found["message"], str)
    assert found["message"]
    return found["status"], found["message"]


def bot(*conditions: dict[str, Any], generation: int = 2, observed: int | None = 2, **metadata: Any) -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": list(conditions)}
    if observed is not None:
        status["observedGeneration"] = observed
    return {"metadata": {"name": "a", "generation": generation, **metadata}, "spec": {}, "status": status}


def condition(kind: str, status: str, reason: str = "Because", message: str = "it is so") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 2}


READY = condition("Ready", "True", "PodsReady", "1 of 1 pods are ready")
TRADING = condition("Trading", "True", "Trading", "1 engine takes signals")


def test_a_bot_that_trades_is_healthy() -> None:
    """The only way to Healthy."""
    assert health(bot(READY, TRADING, condition("Degraded", "False"), condition("Progressing", "False"))) == (
        "Healthy",
        "Trading: 1 engine takes signals",
    )


def test_healthy_needs_every_one_of_its_reasons() -> None:
    """Each fact that is missing, unknown or false on its own keeps a bot from counting as healthy."""
    for ready, trading in itertools.product(("True", "False", "Unknown", None), repeat=2):
        facts = [condition(kind, s) for kind, s in (("Ready", ready), ("Trading", trading)) if s is not None]
        status, _ = health(bot(*facts))
        assert (status == "Healthy") == (ready == trading == "True"), (ready, trading)


SUSPENDED = {"Paused", "Halted", "ClosingOut"}
DEGRADED = {"LedgerBehindChain", "LedgerNotDurable", "WalletEmpty"}
PROGRESSING = {
    "NoPod", "Starting", "Resolving", "Draining", "StaleMarketData", "StaleEquity", "NoEndpoint", "ExitsFirst", "OneNodeOnly",
    "NoShards", "LedgerUnavailable", "LedgerInUse", "NotTrading",
}  # fmt: skip


def test_every_reason_for_not_trading_has_its_health() -> None:
    """What waits for a person is suspended, what never passes by itself degraded; all else a first sync goes through."""
    reasons = {reason.name for reason in REASONS if (reason.condition, reason.status) == ("Trading", "False")}
    assert reasons == SUSPENDED | DEGRADED | PROGRESSING  # a new reason asks for a decision
    wanted = (
        dict.fromkeys(SUSPENDED, "Suspended")
        | dict.fromkeys(DEGRADED, "Degraded")
        | dict.fromkeys(PROGRESSING, "Progressing")
    )
    for reason in reasons:
        assert health(bot(READY, condition("Trading", "False", reason, "why"))) == (wanted[reason], f"{reason}: why")


def test_what_keeps_an_engine_from_becoming_ready_is_not_hidden_by_that() -> None:
    """A ledger that is not durable is told as such, ready or not."""
    not_ready = condition("Ready", "False", "PodNotReady", "")
    assert health(bot(not_ready, condition("Trading", "False", "LedgerNotDurable", "x"))) == (
        "Degraded",
        "LedgerNotDurable: x",
    )
    assert health(bot(not_ready, condition("Trading", "False", "Paused", "x")))[0] == "Progressing"


@pytest.mark.parametrize(
    "reason", [reason for reason in REASONS if reason.condition == "Degraded" and reason.status == "True"]
)
def test_every_reason_of_degraded_is_degraded(reason: Reason) -> None:
    """With the operator's own words as the message."""
    assert health(bot(READY, TRADING, condition("Degraded", "True", reason.name, reason.todo))) == (
        "Degraded",
        f"{reason.name}: {reason.todo}",
    )


def test_degraded_wins_over_everything_that_could_hide_it() -> None:
    """A paused bot with a wrong spec is degraded, whatever the order of its conditions."""
    facts = [
        READY,
        condition("Trading", "False", "Paused"),
        condition("Degraded", "True", "InvalidSpec", "risk.capital"),
    ]
    for order in itertools.permutations(facts):
        assert health(bot(*order)) == ("Degraded", "InvalidSpec: risk.capital")


def test_a_spec_that_the_operator_has_not_seen_is_progressing() -> None:
    """Its conditions are about the spec before."""
    assert health(bot(READY, TRADING, generation=3)) == ("Progressing", "the operator has not seen the newest spec yet")
    assert health(bot(condition("Degraded", "True"), generation=3))[0] == "Progressing"


def test_a_bot_that_no_operator_looked_at_is_progressing() -> None:
    """The schema's own default, Ready=Unknown, stands in its status from the first moment."""
    unknown = {"type": "Ready", "status": "Unknown", "reason": "Pending", "message": ""}
    assert health(bot(unknown, observed=None))[0] == "Progressing"
    assert health(bot(READY, TRADING, observed=None))[0] == "Progressing"


def test_a_bot_that_is_being_deleted_says_what_it_waits_for() -> None:
    """Argo CD shows the drain while it prunes."""
    facts = (READY, TRADING, condition("Drained", "False", "IntentsOpen", "1 trade is open"))
    assert health(bot(*facts, deletionTimestamp="2026-01-01T00:00:00Z")) == (
        "Progressing",
        "IntentsOpen: 1 trade is open",
    )
    assert health(bot(READY, deletionTimestamp="2026-01-01T00:00:00Z"))[0] == "Progressing"


def test_a_rollout_is_progressing_while_the_old_pods_trade() -> None:
    """Ready, and a change under way."""
    assert health(bot(READY, TRADING, condition("Progressing", "True", "RollingOut", "0 of 1"))) == (
        "Progressing",
        "RollingOut: 0 of 1",
    )


@pytest.mark.parametrize(
    "resource",
    [
        {},
        {"metadata": {}},
        {"status": {}},
        {"metadata": {"generation": 1}, "status": {"observedGeneration": 1}},
        {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "conditions": []}},
        {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "conditions": "none"}},
        {"metadata": {"generation": 1}, "status": {"observedGeneration": "1", "conditions": [READY, TRADING]}},
        {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "conditions": ["Ready", {}, {"type": 7}]}},
        {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "conditions": [{"type": "Ready"}]}},
        {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}},
        {"metadata": "a", "status": "b", "spec": None},
    ],
)  # fmt: skip
def test_what_is_missing_or_half_filled_is_progressing_and_never_an_error(resource: dict[str, Any]) -> None:
    """An error in the script shows as Unknown health on every bot at once."""
    assert health(resource)[0] == "Progressing"


@pytest.mark.parametrize("field", ["reason", "message", "observedGeneration"])
def test_a_condition_without_words_still_has_a_verdict(field: str) -> None:
    """Only type and status decide, and the reason where a bot does not trade."""
    without = [{name: value for name, value in fact.items() if name != field} for fact in (READY, TRADING)]
    assert health(bot(*without))[0] == "Healthy"
    degraded = {"type": "Degraded", "status": "True", "message": 7, "reason": False}
    assert health(bot(READY, degraded)) == ("Degraded", "see its conditions")


def test_a_resource_without_a_generation_is_judged_by_its_conditions() -> None:
    """Some tools strip it."""
    resource = bot(READY, TRADING)
    del resource["metadata"]["generation"]
    assert health(resource)[0] == "Healthy"
