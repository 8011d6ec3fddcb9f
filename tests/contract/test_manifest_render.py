"""The two packages meet at the wire: what the operator renders, the engine reads; what the engine offers, the operator knows."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tradingbot_engine.commands.catalogue import published
from tradingbot_engine.localnet.market.scenario import Scenario
from tradingbot_engine.settings import EngineSettings, load_settings
from tradingbot_operator.__main__ import SCENARIOS
from tradingbot_operator.catalogue import POOL_FEEDS, catalogue, parse_catalogue
from tradingbot_operator.crd.v1alpha1 import TradingBot, effective_risk
from tradingbot_operator.crd.v1alpha1.chain import Localnet
from tradingbot_operator.crd.v1alpha1.effective import PROFILES
from tradingbot_operator.manifest.verdict import problems_of
from tradingbot_operator.wire.chain import Chain, Node, localnet_chain
from tradingbot_operator.wire.render import Places, Resolved, render

ROOT = Path(__file__).parents[2]
SAMPLE = yaml.safe_load((ROOT / "crds" / "samples" / "first-bot.yaml").read_text())
WALLET = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
PLACES = Places(
    sqlite="/state/ledger.db", wallet_key="/state/wallet.json", admin_port_file="/state/p", admin_token="/state/t"
)
LINE = {
    "nodes": [{"http": "http://127.0.0.1:8899", "websocket": "ws://127.0.0.1:8900"}],
    "swap": "http://127.0.0.1:8901",
    "genesis_hash": WALLET,
}

INFO = {"market_clock": {"origin_slot": 5, "origin_ms": 1_700_000_000_000, "ms_per_slot": 24_000.0}}


def bot(**changes: Any) -> TradingBot:
    data = copy.deepcopy(SAMPLE)
    for place, value in changes.items():
        target = data["spec"]
        *steps, last = place.split("__")
        for step in steps:
            target = target.setdefault(step, {})
        target[last] = value
    return sound(data)


def sound(data: dict[str, Any]) -> TradingBot:
    found, problems = problems_of(data, catalogue())
    assert found is not None, [str(p) for p in problems]
    return found


def settings_of(found: TradingBot, resolved: Resolved | None = None, path: Path | None = None) -> EngineSettings:
    resolved = resolved or Resolved(chain=localnet_chain(LINE, INFO), wallet_address=WALLET)
    data = render(found, places=PLACES, resolved=resolved, cluster_id="laptop-1", generation=3)
    text = json.dumps(data)
    if path is not None:
        path.write_text(text)
        return load_settings(path)
    return EngineSettings(**json.loads(text))


def test_the_first_sample_parses_as_engine_settings(tmp_path: Path):
    """Field by field: what the sample says is what the engine reads."""
    read = settings_of(bot(), path=tmp_path / "engine.json")
    assert (read.bot.name, read.bot.mode, read.bot.cluster, read.bot.generation) == ("first-bot", "Live", "localnet", 3)
    assert [t.symbol for t in read.market.tokens] == ["BONK", "WIF"]
    assert [(s.name, s.type, s.allocation_percent) for s in read.strategies] == [
        ("momentum", "momentum_5m", 50),
        ("reversion", "mean_revert_1h", 50),
    ]
    assert str(read.ledger.sqlite_path) == "/state/ledger.db"
    assert read.market.event_time is not None
    assert read.market.event_time.ms_per_slot == 24_000
    assert read.bot.expected_genesis_hash == LINE["genesis_hash"]
    assert read.execution.swap.base_url == LINE["swap"]
    assert read.rpc.endpoints[0].url.get_secret_value() == "http://127.0.0.1:8899"
    assert read.admin.port == 0
    assert str(read.admin.port_file) == "/state/p"


def test_every_field_that_the_engine_can_be_told_arrives():
    """Values unlike every default, so that a forgotten field shows."""
    found = bot(
        paused=True,
        rpc={"timeoutMilliseconds": 1234, "maxInFlight": 77},
        market__quote="USDC",
        market__maxStalenessMilliseconds=321,
        risk={
            "profile": "Aggressive",
            "capital": 12.5,
            "maxPositionPercent": 1.5,
            "maxStrategyPercent": 7.5,
            "drawdown": {"warningPercent": 1, "haltPercent": 2, "emergencyPercent": 3},
            "dailyLoss": {"warningPercent": 1.25, "haltPercent": 1.75},
        },
        execution={
            "swap": {"version": "v2"},
            "mark": "Guard",
            "maxSlippageBps": 42,
            "priorityFee": {"level": "veryHigh", "maxLamports": 5},
            "commitment": "processed",
            "expiryProof": {"providers": 1, "aboveLamports": 9},
        },
        queue={"maxSize": 11, "warningThreshold": 0.5, "criticalThreshold": 0.6, "deadlineMilliseconds": 222},
        shutdown={"tradeTimeoutSeconds": 3, "forceTimeoutSeconds": 4},
        logging={"level": "debug", "json": False},
    )
    read = settings_of(found)
    assert read.bot.paused
    assert (read.rpc.request_timeout_s, read.rpc.max_in_flight) == (1.234, 77)
    assert (read.market.quote, read.market.max_staleness_ms) == ("USDC", 321)
    assert (read.risk.profile, read.risk.capital) == ("Aggressive", 12_500_000)
    assert (read.risk.max_position_percent, read.risk.max_strategy_percent) == (1.5, 7.5)
    assert tuple(read.risk.drawdown.model_dump().values()) == (1, 2, 3)
    assert tuple(read.risk.daily_loss.model_dump().values()) == (1.25, 1.75)
    assert (read.execution.swap.version, read.execution.mark, read.execution.max_slippage_bps) == ("v2", "Guard", 42)
    assert tuple(read.execution.priority_fee.model_dump().values()) == ("veryHigh", 5)
    assert read.execution.commitment == "processed"
    assert tuple(read.execution.expiry_proof.model_dump().values()) == (1, 9)
    assert (read.queue.max_size, read.queue.deadline_ms) == (11, 222)
    assert (read.queue.warning_threshold, read.queue.critical_threshold) == (0.5, 0.6)
    assert (read.shutdown.trade_timeout_s, read.shutdown.force_timeout_s) == (3, 4)
    assert (read.logging.level, read.logging.json_lines) == ("debug", False)


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_fill_the_engines_numbers(profile: str):
    """Effective values, a profile already applied: the engine knows no profile's numbers."""
    read, numbers = settings_of(bot(risk={"profile": profile})), PROFILES[profile]
    assert read.risk.max_position_percent == numbers.max_position_percent
    assert read.risk.drawdown.emergency_percent == numbers.drawdown_emergency_percent
    assert read.execution.max_slippage_bps == numbers.max_slippage_bps
    assert read.risk.capital is None


def test_defaults_of_the_two_packages_agree():
    """A field that the manifest leaves out means the same to both."""
    found = bot()
    read = settings_of(found)
    plain = EngineSettings(
        bot={"name": "first-bot"},
        wallet={"address": WALLET},
        rpc={"endpoints": [{"name": "a", "url": "http://x"}]},
        market={"tokens": [{"mint": WALLET}]},
        strategies=[{"name": "a", "type": "momentum_5m"}],
        ledger={"sqlite_path": "/x"},
    )
    assert read.rpc.model_dump(exclude={"endpoints"}) == plain.rpc.model_dump(exclude={"endpoints"})
    assert read.risk == plain.risk
    assert read.queue == plain.queue
    assert read.shutdown == plain.shutdown
    assert read.execution.model_dump(exclude={"swap"}) == plain.execution.model_dump(exclude={"swap"})
    assert read.market.max_staleness_ms == plain.market.max_staleness_ms


def test_a_mainnet_bot_keeps_its_nodes_and_secrets():
    """Addresses with keys in them travel in the 0600 file, and are secrets to the engine as well."""
    node = Node("a", "https://rpc.example/key", "wss://rpc.example/key", 7.0, 3, 1)
    data = copy.deepcopy(SAMPLE)
    del data["spec"]["localnet"]
    data["spec"] |= {
        "cluster": "mainnet-beta",
        "wallet": {"secretRef": {"name": "w", "key": "k"}},
        "rpc": {"endpoints": [{"name": "a", "url": "https://rpc.example/key"}]},
    }
    found = sound(data)
    resolved = Resolved(
        chain=Chain(nodes=(node,)), wallet_address=WALLET, ledger_url="postgresql://u:p@h/d", swap_api_key="hidden"
    )
    read = settings_of(found, resolved)
    endpoint = read.rpc.endpoints[0]
    assert (endpoint.requests_per_second, endpoint.concurrency, endpoint.priority) == (7, 3, 1)
    assert read.ledger.url is not None
    assert read.ledger.url.get_secret_value() == "postgresql://u:p@h/d"
    assert read.ledger.sqlite_path is None
    assert read.execution.swap.api_key is not None
    assert read.execution.swap.base_url == EngineSettings.model_fields["execution"].default.swap.base_url
    assert "hidden" not in repr(read)


@settings(max_examples=80, deadline=None)
@given(
    risk=st.fixed_dictionaries(
        {},
        optional={
            "profile": st.sampled_from(list(PROFILES)),
            "capital": st.floats(1e-9, 1e9),
            "maxPositionPercent": st.floats(0.001, 100),
            "maxStrategyPercent": st.floats(0.001, 100),
            "drawdown": st.fixed_dictionaries({"haltPercent": st.floats(0.01, 99.9)}),
            "dailyLoss": st.fixed_dictionaries({"warningPercent": st.floats(0.01, 99.9)}),
        },
    ),
    allocations=st.lists(
        st.none() | st.sampled_from([50.0, 100.0, 33.4]) | st.floats(0.01, 100), min_size=1, max_size=8
    ),
    quote=st.sampled_from(["SOL", "USDC"]),
)
def test_whatever_the_models_accept_the_engine_accepts(risk: Any, allocations: list[float | None], quote: str):
    """A manifest that passes validate never makes an engine that refuses its settings."""
    data = copy.deepcopy(SAMPLE)
    data["spec"]["risk"] = risk
    data["spec"]["market"]["quote"] = quote
    data["spec"]["strategies"] = [
        {"name": f"s{n}", "type": "momentum_5m", **({} if a is None else {"allocationPercent": a})}
        for n, a in enumerate(allocations)
    ]
    found, _ = problems_of(data, catalogue())
    if found is not None:
        read = settings_of(found)
        assert read.risk.max_strategy_percent == effective_risk(found.spec).max_strategy_percent


def test_the_committed_catalogue_is_what_the_engine_publishes():
    """`tradingbot-engine catalogue` writes it; a strategy that changed and a catalogue that did not would disagree."""
    committed = json.loads((ROOT / "operator" / "tradingbot_operator" / "catalogue.json").read_text())
    assert committed == json.loads(json.dumps(published()))
    known = parse_catalogue(committed)
    assert {"momentum_5m", "mean_revert_1h"} <= set(known.strategies)
    assert known.pool_feeds <= set(POOL_FEEDS)


def test_scenarios_have_the_same_names_everywhere():
    """Manifest, command line, localnet."""
    assert set(SCENARIOS) == {s.value for s in Scenario}
    assert set(re.findall(r"'(\w+)'", str(Localnet.model_fields["scenario"].annotation))) == set(SCENARIOS)
