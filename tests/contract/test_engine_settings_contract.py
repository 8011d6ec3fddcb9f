"""`engine.settings` of a manifest: checked by what the engine publishes, rendered by name, and read by the engine as stated."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from tradingbot_engine.settings import EngineSettings
from tradingbot_engine.settings.rules import RULES, Below, Needs
from tradingbot_engine.settings.schema import leaves, value_at
from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.crd.v1alpha1.spec import TradingBotSpec
from tradingbot_operator.manifest.engine_settings import FIELDS, OPERATOR
from tradingbot_operator.manifest.in_force import notes_of
from tradingbot_operator.manifest.load import load
from tradingbot_operator.manifest.verdict import problems_of
from tradingbot_operator.wire.chain import localnet_chain
from tradingbot_operator.wire.render import Places, Resolved, render

ROOT = Path(__file__).parents[2]
SAMPLE = yaml.safe_load((ROOT / "crds" / "samples" / "first-bot.yaml").read_text())
WALLET = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
PLACES = Places(sqlite="/s/ledger.db", wallet_key="/s/wallet.json", admin_port_file="/s/p", admin_token="/s/t")
LINE = {"nodes": [{"http": "http://127.0.0.1:1", "websocket": "ws://127.0.0.1:2"}], "swap": "http://127.0.0.1:3"}
SCHEMA = catalogue().settings
FREE = [n for n in SCHEMA.settings if not any(n == f or n.startswith(f"{f}.") for f in FIELDS)]


def manifest(**stated: Any) -> dict[str, Any]:
    """Return the sample with engine settings; double underscores stand for dots."""
    data = copy.deepcopy(SAMPLE)
    data["spec"]["engine"] = {"settings": {name.replace("__", "."): value for name, value in stated.items()}}
    return data


def told(data: dict[str, Any]) -> list[str]:
    return [str(p) for p in problems_of(data, catalogue())[1]]


def rendered(data: dict[str, Any]) -> dict[str, Any]:
    bot, problems = problems_of(data, catalogue())
    assert bot is not None, [str(p) for p in problems]
    resolved = Resolved(chain=localnet_chain(LINE, {}), wallet_address=WALLET)
    return render(bot, places=PLACES, resolved=resolved, cluster_id="laptop-1", generation=1)


def other_value(name: str) -> Any:
    """Return a sound value unlike the default."""
    schema = SCHEMA.settings[name].schema
    default = schema.get("default")
    if schema["type"] == "boolean":
        return not default
    if "enum" in schema:
        return next(option for option in schema["enum"] if option != default)
    if schema.get("format") == "public-key":
        return WALLET
    if schema["type"] == "string":
        return "a" * 32 if "pattern" in schema else "/tmp/x"
    low, high = schema.get("minimum", schema.get("exclusiveMinimum", 0)), schema.get("maximum", 1)
    if default is None:
        value = (low + high) / 2
    else:
        value = default * 0.9 if default * 0.9 > low else (default + min(high, default * 2)) / 2
    value = round(value) if schema["type"] == "integer" else value
    return value if value != default else value + 1


@pytest.mark.parametrize("name", FREE)
def test_every_free_setting_arrives_at_the_engine_as_it_was_stated(name: str):
    """Or it is refused for a rule between settings, in which case the engine would have refused it too."""
    value = other_value(name)
    data = manifest(**{name: value})
    if problems := told(data):
        assert "idempotency.enabled" in problems[0], problems
        return
    read = EngineSettings(**json.loads(json.dumps(rendered(data))))
    assert value_at(read, name) == value


def test_there_are_free_settings_and_each_is_documented():
    """Otherwise the cases above would prove nothing."""
    assert {"execution.workers", "shutdown.graceful", "risk.fee_reserve_lamports"} <= set(FREE)
    assert all(SCHEMA.settings[name].meaning for name in FREE)


def test_what_rendering_sets_is_exactly_what_cannot_be_set_a_second_time():
    """A rendered name that is free would have two values; an owned one that nothing renders could never be set."""
    data = copy.deepcopy(SAMPLE)
    data["spec"]["market"]["screen"] = {"minEdgeScore": 1}
    elsewhere = {
        "ledger.url",
        "execution.swap.api_key",
        "admin.last_status_file",
    }  # where the manifest or a laptop asks
    flat = {name for name, _ in _flat(rendered(data), "")} | elsewhere
    by_list = {"rpc.endpoints", "market.tokens", "strategies", "market.event_time"}
    names = {next((owner for owner in by_list if name.startswith(owner)), name) for name in flat}
    assert names == set(FIELDS)
    known = {leaf.name.split("[]")[0] for leaf in leaves()} | {"market.event_time"}
    assert set(FIELDS) <= known


def _flat(value: Any, prefix: str) -> Any:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, value


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_setting_that_has_a_field_is_refused_with_the_fields_name(name: str):
    """Two places for one value would need a rule of precedence that somebody has to know."""
    (line,) = told(manifest(**{name: 1}))
    assert line.startswith(f'spec.engine.settings["{name}"]: ' if "." in name else f"spec.engine.settings.{name}: ")
    assert (FIELDS[name] if FIELDS[name] != OPERATOR else "operator") in line


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("execution.workers", 0, "value 0: must be at least 1 trades"),
        ("execution.workers", 10**30, "must be at most 1024"),
        ("execution.workers", "16", "must be a number without fraction"),
        ("execution.workers", True, "must be a number without fraction"),
        ("execution.workers", 1.5, "must be a number without fraction"),
        ("execution.poll_interval_s", float("nan"), "finite"),
        ("execution.poll_interval_s", 0, "must be greater than 0 s"),
        ("shutdown.graceful", "no", "must be true or false"),
        ("bot.bot_id", "me", "must match"),
        ("execution.worker", 3, "did you mean execution.workers?"),
        ("TRADINGBOT_EXECUTION__WORKERS", 3, "did you mean execution.workers?"),
        ("EXECUTION__WORKERS", 3, "did you mean execution.workers?"),
        ("workers", 3, "did you mean execution.workers?"),
        ("", 3, "no such setting"),
        ("rpc.endpoints[0].url", "http://x", "no such setting"),
        ("x" * 128, 1, "no such setting"),
    ],
)
def test_one_wrong_entry_is_told_with_its_name_its_value_and_what_would_be_right(name: str, value: Any, says: str):
    """Only the dotted form is a name; the others are understood well enough to be put right."""
    (line,) = told(_with(name, value))
    assert says in line
    assert "spec.engine.settings" in line


def _with(name: str, value: Any) -> dict[str, Any]:
    data = manifest()
    data["spec"]["engine"]["settings"][name] = value
    return data


def test_rules_between_settings_that_only_the_engine_knows_are_told_by_validate(tmp_path: Path):
    """All at once, with file and line, beside the problems of single entries."""
    text = (ROOT / "crds" / "samples" / "first-bot.yaml").read_text()
    text += "  engine:\n    settings:\n      idempotency.enabled: false\n      execution.poll_interval_s: 40\n"
    text += "      execution.workers: none\n      rpc.request_timeout_s: 3\n"
    file = tmp_path / "bot.yaml"
    file.write_text(text)
    lines = [str(finding) for finding in load([str(file)], catalogue()).problems]
    first = text.count("\n") - 3
    assert [line.split(": ")[0] for line in lines] == [f"{file}:{n}" for n in range(first, first + 4)]
    assert "bot.mode Live" in lines[0]
    assert "must be below execution.entry_max_age_s: 40 against 30" in lines[1]
    assert "without fraction" in lines[2]
    assert "spec.rpc.timeoutMilliseconds" in lines[3]


def test_every_published_rule_is_judged_alike_on_both_sides():
    """The operator's reading of a rule and the engine's own are two programs; they must say the same."""
    judged = 0
    for rule in RULES:
        if isinstance(rule, Needs):
            stated = {rule.needed: not rule.be}
        elif isinstance(rule, Below) and rule.left in FREE:
            right = SCHEMA.settings[rule.right].schema.get("default")
            stated = {rule.left: right * rule.scale * (1 if not rule.or_equal else 1.01)}
        else:
            continue
        judged += 1
        assert told(manifest(**stated)), rule
        raw = rendered(manifest())
        for name, value in stated.items():
            group, _, last = name.partition(".")
            raw.setdefault(group, {})[last] = value
        with pytest.raises(ValueError, match=next(iter(stated)).replace(".", r"\.")):
            EngineSettings(**raw)
    assert judged >= 2


def test_settings_are_in_force_and_no_note_says_otherwise():
    """The note of the first release is gone."""
    assert not [n for n in notes_of(manifest(execution__workers=3)) if "engine" in str(n)]


def test_a_secret_never_stands_in_a_manifest_and_is_not_shown():
    """Secret settings are owned by references to Secrets; nothing that was typed there is echoed."""
    for name in ("execution.swap.api_key", "ledger.url"):
        (line,) = told(manifest(**{name: "hunter2-hunter2"}))
        assert "hunter2" not in line


def _numbers(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, float, float]]:
    """Yield (dotted path, least, greatest) of every number of the manifest that rendering takes over."""
    for field in model.model_fields.values():
        path, found = f"{prefix}.{field.alias}", _model_in(field.annotation)
        if found is not None:
            yield from _numbers(found, path)
        elif path in set(FIELDS.values()) or path.startswith("spec.rpc.endpoints."):
            schema = TypeAdapter(Annotated[field.annotation, Field(), *field.metadata]).json_schema()
            schema = next((s for s in schema.get("anyOf", []) if s["type"] != "null"), schema)
            if schema.get("type") in ("integer", "number"):
                low = schema.get(
                    "minimum", schema.get("exclusiveMinimum", 0) + (1e-6 if "exclusiveMinimum" in schema else 0)
                )
                high = schema.get("maximum", schema.get("exclusiveMaximum", 0) - 1e-6)
                yield path, low, high


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for inner in getattr(annotation, "__args__", ()) if (m := _model_in(inner)) is not None), None)


NUMBERS = [
    (path, end)
    for path, low, high in _numbers(TradingBotSpec, "spec")
    if "endpoints" not in path
    for end in (low, high)
]


def _with_number(path: str, value: float) -> dict[str, Any]:
    data = copy.deepcopy(SAMPLE)
    *steps, last = path.split(".")
    target = data
    for step in steps:
        target = target.setdefault(step, {})
    target[last] = value
    return data


@pytest.mark.parametrize(("path", "value"), NUMBERS)
def test_both_ends_of_every_number_of_the_manifest_are_sound_to_the_engine(path: str, value: float):
    """A manifest that `validate` accepts must never make an engine that refuses to start."""
    data = _with_number(path, value)
    if told(data):
        return  # a rule of the manifest itself refuses it; how many pass is bounded below
    assert EngineSettings(**json.loads(json.dumps(rendered(data)))).bot.name


def test_most_ends_are_accepted_by_the_manifest_alone():
    """Otherwise the test above would prove little."""
    accepted = [place for place in NUMBERS if not told(_with_number(*place))]
    assert len(accepted) > 0.75 * len(NUMBERS) > 40, [place for place in NUMBERS if place not in accepted]


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*FREE, *FIELDS, "x", "a.b", "bot"]) | st.text(max_size=12),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=8)
        | st.lists(st.integers(), max_size=2),
        max_size=6,
    )
)
def test_whatever_stands_under_engine_settings_is_refused_or_read_by_the_engine(stated: dict[str, Any]):
    """No traceback, no silent acceptance, no engine that refuses what validate let through."""
    data = manifest()
    data["spec"]["engine"]["settings"] = stated
    bot, problems = problems_of(data, catalogue())
    assert (bot is None) == bool(problems)
    if bot is not None:
        read = EngineSettings(**json.loads(json.dumps(rendered(data))))
        assert all(value_at(read, name) in (value, Path(str(value))) for name, value in stated.items())
