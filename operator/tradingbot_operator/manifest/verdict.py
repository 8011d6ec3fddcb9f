"""The verdict on one TradingBot: all of its problems at once, in its own words and with paths as people write them."""

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any

import based58
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tradingbot_operator.catalogue import Catalogue
from tradingbot_operator.crd.v1alpha1 import base
from tradingbot_operator.crd.v1alpha1.rules import ELEMENT_RULES, SPEC_RULES, UNIQUE
from tradingbot_operator.crd.v1alpha1.spec import TradingBotSpec
from tradingbot_operator.crd.v1alpha1.tradingbot import TradingBot
from tradingbot_operator.manifest.engine_settings import conflict_problems, setting_problems
from tradingbot_operator.manifest.problem import Path, Problem, shown, shown_text
from tradingbot_operator.wire.render import preview

PUBLIC_KEY_BYTES = 32

MESSAGES: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda ctx: "missing: state it",
    "greater_than_equal": lambda ctx: f"must be at least {_number(ctx['ge'])}",
    "greater_than": lambda ctx: f"must be greater than {_number(ctx['gt'])}",
    "less_than_equal": lambda ctx: f"must be at most {_number(ctx['le'])}",
    "less_than": lambda ctx: f"must be less than {_number(ctx['lt'])}",
    "string_too_short": lambda ctx: f"must have at least {ctx['min_length']} character(s)",
    "string_too_long": lambda ctx: f"must have at most {ctx['max_length']} characters",
    "too_long": lambda ctx: f"must have at most {ctx['max_length']} entries",
    "too_short": lambda ctx: f"must have at least {ctx['min_length']} entries",
    "int_type": lambda ctx: "must be a number without fraction",
    "int_from_float": lambda ctx: "must be a number without fraction",
    "float_type": lambda ctx: "must be a number",
    "finite_number": lambda ctx: "must be a finite number",
    "string_type": lambda ctx: "must be a string: put it in quotes",
    "bool_type": lambda ctx: "must be true or false",
    "list_type": lambda ctx: "must be a list",
    "dict_type": lambda ctx: "must be a map",
    "model_type": lambda ctx: "must be a map",
    "model_attributes_type": lambda ctx: "must be a map",
    "literal_error": lambda ctx: f"must be {ctx['expected'].replace(chr(39), '')}",
    "string_pattern_mismatch": lambda ctx: base.PATTERNS.get(ctx["pattern"], f"must match {ctx['pattern']}"),
}


def problems_of(data: Any, catalogue: Catalogue) -> tuple[TradingBot | None, list[Problem]]:
    """
    Judge a manifest.

    Args:
        data: The plain value of the document.
        catalogue: What the engine offers: strategies and their parameters.

    Returns:
        The bot, or None if there is any problem; and the problems in the order of the fields' paths.
    """
    problems: list[Problem] = []
    bot: TradingBot | None = None
    broken: list[Path] = []
    try:
        bot = TradingBot.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems += [_problem(detail, data) for detail in details]
        broken = [_path(detail) for detail in details]
    spec_data = data.get("spec") if isinstance(data, dict) else None
    if isinstance(spec_data, dict):
        spec = bot.spec if bot else _sound_part(spec_data, [path[1:] for path in broken if path[:1] == ("spec",)])
        if spec is not None:
            problems += _broken_rules(spec, spec_data, [path[1:] for path in broken if path[:1] == ("spec",)])
            problems += _engine_conflicts(spec, spec_data, catalogue)
        problems += setting_problems(_get(spec_data, ("engine", "settings")), catalogue.settings, _did_you_mean)
        problems += _broken_element_rules(spec_data)
        problems += _repeated(spec_data)
        problems += _beyond_the_schema(spec_data, broken, catalogue)
    unique = list(dict.fromkeys(problems))
    return (bot if not unique else None), unique


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else f"{value:.0f}"


def _path(detail: ErrorDetails) -> Path:
    return tuple(step for step in detail["loc"] if step != "[key]")


def _problem(detail: ErrorDetails, data: Any) -> Problem:
    path = _path(detail)
    if detail["type"] == "extra_forbidden":
        return Problem(path, f"unknown field: remove it{_did_you_mean(str(path[-1]), _siblings(path))}")
    if detail["type"] == "missing":
        return Problem(path, "missing: state it")
    make = MESSAGES.get(detail["type"])
    message = make(detail.get("ctx", {})) if make else detail["msg"]
    value = detail["input"]
    if detail["type"] == "literal_error" and isinstance(value, str):
        options = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
        message += _did_you_mean(value, options)
    return Problem(path, message, shown(value, path))


def _siblings(path: Path) -> list[str]:
    """Return the names of the fields that may stand beside the last step of a path."""
    model: Any = TradingBot
    for step in path[:-1]:
        if isinstance(step, int):
            continue
        field = next((f for f in model.model_fields.values() if f.alias == step), None)
        model = next((m for m in _models_in(field.annotation if field else None)), None)
        if model is None:
            return []
    return [str(f.alias) for f in model.model_fields.values()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)


def _did_you_mean(word: str, options: list[str]) -> str:
    lower = {option.lower(): option for option in options}
    close = get_close_matches(word.lower(), lower, n=1, cutoff=0.7)
    return f" (did you mean {lower[close[0]]}?)" if close else ""


def _sound_part(spec: dict[str, Any], broken: list[Path]) -> TradingBotSpec | None:
    """Return the spec without its broken fields, so that rules between the others can still be judged."""
    rest: Any = _copy(spec)
    for _ in range(64):
        for path in sorted(broken, key=_from_the_end, reverse=True):
            _remove(rest, path)
        try:
            return TradingBotSpec.model_validate(rest)
        except ValidationError as error:
            details = error.errors(include_url=False)
            broken = [_path(d)[:-1] if d["type"] == "missing" else _path(d) for d in details]
            if any(not path for path in broken):
                return None
    return None


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _from_the_end(path: Path) -> list[tuple[int, str]]:
    """Order paths such that elements leave a list from its end, and the others keep their index."""
    return [(step, "") if isinstance(step, int) else (-1, step) for step in path]


def _remove(value: Any, path: Path) -> None:
    """Take a field of a map, or an element of a list, away."""
    for step in path[:-1]:
        if isinstance(value, list):
            value = value[step] if isinstance(step, int) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    last = path[-1] if path else None
    if isinstance(value, dict):
        value.pop(last, None)
    elif isinstance(value, list) and isinstance(last, int) and last < len(value):
        value.pop(last)


def _steps(path: str) -> Path:
    return tuple(path.split("."))


def _overlap(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _get(data: Any, path: Path) -> Any:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _broken_rules(spec: TradingBotSpec, data: dict[str, Any], broken: list[Path]) -> Iterator[Problem]:
    for rule in SPEC_RULES:
        if any(_overlap(_steps(read), path) for read in rule.reads for path in broken):
            continue
        if not rule.holds(spec):
            yield _rule_problem(("spec", *_steps(rule.path)), rule.message, _get(data, _steps(rule.path)))


def _rule_problem(path: Path, message: str, value: Any) -> Problem:
    return Problem(path, message, "" if value is None or isinstance(value, dict | list) else shown(value, path))


def _broken_element_rules(data: dict[str, Any]) -> Iterator[Problem]:
    for place, model, rules in ELEMENT_RULES:
        elements = _get(data, _steps(place))
        for index, element in enumerate(elements if isinstance(elements, list) else []):
            try:
                sound = model.model_validate(element)
            except ValidationError:
                continue
            for rule in rules:
                if not rule.holds(sound):
                    path = ("spec", *_steps(place), index, *_steps(rule.path))
                    yield _rule_problem(path, rule.message, _get(element, _steps(rule.path)))


def _repeated(data: dict[str, Any]) -> Iterator[Problem]:
    for place, key in UNIQUE:
        first: dict[str, int] = {}
        elements = _get(data, _steps(place))
        for index, element in enumerate(elements if isinstance(elements, list) else []):
            value = element.get(key) if isinstance(element, dict) else None
            if not isinstance(value, str):
                continue
            if value in first:
                path = ("spec", *_steps(place), index, key)
                yield Problem(path, f"already stands in {place}[{first[value]}]: it must be unique", shown_text(value))
            first.setdefault(value, index)


def _beyond_the_schema(data: dict[str, Any], broken: list[Path], catalogue: Catalogue) -> Iterator[Problem]:
    """Check what no schema can say: keys on the curve's field, and the engine's catalogue."""
    yield from _no_public_key(("spec", "wallet", "address"), _get(data, ("wallet", "address")))
    tokens = _get(data, ("market", "tokens"))
    for index, token in enumerate(tokens if isinstance(tokens, list) else []):
        mint = token.get("mint") if isinstance(token, dict) else None
        yield from _no_public_key(("spec", "market", "tokens", index, "mint"), mint)
    feeds = _get(data, ("market", "feeds"))
    types = [feed.get("type") for feed in feeds if isinstance(feed, dict)] if isinstance(feeds, list) else []
    strategies = data.get("strategies")
    for index, strategy in enumerate(strategies if isinstance(strategies, list) else []):
        here: Path = ("spec", "strategies", index)
        if isinstance(strategy, dict) and not any(path[:4] == (*here, "type") for path in broken):
            yield from catalogue.problems(strategy, here, {t for t in types if isinstance(t, str)}, _did_you_mean)


def _engine_conflicts(spec: TradingBotSpec, data: dict[str, Any], catalogue: Catalogue) -> Iterator[Problem]:
    """Judge the sound entries of engine.settings against everything else that the spec says."""
    stated = _get(data, ("engine", "settings"))
    wrong = {problem.path[-1] for problem in setting_problems(stated, catalogue.settings, _did_you_mean)}
    sound = {name: value for name, value in spec.engine.settings.items() if name not in wrong}
    part = spec.model_copy(update={"engine": spec.engine.model_copy(update={"settings": sound})})
    return conflict_problems(part, preview(part), catalogue.settings, set(sound))


def _no_public_key(path: Path, value: Any) -> Iterator[Problem]:
    if not isinstance(value, str) or not re.fullmatch(base.BASE58[1:-1], value):
        return
    size = len(based58.b58decode(value.encode()))
    if size != PUBLIC_KEY_BYTES:
        yield Problem(path, f"must be a public key of {PUBLIC_KEY_BYTES} bytes, it holds {size}", shown_text(value))
