"""
Break the world while real engines trade, and let the chain say whether any trade was lost or doubled.

    python tests/chaos/run.py --seeds 3 --trades 60 [--minutes 8] [--seed-base 1] [--ledger postgres] [--naive]

Exit codes: 0 nothing doubled, lost or phantom, and the run covered enough; 1 otherwise. Afterwards an engine that signs
again after a timeout trades in the same storms, and the run fails if nothing is doubled: then the chaos is too weak. --naive
runs this part alone, --no-naive leaves it out.
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
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
import asyncpg
from chaos.faults import Plan
from chaos.minima import faults_of, shortfalls
from chaos.naive import NaiveStorm
from chaos.report import Report
from chaos.storm import Storm
from chaos.world import Setup, World
from support.postgres import Server, server

DENSE_TRADES = 200
"""Storms of at most so many trades are dense, so that they break something before they are over."""

NAIVE_TRADES, NAIVE_S = 600, 80.0
"""How much the naive engine trades in one storm: it is fast, since it never looks twice."""


async def one_seed(
    seed: int,
    *,
    trades: int,
    limit_s: float,
    directory: Path,
    naive: bool,
    say: bool,
    postgres: Server | None,
    broken: str,
) -> Report:
    """Run one seed to its audit."""
    url = await new_database(postgres, f"seed_{seed}") if postgres else None
    setup = Setup(seed=seed, ledger_url=url, broken=broken)
    async with aiohttp.ClientSession() as http:
        world = World(setup=setup, directory=directory, http=http)
        plan = Plan(seed, nodes=setup.nodes, slot_ms=setup.slot_ms, dense=trades <= DENSE_TRADES)
        await world.start()
        storm = NaiveStorm(world, plan, say=say) if naive else Storm(world, plan, say=say)
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
    postgres: Server | None = None,
    broken: str = "",
) -> Report:
    """
    Run all seeds, one after the other, and add up what they counted.

    Args:
        seeds: One storm each.
        trades: Filled trades per seed.
        limit_s: Seconds for everything; shared by the seeds. None: 2 s per trade.
        postgres: A server for the ledgers; SQLite without.
        broken: A rule that the engines break on purpose (see `launch.py`).
        keep: Where logs, ledgers and chains are kept; a temporary directory that goes away by default.
    """
    total = Report()
    base = keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    deadline = time.monotonic() + (limit_s if limit_s is not None else len(seeds) * (60 + 2 * trades))
    sound = False
    try:
        for n, seed in enumerate(seeds):
            share = max(10.0, (deadline - time.monotonic()) / (len(seeds) - n) - 20)
            report = await one_seed(
                seed,
                trades=trades,
                limit_s=share,
                directory=base / f"seed-{seed}",
                naive=naive,
                say=say,
                postgres=postgres,
                broken=broken,
            )
            total.add(report)
            if say:
                print(
                    f"seed {seed}: {report.trades} trades, {report.seconds:.0f} s, {report.kills} kills, {report.verdict}",
                    flush=True,
                )
        sound = not faults_of(total)
    finally:
        if keep is None and (sound or naive or broken):
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


def main() -> int:
    """Parse arguments, run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many storms")
    parser.add_argument("--trades", type=int, default=60, help="filled trades in each")
    parser.add_argument("--minutes", type=float, help="limit for everything")
    parser.add_argument("--seed-base", type=int, default=1, help="the first seed")
    parser.add_argument("--ledger", choices=("sqlite", "postgres"), default="sqlite", help="what the engines trade on")
    parser.add_argument("--naive", action="store_true", help="only the engine that signs again after a timeout")
    parser.add_argument("--no-naive", action="store_true", help="without that engine")
    parser.add_argument("--keep", type=Path, help="keep logs, ledgers and chains here")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    args = parser.parse_args()
    os.environ.pop("TRADINGBOT_CRASH_AT", None)
    seeds = list(range(args.seed_base, args.seed_base + args.seeds))
    limit_s = args.minutes * 60 if args.minutes else None
    say = args.output == "text"
    problems: list[str] = []
    told: dict[str, Any] = {}
    if not args.naive:
        with ExitStack() as opened:
            postgres = opened.enter_context(server()) if args.ledger == "postgres" else None
            total = asyncio.run(
                run(seeds=seeds, trades=args.trades, limit_s=limit_s, keep=args.keep, say=say, postgres=postgres)
            )
        problems += faults_of(total) + shortfalls(total, wanted_trades=args.trades * args.seeds)
        told |= total.as_data()
        if say:
            print("\n".join(total.lines()), flush=True)
    if not args.no_naive:
        naive = asyncio.run(measure_naive(seeds, keep=args.keep, say=say))
        doubled, landed = naive.audit.get("doubled", 0), naive.trades
        share = f"{100 * doubled / landed:.1f} %" if landed else "none landed"
        told |= {"naive_trades": landed, "naive_doubled": doubled}
        if say:
            print(f"a naive engine in the same storms: {doubled} of {landed} trades doubled ({share})")
        problems += [] if doubled else ["the naive engine doubled nothing: the chaos is too weak"]
    if not say:
        print(json.dumps(told | {"problems": problems}, sort_keys=True))
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
