"""
The engine's own command line with one strategy more, so that a chaos run has something to break.

With CHAOS_BREAK set one rule of the protocol is broken as well: a storm that does not notice would be worth nothing.
"""

from __future__ import annotations

import os

from chaos.metronome import Metronome
from mutants.mutate import mutated

from tradingbot_engine.__main__ import main
from tradingbot_engine.core.strategies import registry
from tradingbot_engine.execution.trade import TradeDriver

LOOK = "            reading = await self._executor.look("
PATIENCE = (
    "            if course.sends > 5 and record.state is not IntentState.CONFIRMED:\n"
    "                return await self._journal.move(record, ownership, E.EXPIRE)\n"
)
"""A new attempt after a timeout: one second of sending is taken for proof."""


def break_rule(name: str) -> None:
    """Break the named rule in this process."""
    assert name == "timeout", f"there is no way to break {name}"
    TradeDriver._follow = mutated(TradeDriver._follow, (LOOK, PATIENCE + LOOK))  # type: ignore[method-assign]


registry.STRATEGIES[Metronome.name] = Metronome  # type: ignore[index]

if __name__ == "__main__":
    if rule := os.environ.get("CHAOS_BREAK"):
        break_rule(rule)
    main()
