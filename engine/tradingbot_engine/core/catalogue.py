"""What strategies there are, told to people and to the operator; and the only judge of their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from tradingbot_engine import __version__
from tradingbot_engine.core.strategies.base import Strategy, Value
from tradingbot_engine.core.strategies.registry import STRATEGIES
from tradingbot_engine.errors import PermanentError

POOL_FEEDS = ("bars_1m", "closes_1m", "liquidity")
"""Feeds that the pools themselves deliver, without any being configured."""


class ParametersInvalid(PermanentError):
    """A strategy's type or parameters cannot be used; `problems` has one line for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def catalogue() -> dict[str, Any]:
    """Return the catalogue as plain JSON data: engine version and, per strategy, version, feeds and parameters."""
    return {
        "engineVersion": __version__,
        "poolFeeds": list(POOL_FEEDS),
        "strategies": [
            {
                "name": strategy.name,
                "version": strategy.version,
                "description": strategy.description,
                "feeds": list(strategy.feeds),
                "warmUpMinutes": strategy.warm_up_minutes,
                "parameters": [
                    {
                        "name": p.name,
                        "type": p.type,
                        "default": p.default,
                        "minimum": p.minimum,
                        "maximum": p.maximum,
                        "unit": p.unit,
                        "description": p.description,
                    }
                    for p in strategy.parameters
                ],
            }
            for strategy in STRATEGIES.values()
        ],
    }


def parse_parameters(type_: str, parameters: Mapping[str, Any]) -> dict[str, Value]:
    """
    Return a value for every parameter of a strategy, defaults filled in.

    Raises:
        ParametersInvalid: The type is unknown, or parameters are; a value has the wrong type, is out of range, or
            contradicts another. All faults at once, each with field, value, and what would be right.
    """
    strategy = STRATEGIES.get(type_)
    if strategy is None:
        raise ParametersInvalid(
            [f"type: {type_!r} is unknown{_hint(type_, STRATEGIES)}; known are {', '.join(STRATEGIES)}"]
        )
    declared = {p.name: p for p in strategy.parameters}
    values: dict[str, Value] = {p.name: p.default for p in strategy.parameters}
    problems = []
    for name, value in parameters.items():
        parameter = declared.get(name)
        if parameter is None:
            problems.append(
                f"parameters.{name}: {value!r}: unknown{_hint(name, declared)}; {type_} has {', '.join(declared)}"
            )
        elif (fault := parameter.fault(value)) is not None:
            problems.append(f"parameters.{name}: {value!r}: {fault}")
        else:
            values[name] = value
    if not problems:
        problems = [f"parameters.{n}: {values[n]!r}: {right}" for n, right in strategy.conflicts(values)]
    if problems:
        raise ParametersInvalid(problems)
    return values


def make_strategy(type_: str, parameters: Mapping[str, Any]) -> Strategy:
    """Return a strategy with checked parameters; raises ParametersInvalid."""
    values = parse_parameters(type_, parameters)
    return STRATEGIES[type_](values)


def _hint(name: object, known: Mapping[str, object]) -> str:
    close = get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
