"""Every rule of the resource, once broken: the problem is told at its path, and with what would be right."""

from typing import Any

import pytest
import yaml
from manifest_cases import BASE, BONK, DROP, REF, RULE_BREAKERS, bot, elsewhere

from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.crd.v1alpha1 import TradingBot, effective_risk
from tradingbot_operator.crd.v1alpha1.rules import ELEMENT_RULES, SPEC_RULES, TRANSITION_RULES, UNIQUE
from tradingbot_operator.manifest.problem import path_text
from tradingbot_operator.manifest.verdict import problems_of


def told(data: Any) -> list[str]:
    return [str(p) for p in problems_of(data, catalogue())[1]]


def test_the_base_manifests_are_sound():
    """Otherwise the cases below would prove nothing."""
    assert told(bot()) == []
    assert told(elsewhere()) == []


@pytest.mark.parametrize("rule", SPEC_RULES, ids=lambda rule: rule.id)
def test_each_rule_of_the_spec_is_told_alone_at_its_path(rule):
    """One broken rule gives one line; its message is the rule's own, so that it says what to do."""
    (line,) = told(RULE_BREAKERS[rule.id])
    assert line.startswith(f"spec.{rule.path}: ")
    assert line.endswith(rule.message)


def test_strategies_without_an_allocation_need_something_left():
    """100 % stated and one silent would give it nothing to trade with."""
    stated = {"name": "a", "type": "momentum_5m", "allocationPercent": 100}
    assert told(bot(spec__strategies=[stated])) == []
    (line,) = told(bot(spec__strategies=[stated, {"name": "b", "type": "momentum_5m"}]))
    assert "leave nothing" in line


@pytest.mark.parametrize(
    ("endpoint", "rule_id"),
    [
        ({"name": "a"}, "endpoint-one-url"),
        ({"name": "a", "url": "http://x", "urlFrom": REF}, "endpoint-one-url"),
        (
            {"name": "a", "url": "http://x", "websocketUrl": "ws://x", "websocketUrlFrom": REF},
            "endpoint-one-websocket-url",
        ),
    ],
)
def test_each_rule_of_an_endpoint_is_told_at_its_index(endpoint, rule_id):
    """The second of two endpoints is the broken one, and the line says [1]."""
    sound = {"name": "first", "url": "http://x"}
    (line,) = told(elsewhere(spec__rpc={"endpoints": [sound, endpoint]}))
    rule = next(r for _, _, rules in ELEMENT_RULES for r in rules if r.id == rule_id)
    assert line.startswith(f"spec.rpc.endpoints[1].{rule.path}: ")
    assert line.endswith(rule.message)


@pytest.mark.parametrize(("place", "key"), UNIQUE)
def test_lists_with_names_refuse_the_same_name_twice(place: str, key: str):
    """The API server keeps such lists as maps; two entries of one name would merge."""
    element = {
        "rpc.endpoints": {"name": "a", "url": "http://x"},
        "market.tokens": {"mint": BONK},
        "market.feeds": {"name": "a", "type": "posts"},
        "strategies": {"name": "a", "type": "momentum_5m"},
    }[place]
    lines = told(elsewhere(**{f"spec__{place.replace('.', '__')}": [element, element]}))
    assert [line.split(": ")[0] for line in lines] == [f"spec.{place}[1].{key}"]


@pytest.mark.parametrize(
    ("changes", "begins", "says"),
    [
        ({"spec__bogus": 1}, "spec.bogus: ", "unknown field"),
        ({"spec__rpc": {"timeoutMillis": 5}}, "spec.rpc.timeoutMillis: ", "did you mean timeoutMilliseconds?"),
        ({"spec__rpc": {"timeout_milliseconds": 500}}, "spec.rpc.timeout_milliseconds: ", "unknown field"),
        ({"spec__mode": "live"}, 'spec.mode: value "live": ', "did you mean Live?"),
        ({"spec__paused": "true"}, 'spec.paused: value "true": ', "true or false"),
        ({"spec__queue": {"maxSize": "10"}}, 'spec.queue.maxSize: value "10": ', "without fraction"),
        ({"spec__queue": {"maxSize": 0}}, "spec.queue.maxSize: value 0: ", "at least 1"),
        ({"spec__queue": {"maxSize": True}}, "spec.queue.maxSize: value true: ", "without fraction"),
        ({"spec__queue": {"maxSize": 1.5}}, "spec.queue.maxSize: value 1.5: ", "without fraction"),
        ({"spec__risk": {"capital": float("nan")}}, "spec.risk.capital: value nan: ", "finite"),
        ({"spec__risk": {"capital": 0}}, "spec.risk.capital: value 0: ", "greater than 0"),
        ({"spec__market__tokens": {}}, "spec.market.tokens: value a map: ", "must be a list"),
        ({"spec__market__tokens": [{"mint": "0x12"}]}, 'spec.market.tokens[0].mint: value "0x12"', "base58"),
        ({"spec__market__tokens": [{"mint": "1" * 44}]}, "spec.market.tokens[0].mint: ", "it holds 44"),
        ({"spec__strategies": [{"type": "momentum_5m"}]}, "spec.strategies[0].name: ", "missing: state it"),
        ({"spec__strategies": [None]}, "spec.strategies[0]: value null: ", "must be a map"),
        ({"metadata__name": "a" * 41}, "metadata.name: ", "at most 40 characters"),
        ({"metadata__name": "9lives"}, "metadata.name: ", "beginning with a letter"),
        ({"metadata__nam": "x"}, "metadata.nam: ", "did you mean name?"),
        ({"spec__template": {"labels": {"a.b/c": 5}}}, 'spec.template.labels["a.b/c"]: value 5: ', "in quotes"),
        ({"spec__template": {"resources": {"limits": {"cpu": "lots"}}}}, "spec.template.resources.limits.cpu: ", "1Gi"),
        ({"spec": None}, "spec: ", "missing: state it"),
        ({"spec": []}, "spec: value a list: ", "must be a map"),
        ({"apiVersion": "tradingbot.dev/v2"}, "apiVersion: ", "tradingbot.dev/v1alpha1"),
    ],
)
def test_fields_say_what_would_be_right(changes, begins, says):
    """Type, range, pattern, spelling: the line names the field, its value, and the way out."""
    lines = told(bot(**changes))
    assert len(lines) == 1
    assert lines[0].startswith(begins)
    assert says in lines[0]


@pytest.mark.parametrize(
    ("strategy", "begins", "says"),
    [
        ({"type": "momentum5m"}, "type", "did you mean momentum_5m?"),
        ({"type": "momentum_5m", "parameters": {"nonsense": 1}}, "parameters.nonsense", "unknown parameter"),
    ],
)
def test_strategies_are_checked_against_the_engines_catalogue(strategy, begins, says):
    """A name the engine does not know would otherwise be found at start, on a cluster, at night."""
    (line,) = told(bot(spec__strategies=[{"name": "s", **strategy}]))
    assert line.startswith(f"spec.strategies[0].{begins}: ")
    assert says in line


@pytest.mark.parametrize("strategy", catalogue().strategies.values(), ids=lambda s: s.name)
def test_every_parameter_of_the_catalogue_has_its_type_and_range_checked(strategy):
    """Both ends of every range, and the wrong type; the default itself is sound."""
    for parameter in strategy.parameters.values():
        assert parameter.fault(parameter.default) is None
        wrong: list[Any] = ["1", None, [1]] + ([1] if parameter.type == "boolean" else [True, float("nan")])
        wrong += [parameter.minimum - 1] if parameter.minimum is not None else []
        wrong += [parameter.maximum + 1] if parameter.maximum is not None else []
        for value in wrong:
            data = bot(spec__strategies=[{"name": "s", "type": strategy.name, "parameters": {parameter.name: value}}])
            lines = told(data)
            assert lines, (parameter, value)
            assert all(f"parameters.{parameter.name}" in line for line in lines)


def test_all_problems_are_told_at_once_and_rules_stay_silent_about_broken_fields():
    """One run shows everything; but a rule that depends on an unreadable field would only repeat it."""
    lines = told(
        bot(
            spec__mode="Lve",
            spec__cluster=DROP,
            spec__queue={"warningThreshold": "high", "criticalThreshold": 0.1},
            spec__shutdown={"tradeTimeoutSeconds": 61},
            spec__market__tokens=[{"mint": "x"}, {"mint": BONK}, {"mint": BONK}],
        )
    )
    assert [line.split(": ")[0] for line in lines] == [
        "spec.mode",
        "spec.market.tokens[0].mint",
        "spec.queue.warningThreshold",
        "spec.shutdown.forceTimeoutSeconds",
        "spec.market.tokens[2].mint",
    ]


SECRET = "4wBqpZM9xaSheZzJSMawUKKwhdpChKbZ5eu5ky4Vigw5aBcDeFgHJKLMNPQRSTUVWXYZabcdefghijkmno12345"


@pytest.mark.parametrize(
    "changes",
    [
        {"spec__wallet": {"address": SECRET}},
        {"spec__wallet": {"secretRef": {"name": SECRET, "key": 5}}},
        {"spec__wallet": {"secretRef": {"name": "a", "key": SECRET + " "}}},
        {"spec__wallet": {"privateKey": SECRET}},
        {"spec__wallet": {"secretRef": SECRET}},
        {"spec__rpc": {"endpoints": [{"name": "a", "url": f"htp://user:{SECRET}@host/{SECRET}?key={SECRET}"}]}},
        {"spec__execution": {"swap": {"apiKeyFrom": SECRET}}},
        {"spec__market__tokens": [{"mint": SECRET}]},
        {"metadata__name": SECRET},
    ],
)
def test_no_secret_is_ever_shown(changes):
    """A key pasted into the wrong field must not reach a terminal or the log of a build."""
    lines = told(bot(**changes))
    assert lines
    assert not any(SECRET[:12] in line or SECRET[-12:] in line for line in lines)


@pytest.mark.parametrize("rule", TRANSITION_RULES, ids=lambda rule: rule.id)
def test_what_is_immutable_may_neither_change_nor_vanish(rule):
    """Adding a wallet is allowed; shards and a wallet that is set stay."""
    spec = TradingBot.model_validate(bot()).spec
    with_wallet = TradingBot.model_validate(bot(spec__wallet={"address": BONK})).spec
    other = TradingBot.model_validate(bot(spec__scaling={"shards": 8})).spec
    assert rule.holds(spec, spec)
    assert rule.holds(spec, with_wallet)
    if rule.id == "wallet-is-immutable":
        assert not rule.holds(with_wallet, spec)
    else:
        assert not rule.holds(spec, other)


def test_the_profile_fills_only_what_is_left_out():
    """Stated numbers win; the schema itself holds no default for them."""
    risk = effective_risk(
        TradingBot.model_validate(bot(spec__risk={"profile": "Conservative", "maxPositionPercent": 0.5})).spec
    )
    assert (risk.max_position_percent, risk.max_strategy_percent, risk.max_slippage_bps) == (0.5, 5, 50)
    assert TradingBot.model_validate(bot()).spec.risk.max_position_percent is None


def test_null_means_absent_as_in_kubernetes():
    """An API server prunes nulls of such fields before it fills defaults in; unknown fields stay unknown."""
    sound, problems = problems_of(bot(spec__queue=None, spec__paused=None, spec__risk={"capital": None}), catalogue())
    assert problems == []
    assert sound is not None
    assert sound.spec.queue.max_size == 10_000
    assert told(bot(spec__bogus=None)) == ["spec.bogus: unknown field: remove it"]


def test_paths_read_as_people_write_them():
    """Indices in brackets, odd keys in quotes."""
    assert path_text(("spec", "rpc", "endpoints", 0, "url")) == "spec.rpc.endpoints[0].url"
    assert path_text(("metadata", "labels", "a/b")) == 'metadata.labels["a/b"]'


def test_what_kubectl_prints_is_accepted():
    """`kubectl get tb -o yaml` carries Kubernetes' own metadata and a status."""
    data = yaml.safe_load(
        """
        apiVersion: tradingbot.dev/v1alpha1
        kind: TradingBot
        metadata:
          name: bot
          uid: 7a0c
          generation: 3
          resourceVersion: "123"
          creationTimestamp: "2026-01-01T00:00:00Z"
          managedFields: [{manager: kubectl, operation: Update}]
        """
    )
    data["spec"] = BASE["spec"]
    data["status"] = {"phase": "Trading", "conditions": [{"type": "Ready", "status": "True"}]}
    assert told(data) == []
