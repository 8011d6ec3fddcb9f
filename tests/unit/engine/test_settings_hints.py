"""A settings file says numbers and switches as such; what cannot be meant is told with what would be right."""

import json
from pathlib import Path
from typing import Any

import pytest

from tradingbot_engine.errors import EngineError
from tradingbot_engine.settings import SettingsInvalid, load_settings
from tradingbot_engine.settings.schema import leaves
from tradingbot_engine.tracing import TRADE

KEY = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
GOOD: dict[str, Any] = {
    "bot": {"name": "first", "mode": "Paper"},
    "wallet": {"address": KEY},
    "rpc": {"endpoints": [{"name": "a", "url": "http://127.0.0.1:1/"}]},
    "market": {"tokens": [{"mint": KEY, "symbol": "BONK"}]},
    "strategies": [{"name": "m", "type": "momentum_5m"}],
    "ledger": {"sqlite_path": "ledger.db"},
}


def problems(tmp_path: Path, change: dict[str, Any]) -> list[str]:
    path = tmp_path / "engine.json"
    path.write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(path)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"queue": {"max_size": "12"}}, "queue.max_size: must be a whole number, without quotes (value '12')"),
        ({"queue": {"backpressure": "off"}}, "queue.backpressure: must be true or false, without quotes (value 'off')"),
        ({"queue": {"backpressure": 0}}, "queue.backpressure: must be true or false, without quotes (value 0)"),
        ({"queue": {"max_size": True}}, "queue.max_size: must be a whole number, without quotes (value True)"),
        ({"health": {"interval_s": "x"}}, "health.interval_s: must be a number, without quotes (value 'x')"),
    ],
)
def test_a_number_in_quotes_is_refused_once_and_not_guessed_at(tmp_path, change, line):
    """ "off" in quotes would switch a protection off."""
    assert problems(tmp_path, change) == [line]


def test_an_element_of_a_list_is_judged_like_any_other(tmp_path):
    endpoint = {"name": "a", "url": "http://127.0.0.1:1/", "priority": "1"}
    assert problems(tmp_path, {"rpc": {"endpoints": [endpoint]}}) == [
        "rpc.endpoints.0.priority: must be a whole number, without quotes (value '1')"
    ]


def test_the_environment_says_numbers_as_text(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADINGBOT_QUEUE__MAX_SIZE", "12")
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(GOOD))
    assert load_settings(path).queue.max_size == 12


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"queue": {"max_sise": 12}}, "queue.max_sise: no such setting (did you mean max_size?) (value 12)"),
        ({"qeueu": 1}, "qeueu: no such setting (did you mean queue?) (value 1)"),
        ({"queue": {"zzz": 12}}, "queue.zzz: no such setting (value 12)"),
    ],
)
def test_a_setting_that_does_not_exist_names_the_nearest_that_does(tmp_path, change, line):
    assert problems(tmp_path, change) == [line]


def test_every_number_and_switch_of_the_reference_is_judged(tmp_path):
    """None is left to a guess, wherever it stands."""
    checked = 0
    for leaf in leaves():
        if leaf.in_a_list or leaf.schema.get("type") not in ("integer", "number", "boolean"):
            continue
        group: dict[str, Any] = {}
        inner = group
        *steps, last = leaf.name.split(".")
        for step in steps[1:]:
            inner = inner.setdefault(step, {})
        inner[last] = "1"
        change = {steps[0]: {**GOOD.get(steps[0], {}), **group}}
        assert any(line.startswith(f"{leaf.name}: must be") for line in problems(tmp_path, change)), leaf.name
        checked += 1
    assert checked > 80


def test_an_error_says_its_trade_also_when_its_text_ends_in_a_bracket():
    """Only ids that stand there already are not said twice."""
    token = TRADE.set("0123456789abcdef" * 2)
    try:
        bracket = EngineError("wanted one of [a, b]")
        wrapped = EngineError(f"not sent: {EngineError('node away')}")
    finally:
        TRADE.reset(token)
    assert str(bracket).endswith("[a, b] [trade 0123456789ab]")
    assert str(wrapped) == "not sent: node away [trade 0123456789ab]"
