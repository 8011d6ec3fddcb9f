"""What the settings of an engine that is to trade must also be: known to the catalogue of strategies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradingbot_engine.core.catalogue import ParametersInvalid, parse_parameters
from tradingbot_engine.redact import scrub


def strategy_problems(data: Mapping[str, Any]) -> list[str]:
    """
    Return one line for each type or parameter that the catalogue does not have or allow; the form is judged elsewhere.

    Not asked where nothing is traded: a bot whose strategy this version does not know any more can still be drained, settled
    and audited.
    """
    lines: list[str] = []
    strategies = data.get("strategies")
    for n, stated in enumerate(strategies if isinstance(strategies, list | tuple) else ()):
        if not isinstance(stated, Mapping):
            continue
        type_, parameters = stated.get("type"), stated.get("parameters", {})
        if not isinstance(type_, str) or not isinstance(parameters, Mapping):
            continue
        try:
            parse_parameters(type_, parameters)
        except ParametersInvalid as error:
            lines += [scrub(f"strategies.{n}.{problem}") for problem in error.problems]
    return lines
