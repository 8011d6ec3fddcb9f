"""What a chaos run counted."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Report:
    """Counts of one run, or of several added up."""

    seeds: list[int] = field(default_factory=list)
    seconds: float = 0.0
    trades: int = 0
    """Intents that were filled."""
    states: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    acts: Counter[str] = field(default_factory=Counter)
    """What went wrong on purpose, by kind."""
    kills_at: Counter[str] = field(default_factory=Counter)
    """Deaths by SIGKILL per crash point."""
    kills_at_random: int = 0
    attempts_open_at_kill: int = 0
    engines: int = 0
    epochs: int = 0
    zombies: int = 0
    """Engines that were stopped, succeeded, and woken."""
    zombies_refused: int = 0
    """Zombies whose writes the ledger refused: a fenced task or loop in the log, or an exit by itself."""
    frozen_in_transaction: int = 0
    forks: int = 0
    forks_of_confirmed_trades: int = 0
    """Trades that were CONFIRMED in the ledger while a fork abandoned their block."""
    forked_away: int = 0
    """Moves from CONFIRMED back to SUBMITTED: real forks, restarts of localnet, and nodes that sit on dead forks."""
    expired: int = 0
    """Attempts that rule E ended."""
    expired_then_retried: int = 0
    runners_killed: int = 0
    localnets_killed: int = 0
    failed_on_chain: int = 0
    internal_errors: int = 0
    """Engines' tasks that ended by an error that they did not expect; must be 0."""
    written_under_old_epochs: int = 0
    """Rows that were written under an epoch after a newer one was issued; must be 0."""
    audit: dict[str, int] = field(default_factory=dict)

    def add(self, other: Report) -> None:
        """Add another run's counts."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, Counter):
                mine.update(value)
            elif isinstance(mine, dict):
                setattr(self, name, {k: mine.get(k, 0) + value.get(k, 0) for k in {**mine, **value}})
            else:
                setattr(self, name, mine + value)

    @property
    def kills(self) -> int:
        """All deaths of engines by SIGKILL."""
        return self.kills_at_random + sum(self.kills_at.values())

    @property
    def verdict(self) -> dict[str, int]:
        return {name: int(self.audit.get(name, -1)) for name in ("doubled", "lost", "phantom")}

    def as_data(self) -> dict[str, Any]:
        """Return every count, ready for JSON."""
        return {**vars(self), "kills": self.kills, **self.verdict}

    def lines(self) -> list[str]:
        """Return the report for people."""
        points = ", ".join(f"{name} {count}" for name, count in sorted(self.kills_at.items())) or "none"
        acts = ", ".join(f"{name} {count}" for name, count in sorted(self.acts.items())) or "none"
        states = ", ".join(f"{name} {count}" for name, count in sorted(self.states.items()))
        return [
            f"seeds {self.seeds}, {self.seconds:.0f} s",
            f"trades                        {self.trades}  ({states}; {self.attempts} attempts)",
            f"engines killed                {self.kills}  ({self.kills_at_random} at random; {points})",
            f"attempts open at kill         {self.attempts_open_at_kill}",
            f"engines, epochs issued        {self.engines}, {self.epochs}",
            f"zombies, of these refused     {self.zombies}, {self.zombies_refused}",
            f"frozen inside a transaction   {self.frozen_in_transaction}",
            f"runners, localnets killed     {self.runners_killed}, {self.localnets_killed}",
            f"forks, of confirmed trades    {self.forks}, {self.forks_of_confirmed_trades}  ({self.forked_away} moves back to SUBMITTED)",
            f"expired, then retried         {self.expired}, {self.expired_then_retried}",
            f"written under an old epoch    {self.written_under_old_epochs}",
            f"internal errors               {self.internal_errors}",
            f"failed on chain               {self.failed_on_chain}",
            f"what went wrong               {acts}",
            f"audit                         {json.dumps(self.audit, sort_keys=True)}",
            "doubled {doubled}  lost {lost}  phantom {phantom}".format(**self.verdict),
        ]
