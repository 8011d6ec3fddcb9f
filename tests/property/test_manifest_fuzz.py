"""Whatever stands in a manifest: a verdict in words, never a traceback, never a field taken in silence."""

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tradingbot_operator.__main__ import main
from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.crd.v1alpha1 import TradingBot
from tradingbot_operator.manifest.nodes import ManifestError, parse
from tradingbot_operator.manifest.verdict import problems_of

SAMPLES = [
    yaml.safe_load((Path(__file__).parents[2] / "crds" / "samples" / "first-bot.yaml").read_text()),
    {
        "apiVersion": "tradingbot.dev/v1alpha1",
        "kind": "TradingBot",
        "metadata": {"name": "all"},
        "spec": {
            "mode": "Live",
            "cluster": "devnet",
            "wallet": {"secretRef": {"name": "w", "key": "k"}},
            "rpc": {"endpoints": [{"name": "a", "url": "https://x"}], "hedging": {"enabled": False}},
            "market": {
                "tokens": [{"mint": "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"}],
                "screen": {"minEdgeScore": 5},
                "feeds": [{"name": "f", "type": "posts"}],
            },
            "strategies": [{"name": "m", "type": "momentum_5m", "parameters": {}}],
            "risk": {"drawdown": {"haltPercent": 5}, "dailyLoss": {"haltPercent": 3}},
            "execution": {"swap": {"version": "v2"}, "priorityFee": {}, "expiryProof": {}},
            "queue": {"maxSize": 5},
            "scaling": {"shards": 4},
            "shutdown": {},
            "ledger": {"sqlite": {}},
            "logging": {"json": True},
            "engine": {"settings": {}},
            "template": {"resources": {"limits": {"cpu": 1}}, "tolerations": [{"key": "a"}]},
        },
    },
]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["Live", "localnet", "SOL", "", "5", "1Gi", "http://x", "momentum_5m"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for key, item in inner for p in places(item, (*path, key)))]


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    target = data
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return data


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    data = copy.deepcopy(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 4))):
        data = put(data, draw(st.sampled_from(places(data))), draw(json_values))
    return data


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated() | json_values)
def test_any_data_gets_a_verdict(data: Any):
    """A bot exactly if there is no problem; every problem has a text that says something, on one line."""
    bot, problems = problems_of(data, catalogue())
    assert (bot is None) == bool(problems)
    for problem in problems:
        assert problem.message
        assert "\n" not in str(problem)


def maps_of_fields() -> list[tuple[int, tuple[Any, ...]]]:
    """Return (sample, path) of every map that is a model, not a free map such as parameters or labels."""
    free = re.compile(r"(parameters|settings|labels|annotations|nodeSelector|affinity|limits|requests)$")
    return [
        (number, path)
        for number, sample in enumerate(SAMPLES)
        for path in places(sample)
        if isinstance(_at(sample, path), dict) and not (path and free.search(str(path[-1])))
    ]


def _at(data: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        data = data[step]
    return data


@cache
def _known(model: type[BaseModel]) -> set[str]:
    names = {str(field.alias) for field in model.model_fields.values()}
    schema = model.model_json_schema(by_alias=True)
    return names | {name for part in schema.get("$defs", {}).values() for name in part.get("properties", {})}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(maps_of_fields()), st.text(min_size=1, max_size=12), json_values)
def test_an_unknown_field_is_refused_wherever_it_stands(place: tuple[int, tuple[Any, ...]], name: str, value: Any):
    """Whatever its name and value, null included: what is not in the models is told with its path."""
    if name in _known(TradingBot):
        return
    number, path = place
    data = copy.deepcopy(SAMPLES[number])
    _at(data, path)[name] = value
    bot, problems = problems_of(data, catalogue())
    assert bot is None
    assert any(p.path == (*path, name) and "unknown field" in p.message for p in problems), problems


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200) | st.text(alphabet="{}[]:,-&*!|>'\"%@`# \n\tab01.~?<", max_size=120).map(str.encode))
def test_any_bytes_are_read_or_refused_in_words(raw: bytes):
    """The reader knows one error; it never instantiates, recurses or hangs."""
    try:
        nodes = parse(raw)
    except ManifestError as error:
        problem = error
    else:
        json.dumps([node.data() for node in nodes])
        return
    assert problem.line >= 1
    assert problem.message


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_the_command_never_shows_a_traceback(data: Any):
    """Exit code 0 or 2; every line of standard error names the file and a line."""
    text = yaml.safe_dump(data, allow_unicode=True)
    answer = CliRunner().invoke(main, ["validate", "-f", "-"], input=text)
    assert answer.exit_code in (0, 2), answer.output
    assert "Traceback" not in answer.output
    if answer.exit_code == 2:
        lines = [line for line in answer.stderr.splitlines() if line]
        assert lines
        assert all(re.match(r"(note: )?-:\d+: .+", line) for line in lines), lines


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_what_is_written_reads_back_as_the_same(data: st.DataObject):
    """YAML and JSON of the same value give the same data as PyYAML and json do."""
    value = data.draw(
        st.dictionaries(
            st.text(min_size=1, max_size=8),
            st.recursive(
                st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=12),
                lambda inner: st.lists(inner, max_size=3),
                max_leaves=5,
            ),
            min_size=1,
            max_size=4,
        )
    )
    (node,) = parse(json.dumps(value, indent="\t").encode())
    assert node.data() == value
