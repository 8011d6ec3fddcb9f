"""
`apply-1000`: TradingBots that no node can take, applied at once and all reconciled, beside raw writes of the same objects.

The baseline is one client that creates the same bots and then every object that the operator made of them. Both are done in turn
(operator, client, client, operator for ROUNDS=2), each on an API server of its own with Kubernetes' controllers beside it, so that
a machine which slows down meanwhile slows both; the goal stands for the medians. BOTS=100 makes it quick.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from support.bot_fleet import FLEET, all_reconciled, an_api_server, at_once, children_of, manifest
from support.kube_person import Person
from support.operator_rig import operator

BOTS = int(os.environ.get("BOTS", "1000"))
ROUNDS = int(os.environ.get("ROUNDS", "2"))


async def main(emit: Callable[..., None]) -> None:
    """Emit both times, and what both cost in processor time."""
    bots = [manifest(number) for number in range(BOTS)]
    children: list[dict[str, Any]] = []
    ours: list[tuple[float, float, float]] = []
    raw: list[tuple[float, float]] = []
    for turn in range(ROUNDS):
        if turn % 2:
            raw.append(await by_hand(bots, children))
        with tempfile.TemporaryDirectory() as name:
            children, *figures = await by_the_operator(bots, Path(name))
        ours.append((figures[0], figures[1], figures[2]))
        if not turn % 2:
            raw.append(await by_hand(bots, children))
    took_s, all_cpu_s, operator_cpu_s = (statistics.median(column) for column in zip(*ours, strict=True))
    raw_s, raw_cpu_s = (statistics.median(column) for column in zip(*raw, strict=True))
    emit(f"apply-{BOTS} all reconciled", took_s, "s", "lower", raw_s, round(2 * raw_s, 3))
    emit(f"apply-{BOTS} processor time of all that take part", all_cpu_s, "s", "lower", raw_cpu_s)
    emit(f"apply-{BOTS} the operator's processor time", operator_cpu_s, "s", "lower")


async def by_the_operator(bots: list[dict[str, Any]], folder: Path) -> tuple[list[dict[str, Any]], float, float, float]:
    """Return what an operator made that was there before, how long it took, and the processor time of all and its own."""
    with an_api_server(controllers=True) as api, operator(api.kubeconfig, folder, "--engine-every", "5s") as running:
        await running.ready()
        async with Person(api.kubeconfig) as person:
            before_s, all_before_s = running.cpu_s(), all_cpu_s()
            began_s = await at_once(person.create, bots)
            print(f"applied in {began_s:.1f} s", file=sys.stderr, flush=True)
            took_s = began_s + await all_reconciled(person, len(bots))
            cpu_s, together_s = running.cpu_s() - before_s, all_cpu_s() - all_before_s
            print(
                f"reconciled in {took_s:.1f} s, {together_s:.1f} s of processor time, the operator's {cpu_s:.1f} s of it",
                file=sys.stderr, flush=True,
            )  # fmt: skip
            return await children_of(person, len(bots)), took_s, together_s, cpu_s


async def by_hand(bots: list[dict[str, Any]], children: list[dict[str, Any]]) -> tuple[float, float]:
    """Return how long one client takes for the same objects, and the processor time of all that take part."""
    with an_api_server(controllers=True) as api:
        async with Person(api.kubeconfig) as person:
            before_s, began = all_cpu_s(), time.monotonic()
            await at_once(person.create, bots)
            await at_once(person.create, children)
            took_s, cpu_s = time.monotonic() - began, all_cpu_s() - before_s
            made = len(await person.list("Deployment", FLEET))
            if made != len(bots):
                raise RuntimeError(f"{made} of {len(bots)} bots")
    print(
        f"{len(bots) + len(children)} raw writes in {took_s:.1f} s, {cpu_s:.1f} s of processor time",
        file=sys.stderr,
        flush=True,
    )
    return took_s, cpu_s


def all_cpu_s() -> float:
    """Return the processor time of this process and all that it started and that still run: servers, controllers, operator."""
    here = psutil.Process()
    found = 0.0
    for process in (here, *here.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found += times.user + times.system
    return found
