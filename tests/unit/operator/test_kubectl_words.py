"""`kubectl tradingbot why` and `status`: one sentence with its evidence, whatever the status holds or lacks."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tradingbot_operator.commands.kubectl.complete import answer
from tradingbot_operator.commands.kubectl.words import table, why
from tradingbot_operator.status.reasons import REASONS, Reason

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
BEFORE = "2026-01-01T11:55:00Z"


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": BEFORE}


READY = condition("Ready", "True", "AllReady")
TRADING = condition("Trading", "True", "Trading")


def bot(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    meta = {"name": "bonk", "namespace": "trading", "generation": 3, "creationTimestamp": "2026-01-01T09:00:00Z"}
    found = {"observedGeneration": 3, "conditions": list(conditions)} | status
    return {"metadata": meta, "spec": {"mode": "Live"}, "status": found}


def said(resource: dict[str, Any]) -> str:
    text = why(resource, now=NOW)
    assert "\n\n" not in text
    assert "None" not in text
    return text


def test_a_bot_that_trades_says_so_with_what_shows_it() -> None:
    """Its last trade and what is open."""
    resource = bot(READY, TRADING, lastTradeTime="2026-01-01T11:58:00Z", inFlightTrades=1, openPositions=2)
    assert said(resource) == "trading/bonk trades: last trade 2m ago, 1 in flight, 2 positions."
    assert said(bot(READY, TRADING)) == "trading/bonk trades: no trade yet, 0 in flight, 0 positions."


@pytest.mark.parametrize("reason", [r for r in REASONS if (r.condition, r.status) == ("Trading", "False")])
def test_every_reason_for_not_trading_is_told_with_its_age_and_what_to_do(reason: Reason) -> None:
    """The engine's own words are the evidence; what to do stands in the table of reasons."""
    text = said(bot(READY, condition("Trading", "False", reason.name, "node-2 is silent")))
    assert text.startswith(f"trading/bonk does not trade: {reason.name}, node-2 is silent (for 5m).")
    assert text.endswith(reason.todo or "(for 5m).")


@pytest.mark.parametrize("reason", [r for r in REASONS if (r.condition, r.status) == ("Degraded", "True")])
def test_what_is_degraded_comes_before_what_follows_from_it(reason: Reason) -> None:
    """Nobody is helped by "no engine runs" where a Secret is missing."""
    text = said(bot(condition("Trading", "False", "NoPod"), condition("Degraded", "True", reason.name, "details")))
    assert text.startswith(f"trading/bonk does not trade since it is degraded: {reason.name}, details (for 5m).")
    assert text.endswith(reason.todo)


def test_a_degraded_bot_that_still_trades_is_said_to_trade() -> None:
    """Running pods go on with the spec before."""
    assert said(bot(READY, TRADING, condition("Degraded", "True", "InvalidSpec", "x"))).startswith(
        "trading/bonk trades, and is degraded: InvalidSpec, x"
    )


def test_a_bot_that_nobody_looked_at_asks_for_the_operator() -> None:
    """The first thing that is missing in a new cluster."""
    resource = bot(condition("Ready", "Unknown", "Pending"))
    del resource["status"]["observedGeneration"]
    assert "no operator has looked at it" in said(resource)
    assert "no operator has looked at it" in said({"metadata": {"name": "a"}})


def test_a_verdict_on_an_older_spec_is_marked_as_such() -> None:
    """It may be about what was just put right."""
    text = said(bot(READY, TRADING, observedGeneration=2))
    assert text.startswith(
        "The operator has not seen the newest spec yet (generation 3, seen 2); before that: trading/bonk trades"
    )


def test_a_bot_that_goes_tells_what_it_waits_for() -> None:
    """With the way out, where there is one."""
    resource = bot(READY, condition("Drained", "False", "SettleFailed", "1 trade is open"))
    resource["metadata"]["deletionTimestamp"] = BEFORE
    assert said(resource).startswith(
        "trading/bonk does not trade since it is being deleted: SettleFailed, 1 trade is open (for 5m)."
    )


@pytest.mark.parametrize(
    "conditions", [[], None, "none", [None, 7, {}], [{"type": "Trading"}], [{"type": "Ready", "status": "True"}]]
)
def test_a_half_filled_status_is_no_stack_trace(conditions: Any) -> None:
    """Whatever stands there, a sentence comes out."""
    assert "bonk" in said(bot(**{"conditions": conditions}))


def test_the_table_has_a_line_for_each_bot() -> None:
    """Columns line up; what is not known is a dash."""
    bots = [
        bot(READY, TRADING, phase="Trading", replicas=1, readyReplicas=1),
        bot(condition("Trading", "False", "Paused")),
    ]
    bots[1]["metadata"]["name"] = "a-longer-name"
    lines = table(bots, now=NOW, namespaces=False).splitlines()
    assert len(lines) == 3
    assert len({line.index(word) for line, word in zip(lines, ("TRADING", "yes", "Paused"), strict=True)}) == 1
    assert lines[1].split() == ["bonk", "Live", "Trading", "1/1", "yes", "-", "-", "-", "-", "3h"]
    assert table(bots, now=NOW, namespaces=True).splitlines()[1].startswith("trading ")


def test_commands_and_options_are_completed_in_kubectls_way() -> None:
    """Proposals with their meaning after a tab, and last the directive that no file names are wanted."""
    lines = answer(["p"]).splitlines()
    assert [line.split("\t")[0] for line in lines] == ["pause", ":4"]
    assert {"--namespace", "--context", "--follow"} <= {
        line.split("\t")[0] for line in answer(["logs", "--"]).splitlines()
    }
    assert answer([]).splitlines()[-1] == ":4"
