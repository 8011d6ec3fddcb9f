"""
`apply-1000`: TradingBots that no node can take, applied at once and all reconciled, beside raw writes of the same objects.

The baseline is one client that creates the same bots and then every object that the operator made of them, on an API server of
its own; Kubernetes' controllers run beside both. BOTS=100 makes it quick.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.bot_fleet import FLEET, all_reconciled, an_api_server, at_once, children_of, manifest
from support.kube_person import Person
from support.operator_rig import operator

BOTS = int(os.environ.get("BOTS", "1000"))


async def main(emit: Callable[..., None]) -> None:
    """Emit both times."""
    bots = [manifest(number) for number in range(BOTS)]
    with tempfile.TemporaryDirectory() as name:
        reconciled_s, children, cpu_s = await by_the_operator(bots, Path(name))
    raw_s = await by_hand(bots, children)
    emit(f"apply-{BOTS} all reconciled", reconciled_s, "s", "lower", raw_s, round(2 * raw_s, 3))
    emit(f"apply-{BOTS} the operator's processor time", cpu_s, "s", "lower")


async def by_the_operator(bots: list[dict[str, Any]], folder: Path) -> tuple[float, list[dict[str, Any]], float]:
    """Return how long it took with an operator that was there before, what it made, and its processor time."""
    with an_api_server(controllers=True) as api, operator(api.kubeconfig, folder, "--engine-every", "5s") as running:
        await running.ready()
        async with Person(api.kubeconfig) as person:
            before_s = running.cpu_s()
            began_s = await at_once(person.create, bots)
            print(f"applied in {began_s:.1f} s", file=sys.stderr, flush=True)
            took_s = began_s + await all_reconciled(person, len(bots))
            cpu_s = running.cpu_s() - before_s
            print(f"reconciled in {took_s:.1f} s, {cpu_s:.1f} s of processor time", file=sys.stderr, flush=True)
            return took_s, await children_of(person, len(bots)), cpu_s


async def by_hand(bots: list[dict[str, Any]], children: list[dict[str, Any]]) -> float:
    """Return how long one client takes for the same objects."""
    with an_api_server(controllers=True) as api:
        async with Person(api.kubeconfig) as person:
            took_s = await at_once(person.create, bots) + await at_once(person.create, children)
            made = len(await person.list("Deployment", FLEET))
            if made != len(bots):
                raise RuntimeError(f"{made} of {len(bots)} bots")
    print(f"{len(bots) + len(children)} raw writes in {took_s:.1f} s", file=sys.stderr, flush=True)
    return took_s
