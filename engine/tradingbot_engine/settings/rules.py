"""
The rules between settings, as data: the engine judges by them, and publishes those that the operator can judge as well.

A rule looks at names; where one of them is broken in itself or unknown, the rule stays silent instead of repeating it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Loc = tuple[str | int, ...]


class View:
    """Settings by dotted name, as far as they are sound."""

    def __init__(self, groups: Mapping[str, Any], broken: Sequence[Loc] = ()) -> None:
        self._groups, self._broken = groups, broken

    def knows(self, name: str) -> bool:
        """Whether the setting's group was read and the setting itself is sound."""
        steps = tuple(name.split("."))
        if steps[0] not in self._groups:
            return False
        return not any(steps[: len(loc)] == loc[: len(steps)] for loc in self._broken)

    def __getitem__(self, name: str) -> Any:
        first, *rest = name.split(".")
        value = self._groups[first]
        for step in rest:
            value = getattr(value, step, None)
        return value


@dataclass(frozen=True, kw_only=True)
class Below:
    """`left` must be below `right × scale` (or equal to it, with `or_equal`); an absent value satisfies it."""

    left: str
    right: str
    scale: float = 1.0
    """Turns the unit of `right` into that of `left`."""
    or_equal: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return self.left, self.right

    def problem(self, view: View) -> str | None:
        """Return what is wrong and what would be right, or None."""
        left, right = view[self.left], view[self.right]
        if left is None or right is None:
            return None
        limit = right * self.scale
        if left < limit or (self.or_equal and left == limit):
            return None
        factor = f" × {self.scale:g}" if self.scale != 1 else ""
        word = "at most" if self.or_equal else "below"
        return f"{self.left}: {left:g} must be {word} {self.right}{factor}, which is {limit:g}"


@dataclass(frozen=True, kw_only=True)
class Needs:
    """While `name` has the value `value`, `needed` must have the value `be`."""

    name: str
    value: str | bool
    needed: str
    be: str | bool
    why: str

    @property
    def reads(self) -> tuple[str, ...]:
        return self.name, self.needed

    def problem(self, view: View) -> str | None:
        """Return what is wrong and what would be right, or None."""
        if view[self.name] != self.value or view[self.needed] == self.be:
            return None
        return f"{self.needed}: {_word(view[self.needed])} must be {_word(self.be)} with {self.name} {_word(self.value)}: {self.why}"


@dataclass(frozen=True, kw_only=True)
class Check:
    """A rule that only Python can say."""

    reads: tuple[str, ...]
    problem: Callable[[View], str | None]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _names_differ(view: View) -> str | None:
    names = [s.name for s in view["strategies"]]
    return None if len(set(names)) == len(names) else "strategies: names must differ"


def _allocations_fit(view: View) -> str | None:
    total = sum(s.allocation_percent for s in view["strategies"])
    return None if total <= 100 + 1e-9 else f"strategies: allocations sum to {total:g} %, at most 100 is possible"


def _live_has_a_key(view: View) -> str | None:
    if view["bot.mode"] != "Live" or view["wallet.key_file"] is not None:
        return None
    return "wallet.key_file: key_file is needed in mode Live"


Rule = Below | Needs | Check

RULES: tuple[Rule, ...] = (
    Check(reads=("strategies",), problem=_names_differ),
    Check(reads=("strategies",), problem=_allocations_fit),
    Check(reads=("bot.mode", "wallet.key_file"), problem=_live_has_a_key),
    Below(left="risk.max_position_percent", right="risk.max_strategy_percent", or_equal=True),
    Below(left="shutdown.trade_timeout_s", right="shutdown.force_timeout_s", or_equal=True),
    Below(left="queue.warning_threshold", right="queue.critical_threshold"),
    Below(left="screen.min_market_cap_usd", right="screen.max_market_cap_usd"),
    Below(left="screen.min_age_minutes", right="screen.max_age_hours", scale=60),
    Below(left="execution.poll_interval_s", right="execution.entry_max_age_s"),
    Needs(
        name="bot.mode",
        value="Live",
        needed="idempotency.enabled",
        be=True,
        why="real money is never traded without it",
    ),
)


def broken_rules(view: View) -> Iterator[str]:
    """Yield one line per broken rule whose settings are all sound."""
    for rule in RULES:
        if all(view.knows(name) for name in rule.reads) and (problem := rule.problem(view)) is not None:
            yield problem


def published_rules() -> list[dict[str, Any]]:
    """Return the rules that are plain comparisons, as JSON data for the operator."""
    out: list[dict[str, Any]] = []
    for rule in RULES:
        if isinstance(rule, Below):
            out.append(
                {
                    "rule": "atMost" if rule.or_equal else "below",
                    "left": rule.left,
                    "right": rule.right,
                    "scale": rule.scale,
                }
            )
        elif isinstance(rule, Needs):
            out.append(
                {
                    "rule": "needs",
                    "name": rule.name,
                    "value": rule.value,
                    "needed": rule.needed,
                    "be": rule.be,
                    "why": rule.why,
                }
            )
    return out
