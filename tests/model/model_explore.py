"""Breadth first through every state, each remembered once; the shortest trace of every property that breaks."""

from __future__ import annotations

import time
from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from model.model_state import Canon, Configuration, World, broken, settled
from model.model_steps import Step, Steps

from tradingbot_engine.core.intents import TERMINAL

MEANING = {
    "P1": "doubled: one intent landed twice",
    "P2": "lost: a trade landed that the ledger has given up, or calls failed",
    "P3": "phantom: DONE in the ledger, not final on the chain",
    "P4": "a row was written under an epoch older than the one issued",
    "P5": "stuck: no fair continuation settles every intent",
    "P7": "two exits of one position landed",
}


class Model(Protocol):
    """A world that can be explored; its states are values that compare and hash."""

    def born(self) -> Any:
        """Return the first state."""

    def after(self, world: Any) -> list[Step]:
        """Return every transition that leaves a state."""

    def canonical(self, world: Any) -> Any:
        """Return the representative of all states that differ only in names."""

    def broken(self, world: Any) -> list[str]:
        """Return the properties that a state violates by itself."""

    def settled(self, world: Any) -> bool:
        """Tell whether nothing is left to be done."""

    def outcomes(self, world: Any) -> set[tuple[str, int]]:
        """Return the ends that intents have come to."""


class ChainModel:
    """The world of `model_state` and `model_steps`."""

    def __init__(self, config: Configuration) -> None:
        self._config = config
        self.born, self.after, self.canonical, self.settled = config.born, Steps(config).after, Canon(config), settled

    def broken(self, world: World) -> list[str]:
        return broken(self._config, world)

    def outcomes(self, world: World) -> set[tuple[str, int]]:
        return {(i.state, i.n) for i in world.intents if i.state in TERMINAL}


@dataclass
class Exploration:
    """What a search saw: `complete` tells that no reachable state was left out, `traces` holds the shortest way to each fault."""

    states: int
    transitions: int
    depth: int
    complete: bool
    seconds: float
    outcomes: frozenset[tuple[str, int]]
    """Every (terminal state, attempt) that some world settles an intent in."""
    traces: dict[str, list[str]] = field(default_factory=dict)
    meaning: Mapping[str, str] = field(default_factory=lambda: MEANING)

    def line(self, name: str) -> str:
        """Return the one-line summary that every run prints."""
        found = ", ".join(f"{p} in {len(t)} steps" for p, t in sorted(self.traces.items())) or "no property breaks"
        extent = "complete" if self.complete else "cut"
        return f"{name}: {self.states:,} states, depth {self.depth}, {extent}, {self.seconds:.1f} s: {found}"

    def told(self) -> str:
        """Return every trace, one step a line."""
        return "\n".join(
            f"  {p} ({self.meaning[p]})\n" + "\n".join(f"    {n:2d}. {label}" for n, label in enumerate(trace, 1))
            for p, trace in sorted(self.traces.items())
        )


def explore(
    config: Configuration, *, until: Collection[str] = (), max_states: int = 1_000_000, progress: bool = True
) -> Exploration:
    """Visit every reachable world of the chain's model, see `explore_model`."""
    return explore_model(ChainModel(config), until=until, max_states=max_states, progress=progress)


def explore_model(
    model: Model,
    *,
    until: Collection[str] = (),
    max_states: int = 1_000_000,
    progress: bool = True,
    ends: Collection[str] = ("P1", "P7"),
    meaning: Mapping[str, str] = MEANING,
) -> Exploration:
    """
    Visit every reachable world, breadth first, up to renaming of pods, shards and intents.

    Args:
        model: The world.
        ends: Properties behind whose violation nothing is to be learned.
        meaning: What the properties' names stand for.
        until: Stop as soon as all of these properties are broken; empty: visit everything.
        max_states: Stop there and call the search cut.
        progress: Check P5 when the search was complete and nothing else broke.
    """
    canonical = model.canonical
    born = canonical(model.born())
    numbers: dict[Any, int] = {born: 0}
    worlds = [born]
    parents, depths = array("i", [-1]), array("i", [0])
    edges_from, edges_to = array("i"), array("i")
    found: dict[str, tuple[int, str | None]] = {}
    doubled: set[int] = set()
    transitions = visited = 0
    complete = True
    started = time.perf_counter()
    while visited < len(worlds):
        if len(worlds) > max_states or (until and all(p in found for p in until)):
            complete = False
            break
        number = visited
        visited += 1
        if number in doubled:
            continue  # nothing is to be learned behind a double
        for step in model.after(worlds[number]):
            transitions += 1
            world = canonical(step.world)
            target = numbers.get(world)
            if target is None:
                target = numbers[world] = len(worlds)
                worlds.append(world)
                parents.append(number)
                depths.append(depths[number] + 1)
                for name in model.broken(world):
                    found.setdefault(name, (target, None))
                    if name in ends:
                        doubled.add(target)
            if step.breaks and step.breaks not in found:
                found[step.breaks] = (number, step.label)
            if step.fair and progress:
                edges_from.append(number)
                edges_to.append(target)
    if complete and progress and not found:
        stuck = _stuck(model, worlds, edges_from, edges_to)
        if stuck is not None:
            found["P5"] = (stuck, None)
    outcomes = frozenset(end for world in worlds for end in model.outcomes(world))
    seconds = time.perf_counter() - started
    result = Exploration(len(worlds), transitions, depths[visited - 1], complete, seconds, outcomes, meaning=meaning)
    for name, (number, last) in found.items():
        path = []
        while number >= 0:
            path.append(worlds[number])
            number = parents[number]
        result.traces[name] = _relive(model, path[::-1]) + ([last] if last else [])
    return result


def _stuck(model: Model, worlds: list[Any], edges_from: array[int], edges_to: array[int]) -> int | None:
    """Return the first world from which fair steps alone cannot settle everything, if there is one."""
    incoming: list[list[int]] = [[] for _ in worlds]
    for a, b in zip(edges_from, edges_to, strict=True):
        incoming[b].append(a)
    good = bytearray(len(worlds))
    todo = [n for n, world in enumerate(worlds) if model.settled(world)]
    for n in todo:
        good[n] = 1
    while todo:
        for a in incoming[todo.pop()]:
            if not good[a]:
                good[a] = 1
                todo.append(a)
    return next((n for n, ok in enumerate(good) if not ok), None)


def _relive(model: Model, path: list[Any]) -> list[str]:
    """Walk the path again with the pods' own names, and return its labels."""
    here, labels = model.born(), []
    for wanted in path[1:]:
        step = next(s for s in model.after(here) if model.canonical(s.world) == wanted)
        labels.append(step.label)
        here = step.world
    return labels
