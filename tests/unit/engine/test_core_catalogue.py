"""The catalogue: what strategies there are, and the judgement of their parameters."""

from __future__ import annotations

import json
from math import inf, nan

import pytest

from tradingbot_engine import __version__
from tradingbot_engine.core.catalogue import ParametersInvalid, catalogue, make_strategy, parse_parameters
from tradingbot_engine.core.state import CoreState, StrategyConfig
from tradingbot_engine.core.strategies.registry import STRATEGIES
from tradingbot_engine.errors import PermanentError


def test_the_catalogue_is_plain_json_and_names_every_registered_strategy():
    """The operator reads it as JSON; a strategy is published by its registry line alone."""
    data = catalogue()
    assert json.loads(json.dumps(data)) == data
    assert data["engineVersion"] == __version__
    assert [s["name"] for s in data["strategies"]] == list(STRATEGIES) == ["momentum_5m", "mean_revert_1h"]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (
            "momentum_5m",
            {
                "minReturnPercent": 5, "volumeRatio": 2, "minLiquidityUsd": 10_000, "maxImpactPercent": 1,
                "takeProfitPercent": 10, "stopLossPercent": 5, "maxHoldMinutes": 30, "cooldownMinutes": 15,
            },
        ),
        (
            "mean_revert_1h",
            {
                "entryZ": -2, "minDeviationPercent": 0.5, "minReturn24hPercent": -30, "minLiquidityChangePercent": -10,
                "exitZ": 0, "stopZ": -4, "stopLossPercent": 8, "maxHoldMinutes": 120,
            },
        ),
    ],
)  # fmt: skip
def test_defaults_are_the_design_s_numbers(strategy, expected):
    """What the design states is what an empty manifest trades."""
    assert parse_parameters(strategy, {}) == expected


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_default_and_both_ends_of_every_range_are_accepted_and_beyond_is_not(strategy):
    """Ranges are inclusive, and a default lies within its own."""
    for p in STRATEGIES[strategy].parameters:
        assert p.fault(p.default) is None
        assert p.description
        assert p.minimum is not None
        assert p.maximum is not None
        for value, right in ((p.minimum, True), (p.maximum, True), (p.minimum - 1, False), (p.maximum + 1, False)):
            value = int(value) if p.type == "integer" else value
            assert (p.fault(value) is None) is right, (p.name, value)


@pytest.mark.parametrize("value", [nan, inf, -inf, True, "5", None, [5], {}])
def test_values_that_are_no_numbers_are_refused(value):
    """A boolean is no number, and NaN compares with nothing."""
    with pytest.raises(ParametersInvalid, match=r"parameters\.volumeRatio"):
        parse_parameters("momentum_5m", {"volumeRatio": value})


def test_all_faults_are_told_at_once_with_field_value_and_what_is_right():
    """One round of correction is enough."""
    with pytest.raises(ParametersInvalid) as caught:
        parse_parameters(
            "momentum_5m", {"volumeRatio": 101, "maxHoldMinutes": 2.5, "stopLosPercent": 4, "minReturnPercent": 0}
        )
    assert caught.value.problems == [
        "parameters.volumeRatio: 101: must be at most 100 ×",
        "parameters.maxHoldMinutes: 2.5: must be a whole number",
        "parameters.stopLosPercent: 4: unknown (did you mean stopLossPercent?); momentum_5m has minReturnPercent, volumeRatio, "
        "minLiquidityUsd, maxImpactPercent, takeProfitPercent, stopLossPercent, maxHoldMinutes, cooldownMinutes",
        "parameters.minReturnPercent: 0: must be at least 0.1 %",
    ]
    assert isinstance(caught.value, PermanentError)


def test_values_that_contradict_each_other_are_refused():
    """Each is in its range, together they make no sense: a stop above the entry would sell at once."""
    with pytest.raises(ParametersInvalid) as caught:
        parse_parameters("mean_revert_1h", {"entryZ": -3, "stopZ": -2, "exitZ": -5})
    assert caught.value.problems == [
        "parameters.stopZ: -2: must be below entryZ (-3)",
        "parameters.exitZ: -5: must be above entryZ (-3)",
    ]


def test_an_unknown_strategy_is_refused_with_a_hint():
    """Nobody should have to look up how it is spelt."""
    with pytest.raises(ParametersInvalid, match=r"did you mean momentum_5m\?.*known are momentum_5m, mean_revert_1h"):
        make_strategy("momentum_5n", {})


def test_a_core_is_not_made_with_wrong_parameters():
    """The engine refuses at its start, not at the first bar."""
    with pytest.raises(ParametersInvalid):
        CoreState.create([], [StrategyConfig("m", "momentum_5m", {"volumeRatio": -1})])
