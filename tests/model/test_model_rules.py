"""Each rule left out of the model breaks the property that it is there for; the shortest trace is printed."""

from __future__ import annotations

from functools import cache

import pytest
from _pytest.mark import ParameterSet
from model.model_explore import MEANING, Exploration, explore
from model.model_rules import MASKED, RULES, Patch, Rule
from model.model_state import Configuration


@cache
def _whole(world: Configuration) -> Exploration:
    """Explore with every rule in force."""
    return explore(world)


def _cases() -> list[ParameterSet]:
    return [pytest.param(r, id=r.name, marks=[pytest.mark.slow] if r.large else []) for r in RULES]


@pytest.mark.parametrize("rule", _cases())
def test_leaving_out_a_rule_breaks_its_property(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rule every state is sound; without it the named property breaks."""
    if rule.also:
        rule.also(monkeypatch)
    whole = explore(rule.sound) if rule.also else _whole(rule.sound)
    assert whole.complete
    assert not whole.traces, f"breaks although the rule is kept\n{whole.told()}"

    if rule.without:
        rule.without(monkeypatch)
    without = explore(rule.world, until=[rule.breaks])
    print(f"\n{without.line(f'without: {rule.name}')}\n{without.told()}")
    assert rule.breaks in without.traces, f"{rule.name}: {MEANING[rule.breaks]} was expected, and nothing breaks"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "world", "without"), MASKED, ids=[m[0] for m in MASKED])
def test_a_rule_with_a_second_line_of_defence_costs_no_trade_alone(
    name: str, world: Configuration, without: Patch | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The witness makes four checks of rule E doubly sure, state and attempt do so for the epoch: known, not assumed."""
    if without:
        without(monkeypatch)
    found = explore(world)
    print(f"\n{found.line(f'without: {name}')}")
    assert found.complete
    assert not set(found.traces) - {"P4"}, found.told()
