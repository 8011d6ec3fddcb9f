"""
`reconcile`: from the write of a change to the status about its generation, over 1,000 bots whose engines answer, but one.

Ten changes a second on bots by chance: another capital (the Deployment rolls) and a pause (the engine is told) in turn. One bot's
admin port takes connections and says nothing; that one is paused, so that its passes wait for it again and again. BOTS=100 makes it quick.
"""

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from support.bot_fleet import FLEET, HANGS, Watcher, all_reconciled, an_api_server, at_once, engines, let_run, manifest
from support.kube_person import Person, eventually
from support.operator_rig import operator

BOTS = int(os.environ.get("BOTS", "1000"))
CHANGES = 300
EVERY_S = 0.1
HUNG = 0


async def main(emit: Callable[..., None]) -> None:
    """Emit latency and memory."""
    with tempfile.TemporaryDirectory() as name, an_api_server() as api:
        async with Person(api.kubeconfig) as person, engines() as port:
            with operator(api.kubeconfig, Path(name), "--engine-every", "5s") as running:
                await running.ready()
                await at_once(person.create, [manifest(number) for number in range(BOTS)])
                await all_reconciled(person, BOTS)

                async def run(number: int) -> None:
                    await let_run(person, number, port=port, host=HANGS if number == HUNG else None)

                await at_once(run, range(BOTS))
                await all_trade(person)
                await change(person, HUNG, paused=True)
                print("all of them trade", file=sys.stderr, flush=True)
                took = await changes(person)
                rss_mib = running.rss_mib()
    took.sort()
    emit(f"reconcile p99 at 10 changes/s over {BOTS} bots", took[len(took) * 99 // 100], "s", "lower", None, 1.0)
    emit("reconcile p50", statistics.median(took), "s", "lower")
    emit("reconcile worst", took[-1], "s", "lower")
    emit("operator RSS", rss_mib, "MiB", "lower", None, 250)


async def all_trade(person: Person) -> None:
    """Wait until every bot but the one that hangs trades."""

    async def check() -> bool:
        bots = await person.list("TradingBot", FLEET)
        trading = sum((bot.get("status") or {}).get("phase") == "Trading" for bot in bots)
        await asyncio.sleep(0.5)
        return bool(trading >= BOTS - 1)

    await eventually(check, why="all trade", patience_s=600)


async def change(person: Person, number: int, **spec: object) -> int:
    """Change a bot; return its generation."""
    found = await person.edit("TradingBot", FLEET, f"bot-{number}", {"spec": spec})
    return int(found["metadata"]["generation"])


async def changes(person: Person) -> list[float]:
    """Make the changes at their pace; return how long each took to be told of in a status, in seconds."""
    watcher, dice = Watcher(person), random.Random(5)
    watching = asyncio.create_task(watcher.run())
    await asyncio.sleep(1)
    made: dict[tuple[str, int], float] = {}

    paused: set[int] = set()

    async def one(turn: int) -> None:
        number = dice.randrange(1, BOTS)
        spec: dict[str, object] = {"risk": {"capital": 10 + turn}}  # the Deployment rolls
        if turn % 2:
            paused.symmetric_difference_update({number})
            spec = {"paused": number in paused}
        began = time.monotonic()
        made.setdefault((f"bot-{number}", await change(person, number, **spec)), began)

    try:
        began, tasks = time.monotonic(), []
        for turn in range(CHANGES):
            await asyncio.sleep(max(0.0, began + turn * EVERY_S - time.monotonic()))
            tasks.append(asyncio.create_task(one(turn)))
        await asyncio.gather(*tasks)

        async def all_told() -> bool:
            return all(newest_about(watcher, key) is not None for key in made)

        await eventually(all_told, why="a status about each change")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return [max(0.0, float(newest_about(watcher, key) or 0) - at) for key, at in made.items()]


def newest_about(watcher: Watcher, key: tuple[str, int]) -> float | None:
    """Return when a status was first told of that is about this generation, or a later one that overtook it."""
    name, generation = key
    return min(
        (at for (other, about), at in watcher.seen.items() if other == name and about >= generation), default=None
    )
