"""Random specs for the comparison of models and schema: mostly sound, each at the edge of something."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from manifest_cases import BONK, REF, RULE_BREAKERS, bot, elsewhere
from pydantic import ValidationError

from tradingbot_operator.crd.structural import INT_OR_STRING, PRESERVE
from tradingbot_operator.crd.v1alpha1 import TradingBotSpec
from tradingbot_operator.crd.v1alpha1.definition import spec_schema
from tradingbot_operator.crd.v1alpha1.rules import ELEMENT_RULES, SPEC_RULES, UNIQUE

WIF = "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm"
Path = tuple[str | int, ...]
ABSENT = object()
SCHEMA = spec_schema()

FULL = elsewhere(
    spec__wallet={"address": BONK, "secretRef": {"name": "w", "key": "k"}},
    spec__rpc={
        "endpoints": [
            {"name": "a", "url": "https://rpc.example", "websocketUrl": "wss://rpc.example", "priority": 1},
            {"name": "b", "urlFrom": REF, "websocketUrlFrom": REF, "requestsPerSecond": 5, "concurrency": 2},
        ],
        "hedging": {"enabled": False},
        "breaker": {"cooldownSeconds": 1},
        "health": {"jitterSeconds": 0},
    },
    spec__market={
        "quote": "USDC",
        "tokens": [{"mint": BONK, "symbol": "BONK"}, {"mint": WIF}],
        "screen": {"minMarketCapUsd": 5, "maxMarketCapUsd": 6, "minAgeMinutes": 60, "maxAgeHours": 2},
        "feeds": [{"name": "f", "type": "posts", "url": "wss://feed.example", "apiKeyFrom": REF}],
    },
    spec__strategies=[
        {"name": "m", "type": "momentum_5m", "allocationPercent": 60, "parameters": {"x": 1}},
        {"name": "r", "type": "mean_revert_1h"},
    ],
    spec__risk={
        "profile": "Aggressive",
        "capital": 5,
        "maxPositionPercent": 2,
        "maxStrategyPercent": 10,
        "drawdown": {"warningPercent": 3, "haltPercent": 5, "emergencyPercent": 10},
        "dailyLoss": {"warningPercent": 2, "haltPercent": 3},
    },
    spec__execution={"swap": {"baseUrl": "https://swap.example", "apiKeyFrom": REF}, "maxSlippageBps": 50},
    spec__queue={"warningThreshold": 0.5, "criticalThreshold": 0.6},
    spec__replicas=2,
    spec__scaling={"shards": 4, "minReplicas": 2, "maxReplicas": 3},
    spec__shutdown={"tradeTimeoutSeconds": 5, "forceTimeoutSeconds": 5},
    spec__ledger={"urlFrom": REF},
    spec__engine={"image": "engine:1", "settings": {"execution.workers": 4}},
    spec__template={
        "resources": {"requests": {"cpu": "100m", "memory": 1}, "limits": {"memory": "1Gi"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}],
        "affinity": {"nodeAffinity": {}},
        "annotations": {"example.com/team": "a b"},
        "labels": {"team": "a"},
    },
)["spec"]
SOUND: tuple[dict[str, Any], ...] = (
    bot()["spec"],
    bot(spec__mode="Paper", spec__localnet={"speed": 2, "scenario": "Viral"})["spec"],
    elsewhere()["spec"],
    FULL,
)
BROKEN = (
    *(data["spec"] for data in RULE_BREAKERS.values()),
    elsewhere(spec__rpc={"endpoints": [{"name": "a", "url": "https://x", "urlFrom": REF}]})["spec"],
    elsewhere(spec__rpc={"endpoints": [{"name": "a"}]})["spec"],
    elsewhere(
        spec__rpc={"endpoints": [{"name": "a", "url": "https://x", "websocketUrl": "ws://x", "websocketUrlFrom": REF}]}
    )["spec"],
)

NUMBERS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 0.5, 1.5, 0.001, 33.4, 50, 99.999, 100, 100.000000001, 100.00001, 1024)
STRINGS = (
    "",
    "a",
    "A",
    "a-",
    "-a",
    "a b",
    "a\n",
    "1",
    "ä",
    "a.b",
    "a_b",
    "a/b",
    "\u00a0",
    "https://x",
    "http://",
    "ws://x",
)
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 7, 2.5, 2.0, -1, "", "x", "5", [], {}, [None], {"x": 1}, [1]]
)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values for a field: its ends, one beyond each, and what is of another kind."""
    return st.one_of(_fitting(schema), _fitting(schema), _fitting(schema), ODD)


def _fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if schema.get(PRESERVE):  # what is in there the catalogue judges
        scalars = st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.sampled_from(STRINGS)
        return st.dictionaries(st.sampled_from(["x", "execution.workers"]), scalars, max_size=2)
    if schema.get(INT_OR_STRING):
        return st.sampled_from(
            ["1", "1Gi", "0.5", ".5", "5.", "1e3", "100m", "-1", "+1", "1 Gi", "", "Gi", "9" * 65, 0, 5, -1]
        )
    if "enum" in schema:
        return st.sampled_from([*schema["enum"], schema["enum"][0].lower(), "Other"])
    match schema.get("type"):
        case "boolean":
            return st.booleans()
        case "integer" | "number":
            return _numbers(schema)
        case "string":
            longest = schema["maxLength"]
            return st.sampled_from([*STRINGS, "a" * longest, "a" * (longest + 1), BONK, WIF, BONK + "1", "0" * 40])
        case "array":
            return st.lists(_fitting(schema["items"]), max_size=3)
        case _:
            return _objects(schema)


def _numbers(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    ends = [schema.get("minimum", 0), schema.get("maximum", 1000)]
    step = 1 if schema["type"] == "integer" else 1e-6
    edges = [value + delta for value in ends for delta in (-step, 0, step)]
    if schema["type"] == "number":
        return st.sampled_from([*edges, *NUMBERS])
    return st.sampled_from([*edges, *map(float, edges), *(n for n in NUMBERS if isinstance(n, int)), 2.0, 2.5])


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "additionalProperties" in schema:
        keys = st.sampled_from(["cpu", "memory", "a/b", "A.b/c", "a b", "", "/a", "a/", "a" * 63, "b/" + "a" * 64, "ä"])
        return st.dictionaries(keys, _fitting(schema["additionalProperties"]) | st.none(), max_size=2)
    fields = {name: _fitting(inner) for name, inner in schema.get("properties", {}).items()}
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=fields)


def fields_of(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every field's path and schema; lists are entered at their first element."""
    for name, inner in schema.get("properties", {}).items():
        here = (*path, name)
        yield here, inner
        yield from fields_of(inner, here)
        if "items" in inner:
            yield (*here, 0), inner["items"]
            yield from fields_of(inner["items"], (*here, 0))


FIELDS = tuple(fields_of(SCHEMA))
BY_PATH = dict(FIELDS)


def put(spec: Any, path: Path, value: Any) -> None:
    """Put a value at a path, making what is missing on the way; leave it where something else is in the way."""
    target = spec
    for step, following in itertools.pairwise(path):
        made: Any = [] if isinstance(following, int) else {}
        if isinstance(target, list):
            if not isinstance(step, int):
                return
            if step >= len(target):
                target.append(made)
            target = target[step]
        elif isinstance(target, dict):
            if target.get(str(step)) is None:
                target[str(step)] = made
            target = target[str(step)]
        else:
            return
    last = path[-1]
    if isinstance(target, dict) and isinstance(last, str):
        target.pop(last, None)
        if value is not ABSENT:
            target[last] = value
    elif isinstance(target, list) and isinstance(last, int) and value is not ABSENT:
        target[last : last + 1] = [value]


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a spec: a sound or a broken one, changed in a few fields; half of the time in those that one rule reads."""
    spec = copy.deepcopy(draw(st.sampled_from((*SOUND * 6, *BROKEN))))
    rule = draw(st.none() | st.sampled_from(SPEC_RULES))
    if rule is not None:
        for read in rule.reads:
            path: Path = tuple(read.split("."))
            inner = BY_PATH[path]
            nullable = "default" not in inner
            choice = _fitting(inner) | st.just(ABSENT) if nullable else _fitting(inner)
            if draw(st.booleans()):
                put(spec, path, draw(choice))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 3]))):
        path, inner = draw(st.sampled_from(FIELDS))
        put(spec, path, draw(values(inner) | st.just(ABSENT)))
    if draw(st.integers(0, 9)) == 0:
        place, _key = draw(st.sampled_from(UNIQUE))
        named: Any = spec
        for step in place.split("."):
            named = named.get(step) if isinstance(named, dict) else None
        if isinstance(named, list) and named and isinstance(named[-1], dict):
            named.append(copy.deepcopy(named[0]))
    if draw(st.integers(0, 19)) == 0:
        put(spec, (*draw(st.sampled_from(FIELDS))[0][:-1], "bogus"), 1)
    return spec


@st.composite
def sums(draw: st.DrawFn) -> dict[str, Any]:
    """Draw strategies whose allocations add up to about 100."""
    spec = copy.deepcopy(draw(st.sampled_from(SOUND)))
    part = st.none() | st.sampled_from([10, 20.1, 33.3, 33.4, 50, 0.1, 0.001, 49.999, 100, 1e-9]) | st.floats(0.01, 60)
    parts = draw(st.lists(part, min_size=1, max_size=8))
    if draw(st.booleans()):
        rest = draw(st.sampled_from([100, 99.999, 100.000000001])) - sum(p or 0 for p in parts)
        parts += [rest] if rest > 0 else []
    spec["strategies"] = [
        {"name": f"s{n}", "type": "momentum_5m", **({} if p is None else {"allocationPercent": p})}
        for n, p in enumerate(parts)
    ]
    return spec


MIXED = st.one_of(specs(), specs(), specs(), specs(), specs(), sums(), st.sampled_from(BROKEN))
"""What is compared; one branch for the one rule that adds up, one for each rule broken alone."""


def models_verdict(spec: Any) -> tuple[TradingBotSpec | None, list[str]]:
    """
    Return what the models say of a spec as far as a schema could say it too: the parsed spec, or why not.

    Left out is what the engine's catalogue and the curve of public keys decide.
    """
    try:
        parsed = TradingBotSpec.model_validate(json.loads(json.dumps(spec)))
    except ValidationError as error:
        return None, [f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in error.errors(include_url=False)]
    broken = [rule.id for rule in SPEC_RULES if not rule.holds(parsed)]
    for place, _, rules in ELEMENT_RULES:
        broken += [rule.id for rule in rules for one in _elements(parsed, place) if not rule.holds(one)]
    for place, key in UNIQUE:
        keys = [getattr(one, key) for one in _elements(parsed, place)]
        broken += [f"unique {place}"] if len(set(keys)) != len(keys) else []
    return (None if broken else parsed), broken


def _elements(spec: TradingBotSpec, place: str) -> list[Any]:
    found: Any = spec
    for step in place.split("."):
        found = getattr(found, step)
    return list(found)


def plain(value: Any) -> Any:
    """Return plain data without the empty lists and maps that mean the same as nothing."""
    if isinstance(value, dict):
        kept = {key: plain(inner) for key, inner in value.items()}
        return {
            key: inner for key, inner in kept.items() if inner not in ({}, [], None) or inner is False or inner == 0
        }
    return [plain(inner) for inner in value] if isinstance(value, list) else value
