"""Settings are checked all at once, and say what is wrong without telling a secret."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair

from tradingbot_engine.settings import EngineSettings, SettingsInvalid, load_settings

KEY = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"


def good() -> dict[str, Any]:
    return {
        "bot": {"name": "first", "mode": "Paper"},
        "wallet": {"address": KEY},
        "rpc": {"endpoints": [{"name": "a", "url": "http://127.0.0.1:1/?api-key=hunter2"}]},
        "market": {"tokens": [{"mint": KEY, "symbol": "BONK"}]},
        "strategies": [{"name": "m", "type": "momentum_5m"}],
        "ledger": {"sqlite_path": "ledger.db"},
    }


def load(tmp_path: Path, data: Any) -> EngineSettings:
    path = tmp_path / "engine.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return load_settings(path)


def test_a_small_file_is_enough(tmp_path):
    loaded = load(tmp_path, good())
    assert loaded.execution.max_slippage_bps == 100
    assert loaded.rpc.endpoints[0].url.get_secret_value().endswith("hunter2")


def test_every_problem_is_told_at_once_with_its_path(tmp_path):
    """A person mends the file in one go."""
    data = good()
    data["bot"]["name"] = "Not A Name"
    data["rpc"]["request_timeout_s"] = -1
    data["market"]["tokens"][0]["mint"] = "0OIl"
    data["risk"] = {"drawdown": {"warning_percent": 9, "halt_percent": 5}}
    data["surprise"] = 1
    with pytest.raises(SettingsInvalid) as caught:
        load(tmp_path, data)
    text = str(caught.value)
    for part in (
        "bot.name",
        "rpc.request_timeout_s",
        "market.tokens.0.mint",
        "risk.drawdown",
        "warning < halt < emergency",
        "surprise",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda d: d["strategies"].extend([{"name": "m", "type": "momentum_5m", "allocation_percent": 20}]),
            "names must differ",
        ),
        (lambda d: d["strategies"].append({"name": "n", "type": "x", "allocation_percent": 60}), "160 %"),
        (lambda d: d["bot"].update(mode="Live"), "key_file is needed"),
        (lambda d: d["ledger"].update(url="postgresql://h/db"), "exactly one of"),
        (lambda d: d["ledger"].clear(), "exactly one of"),
        (lambda d: d.update(risk={"max_position_percent": 50, "max_strategy_percent": 10}), "max_position_percent"),
        (lambda d: d.update(shutdown={"trade_timeout_s": 90}), "force_timeout_s"),
        (lambda d: d["market"]["tokens"].append({"mint": KEY}), "mints must differ"),
        (lambda d: d["rpc"]["endpoints"].append({"name": "a", "url": "http://b"}), "names must differ"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(tmp_path, change, says):
    data = good()
    change(data)
    with pytest.raises(SettingsInvalid) as caught:
        load(tmp_path, data)
    assert says in str(caught.value)


def test_a_refused_url_does_not_show_its_key(tmp_path):
    """URLs hold API keys; an error text ends up in logs and tickets."""
    data = good()
    data["rpc"]["endpoints"][0]["url"] = "ftp://host/?api-key=hunter2"
    data["execution"] = {"swap": {"api_key": ["hunter2"]}}
    data["ledger"] = {"url": "mysql://user:hunter2@host/db"}
    with pytest.raises(SettingsInvalid) as caught:
        load(tmp_path, data)
    assert "rpc.endpoints.0.url" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(EngineSettings(**good()))


def test_the_environment_wins_over_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADINGBOT_RPC__REQUEST_TIMEOUT_S", "7.5")
    assert load(tmp_path, good()).rpc.request_timeout_s == 7.5


def test_the_environment_names_elements_of_lists_by_number(tmp_path, monkeypatch):
    """A pod's addresses with keys in them come from Secrets, each into its node; a Secret made from a file ends with a newline."""
    data = good()
    data["rpc"]["endpoints"] = [
        {"name": "a", "url": "https://a.example", "priority": 3},
        {"name": "b", "requests_per_second": 7},
    ]
    monkeypatch.setenv("TRADINGBOT_RPC__ENDPOINTS__1__URL", "https://b.example/hunter2\n")
    monkeypatch.setenv("TRADINGBOT_RPC__ENDPOINTS__1__WEBSOCKET_URL", "wss://b.example/hunter2\n")
    first, second = load(tmp_path, data).rpc.endpoints
    assert (first.name, first.url.get_secret_value(), first.priority) == ("a", "https://a.example", 3)
    assert (second.name, second.url.get_secret_value()) == ("b", "https://b.example/hunter2")
    assert second.websocket_url is not None
    assert second.websocket_url.get_secret_value() == "wss://b.example/hunter2"
    assert second.requests_per_second == 7
    monkeypatch.setenv("TRADINGBOT_RPC__ENDPOINTS__3__URL", "https://d.example")
    with pytest.raises(SettingsInvalid, match=r"rpc\.endpoints\.2\.name"):
        load(tmp_path, data)
    monkeypatch.setenv("TRADINGBOT_RPC__ENDPOINTS__999999__URL", "https://d.example")
    with pytest.raises(SettingsInvalid, match=r"rpc\.endpoints"):
        load(tmp_path, data)


def test_a_wallet_whose_address_nobody_states_is_its_keys_own(tmp_path):
    """And a key that cannot be read is told with everything else that is wrong."""
    data, key, path = good(), Keypair(), tmp_path / "wallet"
    path.write_text(json.dumps(list(bytes(key))))
    data["wallet"] = {"key_file": str(path)}
    assert load(tmp_path, data).wallet.address == str(key.pubkey())
    path.write_text("hunter2")
    data["queue"] = {"max_size": 0}
    with pytest.raises(SettingsInvalid) as caught:
        load(tmp_path, data)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["wallet.key_file", "wallet.address", "queue.max_size"]
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "nonsense", "{", '"x"', "null", "\x00"])
def test_a_file_that_is_no_object_is_a_clear_error(tmp_path, text):
    with pytest.raises(SettingsInvalid) as caught:
        load(tmp_path, text)
    assert "engine.json" in str(caught.value)


def test_a_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        load_settings(tmp_path / "absent.json")


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
paths = st.sampled_from(
    [
        ("bot",),
        ("bot", "mode"),
        ("wallet", "address"),
        ("rpc", "endpoints"),
        ("market", "tokens"),
        ("strategies",),
        ("ledger",),
        ("risk",),
        ("execution",),
        ("queue",),
        ("extra",),
        ("admin",),
    ]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(paths, junk)
def test_junk_anywhere_is_refused_or_valid_but_never_a_traceback(tmp_path, path, value):
    """Only SettingsInvalid may come out, whatever stands in the file."""
    data = good()
    target: Any = data
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    try:
        loaded = load(tmp_path, json.dumps(data))
    except SettingsInvalid:
        return
    assert loaded.model_dump()
