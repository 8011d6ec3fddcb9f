"""Breadth first through every state, each remembered once; the shortest trace of every property that breaks."""

from __future__ import annotations

import time
from array import array
from collections.abc import Collection
from dataclasses import dataclass, field

from model.model_state import Canon, Configuration, World, broken, settled
from model.model_steps import Steps

from tradingbot_engine.core.intents import TERMINAL

MEANING = {
    "P1": "doubled: one intent landed twice",
    "P2": "lost: a trade landed that the ledger has given up, or calls failed",
    "P3": "phantom: DONE in the ledger, not final on the chain",
    "P4": "a row was written under an epoch older than the one issued",
    "P5": "stuck: no fair continuation settles every intent",
    "P7": "two exits of one position landed",
}


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

    def line(self, name: str) -> str:
        """Return the one-line summary that every run prints."""
        found = ", ".join(f"{p} in {len(t)} steps" for p, t in sorted(self.traces.items())) or "no property breaks"
        extent = "complete" if self.complete else "cut"
        return f"{name}: {self.states:,} states, depth {self.depth}, {extent}, {self.seconds:.1f} s: {found}"

    def told(self) -> str:
        """Return every trace, one step a line."""
        return "\n".join(
            f"  {p} ({MEANING[p]})\n" + "\n".join(f"    {n:2d}. {label}" for n, label in enumerate(trace, 1))
            for p, trace in sorted(self.traces.items())
        )


def explore(
    config: Configuration, *, until: Collection[str] = (), max_states: int = 1_000_000, progress: bool = True
) -> Exploration:
    """
    Visit every reachable world, breadth first, up to renaming of pods, shards and intents.

    Args:
        until: Stop as soon as all of these properties are broken; empty: visit everything.
        max_states: Stop there and call the search cut.
        progress: Check P5 when the search was complete and nothing else broke.
    """
    steps = Steps(config)
    canonical = Canon(config)
    born = canonical(config.born())
    numbers: dict[World, int] = {born: 0}
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
        for step in steps.after(worlds[number]):
            transitions += 1
            world = canonical(step.world)
            target = numbers.get(world)
            if target is None:
                target = numbers[world] = len(worlds)
                worlds.append(world)
                parents.append(number)
                depths.append(depths[number] + 1)
                for name in broken(config, world):
                    found.setdefault(name, (target, None))
                    if name in ("P1", "P7"):
                        doubled.add(target)
            if step.breaks and step.breaks not in found:
                found[step.breaks] = (number, step.label)
            if step.fair and progress:
                edges_from.append(number)
                edges_to.append(target)
    if complete and progress and not found:
        stuck = _stuck(worlds, edges_from, edges_to)
        if stuck is not None:
            found["P5"] = (stuck, None)
    outcomes = frozenset((i.state, i.n) for world in worlds for i in world.intents if i.state in TERMINAL)
    seconds = time.perf_counter() - started
    result = Exploration(len(worlds), transitions, depths[visited - 1], complete, seconds, outcomes)
    for name, (number, last) in found.items():
        path = []
        while number >= 0:
            path.append(worlds[number])
            number = parents[number]
        result.traces[name] = _relive(config, steps, canonical, path[::-1]) + ([last] if last else [])
    return result


def _stuck(worlds: list[World], edges_from: array[int], edges_to: array[int]) -> int | None:
    """Return the first world from which fair steps alone cannot settle everything, if there is one."""
    incoming: list[list[int]] = [[] for _ in worlds]
    for a, b in zip(edges_from, edges_to, strict=True):
        incoming[b].append(a)
    good = bytearray(len(worlds))
    todo = [n for n, world in enumerate(worlds) if settled(world)]
    for n in todo:
        good[n] = 1
    while todo:
        for a in incoming[todo.pop()]:
            if not good[a]:
                good[a] = 1
                todo.append(a)
    return next((n for n, ok in enumerate(good) if not ok), None)


def _relive(config: Configuration, steps: Steps, canonical: Canon, path: list[World]) -> list[str]:
    """Walk the path again with the pods' own names, and return its labels."""
    here, labels = config.born(), []
    for wanted in path[1:]:
        step = next(s for s in steps.after(here) if canonical(s.world) == wanted)
        labels.append(step.label)
        here = step.world
    return labels
