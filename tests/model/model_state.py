"""
The model's world: an abstract chain, shards, and intents with their tasks.

Heights are relative to the finalized height, which is always 0: time has no end, yet the states are finitely many. There is
no clock: a frozen pod is one that is not scheduled, a lease that ends too early is a take-over that comes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tradingbot_engine.core.intents import TERMINAL
from tradingbot_engine.domain.intents import IntentState

UNBORN = ""
"""State of an intent whose signal has not been claimed yet."""

NOBODY, CURRENT, OLD = 0, 1, 2
"""What a pod believes about a shard: nothing, that it holds the current epoch, or (wrongly) that an older one is current."""


class Attempt(NamedTuple):
    """
    One signed transaction.

    `last` is the last height that may include it (L + 1: validators compare the parent's height), -1 once that is final
    history. `landed`: 0 no, ±(k + 1) at height k, k = 0 for final; negative with an error. `ghost`: what the abandoned
    fork shows of it (0 nothing, 1 success, -1 error).
    """

    last: int
    sent: int
    landed: int
    ghost: int

    @property
    def final(self) -> bool:
        return self.landed in (1, -1)

    @property
    def dead(self) -> bool:
        """No block can hold it any more, and none does."""
        return self.last == -1 and self.landed == 0


class Task(NamedTuple):
    """What one pod's task believes about an intent's row, and the evidence it has in hand."""

    state: str
    n: int
    evidence: tuple[object, ...] = ()


class Intent(NamedTuple):
    """The ledger's row with its attempts, the tasks of all pods on it, and attempts that the ledger does not know."""

    state: str
    n: int
    attempts: tuple[Attempt, ...]
    tasks: tuple[Task | tuple[()], ...]
    loose: tuple[Attempt, ...] = ()


class Shard(NamedTuple):
    """The ledger's row (`holder` -1: free) and what each pod believes."""

    holder: int
    beliefs: tuple[int, ...]


class World(NamedTuple):
    """`tip` is the block that is being made, 0 to `finality` above the finalized one; `ghost`: a node stays on a dead fork."""

    tip: int
    ghost: int
    shards: tuple[Shard, ...]
    intents: tuple[Intent, ...]


@dataclass(frozen=True)
class Configuration:
    """How large the explored world is, what may go wrong in it, and which of the ledger's and driver's rules are in force."""

    pods: int = 2
    shards: int = 1
    intents: int = 1
    attempts: int = 2
    validity: int = 1
    """Blocks from a blockhash to its last valid height."""
    finality: int = 2
    """Blocks from the tip to the finalized one."""
    ghosts: bool = False
    errors: bool = True
    submitted: bool = True
    crashes: bool = True
    releases: bool = False
    one_process: bool = False
    """Both pods are tasks of one process under one epoch."""
    exits_of_one_position: bool = False
    told_too_low: int = 0
    """How many blocks the L of every attempt, as a node told it, is below the true one."""
    # --- rules of the ledger and of the driver, each removable
    compare_epoch: bool = True
    lock_shard: bool = True
    compare_state: bool = True
    compare_attempt: bool = True
    claim_checks_open_exit: bool = True
    journal_before_send: bool = True

    def born(self) -> World:
        """Return the first world: nobody holds a shard, no signal has been seen."""
        shard = Shard(-1, (NOBODY,) * self.pods)
        intent = Intent(UNBORN, 0, (), ((),) * self.pods)
        return World(self.finality, 0, (shard,) * self.shards, (intent,) * self.intents)


def settled(world: World) -> bool:
    """Tell whether every claimed intent has reached a terminal state."""
    return all(i.state == UNBORN or i.state in TERMINAL for i in world.intents)


def broken(config: Configuration, world: World) -> list[str]:
    """Return the properties that this world violates (P4 and P5 are not visible in one world)."""
    out = []
    winners = 0
    for intent in world.intents:
        n, state = intent.n, intent.state
        won = [k for k, a in enumerate(intent.attempts, 1) if a.landed == 1]
        strays = sum(a.landed == 1 for a in intent.loose)
        winners += bool(won or strays)
        if len(won) + strays > 1:
            out.append("P1")
        current = intent.attempts[n - 1] if 0 < n <= len(intent.attempts) else None
        over = state in (IntentState.EXPIRED, IntentState.FAILED, IntentState.ABANDONED)
        if (
            any(k != n or over for k in won)
            or (strays and not won and (over or state == IntentState.DONE))
            or (state == IntentState.FAILED and (current is None or current.landed != -1))
        ):
            out.append("P2")
        if state == IntentState.DONE and (current is None or current.landed != 1):
            out.append("P3")
    if config.exits_of_one_position and winners > 1:
        out.append("P7")
    return out


class Canon:
    """Finds the representative of all worlds that differ only in the names of pods, shards and intents; remembers its work."""

    def __init__(self, config: Configuration) -> None:
        self._config = config
        self._nobody = ((),) * config.pods
        self._intents: dict[tuple[Intent, int], tuple[Intent, Intent]] = {}
        self._shards: dict[tuple[Shard, ...], tuple[Shard, ...]] = {}

    def __call__(self, world: World) -> World:
        pairs = [self._intents.get((i, world.ghost)) or self._both(i, world.ghost) for i in world.intents]
        best = self._ordered(world, world.shards, tuple(p[0] for p in pairs))
        if self._config.pods != 2:
            return best
        shards = self._shards.get(world.shards)
        if shards is None:
            shards = self._shards[world.shards] = tuple(self._flip_shard(s) for s in world.shards)
        other = self._ordered(world, shards, tuple(p[1] for p in pairs))
        return other if other < best else best

    def _both(self, intent: Intent, ghost: int) -> tuple[Intent, Intent]:
        """Return the intent without what cannot matter any more, as it is and with the pods swapped."""

        def forget(a: Attempt) -> Attempt:
            shown = a.ghost if ghost else 0
            if a.dead:
                return Attempt(-1, 1, 0, shown)
            return Attempt(a.last, 1, a.landed, shown) if a.final else a

        tasks = self._nobody if intent.state in TERMINAL else intent.tasks
        attempts, loose = tuple(map(forget, intent.attempts)), tuple(map(forget, intent.loose))
        plain = Intent(intent.state, intent.n, attempts, tasks, loose)
        pair = self._intents[(intent, ghost)] = (plain, plain._replace(tasks=tasks[::-1]))
        return pair

    def _flip_shard(self, shard: Shard) -> Shard:
        holder = shard.holder if shard.holder < 0 or self._config.one_process else 1 - shard.holder
        return Shard(holder, shard.beliefs[::-1])

    def _ordered(self, world: World, shards: tuple[Shard, ...], intents: tuple[Intent, ...]) -> World:
        here = World(world.tip, world.ghost, shards, intents)
        if len(intents) != 2:
            return here
        return min(here, World(world.tip, world.ghost, shards[::-1], intents[::-1]))
