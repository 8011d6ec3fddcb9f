"""
Break the world while real engines trade, and let the chain say whether any trade was lost or doubled.

    python tests/chaos/run.py --seeds 3 --trades 60 [--minutes 8] [--seed-base 1] [--ledger postgres] [--mark Guard]

Of three seeds one trades on PostgreSQL (if it is installed) and one with the guard on chain, unless told; which, follows from
the seed. Storms of more than 200 trades are paced (`pace.py`). Afterwards the storms themselves are judged: an engine that
signs again after a timeout (`naive.py`) must double trades in them, and so must the real engine with one rule broken
(`launch.py`); else the chaos is too weak. --no-naive and --no-broken leave these out, --naive runs the first alone.

Exit codes: 0 nothing doubled, lost or phantom, and the run covered enough; 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
import asyncpg
from chaos.faults import Plan
from chaos.minima import faults_of, shortfalls
from chaos.naive import NaiveStorm
from chaos.pace import DENSE_TRADES, Pace
from chaos.report import Report
from chaos.storm import Storm
from chaos.world import Setup, World
from support.postgres import MISSING, Server, programs, server

CROWD: dict[str, Any] = {"lanes": 6, "hold_bars": (3, 3, 4, 4, 5, 5), "workers": 32, "slippage_bps": 150}
"""
Long storms trade with more at once, fewer fail on the price, and exits mostly stand on final entries. What cannot land holds
the next engine up, which resolves first what the last one left open: so does an exit of more than the wallet has, after
another one sold what a fork then made less of. Short storms sell after one bar, and have all of that.
"""
BROKEN_TRADES, BROKEN_S = 60, 90.0
"""How much an engine with a broken rule trades in one storm."""
NAIVE_TRADES, NAIVE_S = 600, 80.0
"""How much the naive engine trades in one storm: it is fast, since it never looks twice."""


@dataclass(frozen=True)
class Variant:
    """On what the engines of a run trade."""

    postgres: Server | None = None
    """A server for the ledgers of `ledger`; SQLite without."""
    ledger: str = "both"
    mark: str = "both"
    broken: str = ""
    """A rule that the engines break on purpose (see `launch.py`)."""

    def postgres_for(self, seed: int) -> Server | None:
        """Return the server that holds this seed's ledger; None for SQLite."""
        return self.postgres if self.ledger == "postgres" or (self.ledger == "both" and seed % 3 == 2) else None

    def mark_for(self, seed: int) -> str:
        """Return how this seed's transactions are marked."""
        return ("Guard" if seed % 3 == 0 else "Memo") if self.mark == "both" else self.mark


PLAIN = Variant(ledger="sqlite", mark="Memo")


async def one_seed(
    seed: int,
    *,
    trades: int,
    limit_s: float,
    directory: Path,
    naive: bool,
    say: bool,
    variant: Variant,
    before: Report,
) -> Report:
    """Run one seed to its audit; `before`: what the run has counted so far."""
    postgres = variant.postgres_for(seed)
    url = await new_database(postgres, f"seed_{seed}") if postgres else None
    dense = trades <= DENSE_TRADES
    crowd = {} if dense or naive else CROWD
    setup = Setup(seed=seed, ledger_url=url, mark=variant.mark_for(seed), broken=variant.broken, **crowd)
    async with aiohttp.ClientSession() as http:
        world = World(setup=setup, directory=directory, http=http)
        plan = Plan(seed, nodes=setup.nodes, slot_ms=setup.slot_ms, dense=dense)
        pace = Pace(plan, dense=dense)
        await world.start()
        storm = NaiveStorm(world, plan, say=say) if naive else Storm(world, pace, before=before, say=say)
        try:
            await storm.rage(trades=trades, limit_s=limit_s)
            await storm.settle()
        finally:
            await storm.end()
            await world.stop()
    return storm.report


async def new_database(postgres: Server, name: str) -> str:
    """Return the address of an empty database."""
    admin = await asyncpg.connect(postgres.url())
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    return postgres.url(name)


async def run(
    *,
    seeds: list[int],
    trades: int,
    limit_s: float | None,
    naive: bool = False,
    keep: Path | None = None,
    say: bool = False,
    variant: Variant = PLAIN,
    at_once: int = 1,
) -> Report:
    """
    Run all seeds, and add up what they counted.

    Args:
        seeds: One storm each.
        trades: Filled trades per seed.
        limit_s: Seconds for everything; shared by the seeds. None: 2 s per trade.
        variant: Ledgers and marks.
        at_once: Storms that rage at the same time, each in a world of its own; one engine waits for the chain most of the time.
        keep: Where logs, ledgers and chains are kept; a temporary directory that goes away by default.
    """
    total = Report()
    base = keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    deadline = time.monotonic() + (limit_s if limit_s is not None else len(seeds) * (60 + 2 * trades))
    sound = False
    left = len(seeds)
    room = asyncio.Semaphore(at_once)

    async def rage(seed: int) -> None:
        nonlocal left
        async with room:
            rounds = -(-left // at_once)  # how often this room is still given away, this time included
            left -= 1
            report = await one_seed(
                seed,
                trades=trades,
                limit_s=max(10.0, (deadline - time.monotonic()) / rounds - 20),
                directory=base / f"seed-{seed}",
                naive=naive,
                say=say,
                variant=variant,
                before=total,
            )
        total.add(report)
        if say:
            where = "PostgreSQL" if variant.postgres_for(seed) else "SQLite"
            print(
                f"seed {seed} ({where}, {variant.mark_for(seed)}): {report.trades} trades, {report.seconds:.0f} s, "
                f"{report.kills} kills, {report.verdict}",
                flush=True,
            )

    try:
        async with asyncio.TaskGroup() as storms:
            for seed in seeds:
                storms.create_task(rage(seed), name=f"storm-{seed}")
        sound = not faults_of(total)
    finally:
        if keep is None and (sound or naive or variant.broken):
            shutil.rmtree(base, ignore_errors=True)
        elif not sound:
            print(f"logs, ledger and chain are kept in {base}", file=sys.stderr)
    return total


async def measure_naive(seeds: list[int], *, keep: Path | None, say: bool) -> Report:
    """Let the naive engine trade in the same storms until it has doubled a trade; a few seeds are enough."""
    total = Report()
    for seed in seeds:
        directory = keep / "naive" if keep else None
        total.add(await run(seeds=[seed], trades=NAIVE_TRADES, limit_s=NAIVE_S, naive=True, keep=directory, say=say))
        if total.audit.get("doubled"):
            break
    return total


async def measure_broken(seeds: list[int], *, keep: Path | None, say: bool) -> Report:
    """Let the real engine trade with one rule broken until the audit finds what that did."""
    total = Report()
    variant = replace(PLAIN, broken="timeout")
    for seed in seeds:
        directory = keep / "broken" if keep else None
        total.add(
            await run(seeds=[seed], trades=BROKEN_TRADES, limit_s=BROKEN_S, keep=directory, say=say, variant=variant)
        )
        if harm_of(total):
            break
    return total


def harm_of(report: Report) -> int:
    """Return how many trades the audit found doubled or lost."""
    return report.audit.get("doubled", 0) + report.audit.get("lost", 0)


def main() -> int:
    """Parse arguments, run, print, judge."""
    args = parse_arguments()
    os.environ.pop("TRADINGBOT_CRASH_AT", None)
    seeds = list(range(args.seed_base, args.seed_base + args.seeds))
    judges = seeds if len(seeds) > 2 else [*seeds, seeds[-1] + 1, seeds[-1] + 2]
    say = args.output == "text"
    problems: list[str] = []
    told: dict[str, Any] = {}
    if not args.naive:
        total = run_all(args, seeds=seeds, say=say)
        problems += faults_of(total) + shortfalls(total, wanted_trades=args.trades * args.seeds)
        told |= total.as_data()
        if say:
            print("\n".join(total.lines()), flush=True)
    if not args.no_naive:
        naive = asyncio.run(measure_naive(judges, keep=args.keep, say=False))
        doubled, landed = naive.audit.get("doubled", 0), naive.trades
        share = f"{100 * doubled / landed:.1f} %" if landed else "none landed"
        told |= {"naive_trades": landed, "naive_doubled": doubled}
        if say:
            print(f"a naive engine in the same storms: {doubled} of {landed} trades doubled ({share})", flush=True)
        problems += [] if doubled else ["the naive engine doubled nothing: the chaos is too weak"]
    if not args.no_broken and not args.naive:
        broken = asyncio.run(measure_broken(judges, keep=args.keep, say=False))
        told |= {"broken_trades": broken.trades, "broken_harm": harm_of(broken)}
        if say:
            print(f"the engine with one rule broken: {harm_of(broken)} of {broken.trades} trades doubled or lost")
        problems += [] if harm_of(broken) else ["a broken rule did no harm: the chaos is too weak"]
    if not say:
        print(json.dumps(told | {"problems": problems}, sort_keys=True))
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


def run_all(args: argparse.Namespace, *, seeds: list[int], say: bool) -> Report:
    """Run the storms that were asked for."""
    with ExitStack() as opened:
        postgres = None
        if args.ledger != "sqlite" and (args.ledger == "postgres" or programs() is not None):
            postgres = opened.enter_context(server())
        elif args.ledger == "both":
            print(f"all seeds trade on SQLite: {MISSING}", file=sys.stderr)
        return asyncio.run(
            run(
                seeds=seeds,
                trades=args.trades,
                limit_s=args.minutes * 60 if args.minutes else None,
                at_once=args.at_once,
                keep=args.keep,
                say=say,
                variant=Variant(postgres=postgres, ledger=args.ledger, mark=args.mark),
            )
        )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many storms")
    parser.add_argument("--trades", type=int, default=60, help="filled trades in each")
    parser.add_argument("--minutes", type=float, help="limit for the storms")
    parser.add_argument("--at-once", type=int, default=1, help="storms at the same time, each in a world of its own")
    parser.add_argument("--seed-base", type=int, default=1, help="the first seed")
    parser.add_argument("--ledger", choices=("sqlite", "postgres", "both"), default="both", help="what they trade on")
    parser.add_argument("--mark", choices=("Memo", "Guard", "both"), default="both", help="execution.mark")
    parser.add_argument("--naive", action="store_true", help="only the engine that signs again after a timeout")
    parser.add_argument("--no-naive", action="store_true", help="without that engine")
    parser.add_argument("--no-broken", action="store_true", help="without the engine that breaks a rule")
    parser.add_argument("--keep", type=Path, help="keep logs, ledgers and chains here")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
