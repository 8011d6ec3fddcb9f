"""The settings as a whole: every one bounded and documented, the old names all accounted for, protections told when off."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tradingbot_engine.commands.config import config
from tradingbot_engine.commands.run import run
from tradingbot_engine.settings import EngineSettings, SettingsInvalid, load_settings, switched_off
from tradingbot_engine.settings.protections import PROTECTIONS
from tradingbot_engine.settings.rules import RULES
from tradingbot_engine.settings.schema import leaves, settings_schema
from tradingbot_engine.settings.urls import url_problem

KEY = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"

SEED = re.findall(
    r"\w+",
    """
HELIUS_RPC_URL CHAINSTACK_RPC_URL PUBLIC_RPC_URL
RPC_DEFAULT_RPS_LIMIT RPC_DEFAULT_CONCURRENCY_LIMIT RPC_DEFAULT_TIMEOUT_MS RPC_RATE_WINDOW_MS RPC_MAX_IN_FLIGHT_GLOBAL
RPC_QUEUE_MAX_SIZE RPC_QUEUE_DEADLINE_MS RPC_QUEUE_REJECT_FAST_MS
RPC_BREAKER_ENABLED RPC_BREAKER_FAILURE_THRESHOLD RPC_BREAKER_COOLDOWN_MS RPC_BREAKER_HALF_OPEN_PROBES
RPC_HEDGING_ENABLED RPC_HEDGING_DELAY_MS RPC_HEDGING_MAX_EXTRA RPC_ABORT_HEDGE_ON_PRIMARY_SUCCESS
RPC_HEALTH_INTERVAL_MS RPC_HEALTH_JITTER_MS RPC_HEALTH_PROBE_TIMEOUT_MS RPC_HEALTH_PROBE_RPS_LIMIT
RPC_KEEP_ALIVE_ENABLED RPC_KEEP_ALIVE_SOCKETS RPC_KEEP_ALIVE_TIMEOUT_MS
ENABLE_IDEMPOTENCY_PROTECTION ENABLE_EVENT_ORDERING ENABLE_BACKPRESSURE_MANAGEMENT
MAX_DUPLICATE_CACHE_SIZE EVENT_ORDERING_WINDOW_MS BACKPRESSURE_THRESHOLD_PERCENT
MIN_EDGE_SCORE MIN_LIQUIDITY_USD MAX_HOLDER_CONCENTRATION MIN_MARKET_CAP_USD MAX_MARKET_CAP_USD
MIN_TOKEN_AGE_MINUTES MAX_TOKEN_AGE_HOURS
LOG_LEVEL LOG_JSON TRACE_REQUEST_IDS RPC_ERROR_STACKS
ENABLE_GRACEFUL_SHUTDOWN SHUTDOWN_TIMEOUT_MS HEALTH_CHECK_ENABLED HEALTH_CHECK_INTERVAL_MS
""",
)
"""Every variable of the template in the Thorp documents."""

NOT_PROTECTIONS = {
    "bot.adopt", "bot.paused", "logging.json_lines", "logging.trace_requests", "logging.error_stacks",
    "rpc.keep_alive.enabled", "rpc.single_flight", "rpc.hedging.abort_on_primary_success",
}  # fmt: skip
"""Switches that guard nothing: speed, form, or state."""


def good() -> dict[str, Any]:
    return {
        "bot": {"name": "first", "mode": "Paper"},
        "wallet": {"address": KEY},
        "rpc": {"endpoints": [{"name": "a", "url": "http://127.0.0.1:1/"}]},
        "market": {"tokens": [{"mint": KEY}]},
        "strategies": [{"name": "m", "type": "momentum_5m"}],
        "ledger": {"sqlite_path": "ledger.db"},
    }


def put(data: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Set a value by its dotted name; `[]` is the first element."""
    *steps, last = name.replace("[]", ".0").split(".")
    target: Any = data
    for step in steps:
        target = target[int(step)] if isinstance(target, list) else target.setdefault(step, {})
    target[last] = value
    return data


def lines_of(tmp_path: Path, data: Any) -> list[str]:
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(data))
    try:
        load_settings(path)
    except SettingsInvalid as error:
        return str(error).splitlines()
    return []


def test_every_old_name_has_exactly_one_counterpart():
    """Nothing of the template is lost, and nothing is configured twice."""
    named = [name for leaf in leaves() for name in leaf.seed]
    assert sorted(named) == sorted(SEED)
    text = (Path(__file__).parents[3] / "docs" / "settings.md").read_text()
    rows = [line.rsplit("|", 2)[1] for line in text.splitlines() if line.startswith("| `")]
    for name in SEED:
        assert sum(name in re.split(r"[ ,]+", row) for row in rows) == 1, name


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.name)
def test_every_setting_is_documented_and_bounded(leaf):
    """A number without an end, or a text without a limit, is a setting that nobody has thought through."""
    assert leaf.meaning, "a docstring is missing"
    kind = leaf.schema.get("type")
    if kind in ("integer", "number"):
        assert {"minimum", "exclusiveMinimum"} & set(leaf.schema)
        assert {"maximum", "exclusiveMaximum"} & set(leaf.schema)
    if kind == "string" and not leaf.secret and leaf.schema.get("format") != "path":
        assert {"enum", "pattern", "maxLength"} & set(leaf.schema)


@pytest.mark.parametrize(
    "leaf", [leaf for leaf in leaves() if leaf.schema.get("type") in ("integer", "number")], ids=lambda leaf: leaf.name
)
def test_every_number_refuses_what_is_out_of_range_or_no_number(tmp_path, leaf):
    """The line names the field, the value and the bound that would be right; nothing is rounded, cut or taken for another."""
    data = good()
    if leaf.name.startswith("market.event_time"):
        data["market"]["event_time"] = {"origin_slot": 1, "origin_ms": 1, "ms_per_slot": 1}
    low = leaf.schema.get("minimum", leaf.schema.get("exclusiveMinimum"))
    high = leaf.schema.get("maximum", leaf.schema.get("exclusiveMaximum"))
    name = leaf.name.replace("[]", ".0")
    for wrong, right in ((low - 1, low), (high * 2 + 1, high)):
        (line,) = (
            x
            for x in lines_of(tmp_path, put(json.loads(json.dumps(data)), leaf.name, wrong))
            if x.startswith(f"{name}: ")
        )
        said = {float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", line.removeprefix(name))}
        assert {float(wrong), float(right)} <= said, line
    for wrong in ("many", True, [], {}, "", 10**400, float("nan"), float("inf"), -float("inf")):
        lines = lines_of(tmp_path, put(json.loads(json.dumps(data)), leaf.name, wrong))
        assert any(line.startswith(f"{name}: ") for line in lines), (wrong, lines)


BROKEN: dict[str, dict[str, Any]] = {
    "strategies: names must differ": {
        "strategies": [{"name": "m", "type": "momentum_5m", "allocation_percent": 20}] * 2
    },
    "strategies: allocations sum to 160 %": {
        "strategies": [{"name": n, "type": "momentum_5m", "allocation_percent": 80} for n in "ab"]
    },
    "wallet.key_file: key_file is needed in mode Live": {"bot.mode": "Live"},
    "risk.max_position_percent: 50 must be at most risk.max_strategy_percent, which is 10": {
        "risk.max_position_percent": 50, "risk.max_strategy_percent": 10,
    },
    "shutdown.trade_timeout_s: 61 must be at most shutdown.force_timeout_s, which is 60": {"shutdown.trade_timeout_s": 61},
    "queue.warning_threshold: 0.9 must be below queue.critical_threshold, which is 0.9": {
        "queue.warning_threshold": 0.9, "queue.critical_threshold": 0.9,
    },
    "screen.min_market_cap_usd: 6 must be below screen.max_market_cap_usd, which is 5": {
        "screen.min_market_cap_usd": 6, "screen.max_market_cap_usd": 5,
    },
    "screen.min_age_minutes: 60 must be below screen.max_age_hours × 60, which is 60": {
        "screen.min_age_minutes": 60, "screen.max_age_hours": 1,
    },
    "execution.poll_interval_s: 30 must be below execution.entry_max_age_s, which is 30": {
        "execution.poll_interval_s": 30, "execution.entry_max_age_s": 30,
    },
    "idempotency.enabled: false must be true with bot.mode Live": {
        "bot.mode": "Live", "wallet.key_file": "/key.json", "idempotency.enabled": False,
    },
}  # fmt: skip
"""What a contradiction is told as, and the settings that make it."""


@pytest.mark.parametrize("told", BROKEN)
def test_every_rule_between_settings_is_told_alone_with_both_settings_and_what_would_be_right(tmp_path, told):
    """One contradiction makes one line."""
    data = good()
    for name, value in BROKEN[told].items():
        put(data, name, value)
    (line,) = lines_of(tmp_path, data)
    assert line.startswith(told)


def test_no_rule_between_settings_is_without_a_case_above():
    """A new rule has to be broken here once."""
    assert len(RULES) == len(BROKEN)
    for rule in RULES:
        assert any(told.startswith(getattr(rule, "left", getattr(rule, "needed", rule.reads[-1]))) for told in BROKEN)


@pytest.mark.parametrize(
    ("name", "value"),
    [("execution.workers", 0), ("execution.workers", "x" * 1_000_000), ("queue", []), ("shutdown.trade_timeout_s", 61)],
)
def test_an_engine_with_a_bad_setting_starts_nothing(tmp_path, name, value):
    """Out of range, enormous, of another type, contradictory: exit code 2 before a file is made or a node is asked."""
    with socket.create_server(("127.0.0.1", 0)) as node:
        node.setblocking(False)
        data = good() | {
            "ledger": {"sqlite_path": str(tmp_path / "ledger.db")},
            "admin": {"port_file": str(tmp_path / "port"), "token_file": str(tmp_path / "token")},
        }
        data["rpc"]["endpoints"][0]["url"] = f"http://127.0.0.1:{node.getsockname()[1]}"
        assert lines_of(tmp_path, data) == []
        (line,) = lines_of(tmp_path, put(data, name, value))
        done = CliRunner().invoke(run, ["--config", str(tmp_path / "engine.json")])
        assert (done.exit_code, done.stderr.strip()) == (2, line)
        assert line.startswith(f"{name}: ")
        with pytest.raises(BlockingIOError):
            node.accept()
    assert [path.name for path in tmp_path.iterdir()] == ["engine.json"]


WORDS = [leaf for leaf in leaves() if leaf.schema.get("type") not in ("integer", "number")]
"""Every setting that is no number."""
MAY_BE_EMPTY = {"market.tokens[].symbol"}


def wrong_for(leaf: Any) -> list[Any]:
    """Return values that the setting cannot mean: of another type, empty, enormous, not on the list."""
    kind = leaf.schema.get("type")
    odd: list[Any] = [7, -1.5, float("nan"), [], ["a"]]
    if kind == "object":
        return [*odd, True, "", "many", {f"k{n}": n for n in range(1000)}]
    odd.append({"a": 1})
    if kind == "boolean":
        return [*odd, "", "perhaps", "x" * 1_000_000]
    return [*odd, True, *([] if leaf.name in MAY_BE_EMPTY else [""]), "x" * 1_000_000, "a\u0000b"]


@pytest.mark.parametrize("leaf", WORDS, ids=lambda leaf: leaf.name)
def test_every_word_switch_and_path_refuses_what_it_cannot_mean(tmp_path, leaf):
    """The line names the field and stays short, however long the value is; a secret's value is in no line."""
    name = leaf.name.replace("[]", ".0")
    for wrong in wrong_for(leaf):
        lines = lines_of(tmp_path, put(good(), leaf.name, wrong))
        told = [line for line in lines if line.startswith(f"{name}: ")]
        assert told, (str(wrong)[:40], lines)
        assert max(map(len, told)) < 400


def test_rules_between_settings_are_told_beside_wrong_values(tmp_path):
    """One round of mending is enough."""
    data = good()
    data["queue"] = {"max_size": 0, "warning_threshold": 0.9, "critical_threshold": 0.5}
    data["screen"] = {"min_market_cap_usd": 5, "max_market_cap_usd": 5, "min_age_minutes": 61, "max_age_hours": 1}
    data["bot"]["mode"] = "Live"
    data["bot"]["generation"] = -1
    data["idempotency"] = {"enabled": False}
    data["shutdown"] = {"trade_timeout_s": "soon", "force_timeout_s": 1}
    text = "\n".join(lines_of(tmp_path, data))
    for part in (
        "queue.max_size",
        "queue.warning_threshold: 0.9 must be below queue.critical_threshold",
        "screen.min_market_cap_usd: 5 must be below",
        "screen.min_age_minutes: 61 must be below screen.max_age_hours × 60, which is 60",
        "idempotency.enabled: false must be true with bot.mode Live",
        "key_file is needed in mode Live",
        "bot.generation",
        "shutdown.trade_timeout_s",
    ):
        assert part in text, text
    assert "trade_timeout_s must be at most" not in text  # its value is wrong in itself: the rule stays silent


def test_idempotency_cannot_be_switched_off_in_live_and_can_on_paper(tmp_path):
    paper = good() | {"idempotency": {"enabled": False}}
    assert lines_of(tmp_path, paper) == []
    live = good() | {"idempotency": {"enabled": False}}
    live["bot"]["mode"], live["wallet"]["key_file"] = "Live", "/key.json"
    assert [line.split(":")[0] for line in lines_of(tmp_path, live)] == ["idempotency.enabled"]


def test_every_switch_is_a_protection_or_said_to_be_none():
    """A new switch has to be thought about here."""
    switches = {leaf.name for leaf in leaves() if leaf.schema.get("type") == "boolean"}
    protections = {leaf.name for leaf in leaves() if leaf.protection} | set(PROTECTIONS)
    assert switches == protections | NOT_PROTECTIONS
    assert not protections & NOT_PROTECTIONS


def test_protections_that_are_off_are_told():
    assert switched_off(EngineSettings(**good())) == ()
    data = good() | {"idempotency": {"enabled": False}, "shutdown": {"graceful": False}}
    data["rpc"]["breaker"] = {"enabled": False}
    assert [name for name, lost in switched_off(EngineSettings(**data)) if lost] == [
        "rpc.breaker.enabled",
        "idempotency.enabled",
        "shutdown.graceful",
    ]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:8899", None),
        ("https://[::1]:8899/x?y=z", None),
        ("https://mainnet.helius-rpc.com/?api-key=9d8f7a6b", None),
        ("https://solana-mainnet.core.chainstack.com/0f1e2d3c", None),
        ("https://mainnet.helius-rpc.com/?api-key=YOUR_HELIUS_KEY", "placeholder"),
        ("https://x.example/${KEY}", "placeholder"),
        ("https://x.example/<key>", "placeholder"),
        ("https://mainnet.helius-rpc.com/?api-key=", "holds none"),
        ("https://mainnet.helius-rpc.com/", "?api-key="),
        ("https://solana-mainnet.core.chainstack.com/", "in the path"),
        ("https://", "name a host"),
        ("https:///x", "name a host"),
        ("https://x:99999", "cannot be read"),
        ("https://x:0", "port"),
        ("https://x:a", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("ftp://x", "must start with"),
        ("x.example", "must start with"),
        ("", "must start with"),
        ("https://x y", "white space"),
        ("https://x\n.example", "white space"),
        ("https://x/" + "a" * 3000, "at most 2048"),
    ],
)
def test_addresses_and_their_keys_are_checked(url, says):
    """A placeholder that was never replaced is found now, not by the first request at the worst time."""
    problem = url_problem(url, schemes=("http", "https"))
    assert problem is None if says is None else says in (problem or "")


def test_public_keys_are_checked_beyond_their_letters(tmp_path):
    data = good()
    data["wallet"]["address"] = "1" * 44
    assert "it holds 44" in lines_of(tmp_path, data)[0]


def test_the_environment_is_judged_with_the_file_and_shown_as_a_source(tmp_path, monkeypatch):
    """All problems at once, whoever made them."""
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(good() | {"execution": {"workers": 3}}))
    monkeypatch.setenv("TRADINGBOT_RPC__REQUEST_TIMEOUT_S", "7.5")
    monkeypatch.setenv("TRADINGBOT_PORT_8080_TCP", "tcp://1.2.3.4")  # Kubernetes adds such variables; none of ours
    shown = json.loads(CliRunner().invoke(config, ["-c", str(path), "--output", "json"]).stdout)
    entries = {entry["name"]: entry for entry in shown["settings"]}
    assert entries["rpc.request_timeout_s"] | {"secret": 0} == {
        "name": "rpc.request_timeout_s", "value": 7.5, "unit": "s", "source": "environment", "secret": 0,
    }  # fmt: skip
    assert (entries["execution.workers"]["value"], entries["execution.workers"]["source"]) == (3, "file")
    assert entries["execution.poll_interval_s"]["source"] == "default"
    assert entries["rpc.endpoints[0].url"]["value"] == "<redacted>"
    monkeypatch.setenv("TRADINGBOT_RPC__REQUEST_TIMEOUT_S", "soon")
    monkeypatch.setenv("TRADINGBOT_RCP__X", "1")
    monkeypatch.setenv("TRADINGBOT_STRATEGIES", "[")
    monkeypatch.setenv("TRADINGBOT_QUEUE__SIZE", "1")
    done = CliRunner().invoke(config, ["-c", str(path)])
    assert done.exit_code == 2
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [
        "TRADINGBOT_RCP__X",
        "TRADINGBOT_STRATEGIES",
        "rpc.request_timeout_s",
        "queue.size",
    ]


def test_config_shows_every_setting_once_and_shouts_about_protections(tmp_path):
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(good() | {"health": {"enabled": False}}))
    done = CliRunner().invoke(config, ["-c", str(path)])
    assert done.exit_code == 0
    assert "SWITCHED OFF: health.enabled" in done.stderr
    shown = {line.split()[0].replace("[0]", "[]") for line in done.stdout.splitlines()}
    absent = {leaf.name for leaf in leaves() if leaf.name.startswith("market.event_time.")}
    assert shown == {leaf.name for leaf in leaves()} - absent | {"market.event_time"}


def test_without_a_file_the_required_settings_are_asked_for():
    done = CliRunner().invoke(config, [])
    assert done.exit_code == 2
    assert {"bot", "wallet", "rpc", "market", "strategies", "ledger"} <= {
        line.split(":")[0] for line in done.stderr.splitlines()
    }


@pytest.mark.parametrize("text", ['{"bot": {}, "bot": {}}', "[" * 100_000, '{"a":' * 50_000, " " * 5_000_000])
def test_files_that_lie_or_never_end_are_refused(tmp_path, text):
    """A key that stands twice would silently lose one of its values."""
    path = tmp_path / "engine.json"
    path.write_text(text)
    with pytest.raises(SettingsInvalid, match=r"engine\.json: "):
        load_settings(path)


def test_the_published_schema_is_plain_and_closed():
    """The operator has no JSON Schema library: flat names, one type each, nothing else allowed."""
    schema = settings_schema()
    assert schema["additionalProperties"] is False
    assert all("[]" not in name for name in schema["properties"])
    assert {entry["type"] for entry in schema["properties"].values()} == {"string", "integer", "number", "boolean"}
