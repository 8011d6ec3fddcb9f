"""
Let a real engine trade for long under mild trouble, and see that nothing grows; then drain it and ask the chain.

    python tests/soak/run.py --minutes 3 --output text

Exit code 1 if memory, tasks, sockets, descriptors, threads or queues grew after the warm-up (a quarter of the run, 45 s at
least), if the engine stood idle for a while, if a trade is open after the drain, or if the audit finds anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.ledger_view import OPEN, LedgerView, PostgresView, SqliteView
from chaos.processes import Process, wait_gone
from chaos.run import new_database
from chaos.world import Setup
from soak.judge import MIB, Row, idle_windows, judge
from soak.sample import Sample, resident_bytes, take
from soak.world import SoakWorld, Trouble
from support.postgres import server

SLOT_MS = 100.0
LEAST_WARM_UP_S = 45.0
DRAIN_S = 60.0
IDLE_WINDOWS = 1
"""A machine that stops for ten seconds is not the engine's fault."""
AUDITED = ("doubled", "lost", "phantom")
BAD_LINES = (
    '"trade task failed"', '"loop failed"', "was never retrieved", "Task was destroyed", "Unclosed", "Traceback",
    "never awaited", "ResourceWarning",
)  # fmt: skip
"""What a healthy engine never prints."""


@dataclass
class Outcome:
    """What a soak found."""

    seconds: float = 0.0
    warm_up_s: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    missed: int = 0
    """Samples that the engine did not answer in time."""
    troubles: dict[str, int] = field(default_factory=dict)
    localnet_mib: tuple[float, float] = (0.0, 0.0)
    """After the warm-up and at the end; told, not judged."""
    exit_code: int | None = None
    drain_s: float = 0.0
    states: dict[str, int] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)
    bad_lines: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        return judge(self.samples, warm_up_s=self.warm_up_s)

    def problems(self) -> list[str]:
        """Return what is wrong, in words."""
        out = [
            f"{r.name} grew by {r.growth:.1f} {r.unit}, from {r.first:.1f} to {r.last:.1f}; less than {r.limit:g} is allowed"
            for r in self.rows
            if r.grows
        ]
        if (idle := idle_windows(self.samples, warm_up_s=self.warm_up_s)) > IDLE_WINDOWS:
            out.append(f"no trade was finished in {idle} of the windows: the engine stood idle")
        if self.missed > len(self.samples) // 20 + 2:
            out.append(f"the engine did not answer {self.missed} of {self.missed + len(self.samples)} samples")
        if self.exit_code != 0:
            out.append(f"the engine ended with exit code {self.exit_code} after its drain, not 0")
        if stuck := sum(self.states.get(s, 0) for s in OPEN):
            out.append(f"{stuck} trades are open after the drain: {self.states}")
        if not self.audit or any(self.audit.get(name, 1) for name in AUDITED):
            out.append(f"the audit does not say 0/0/0: {self.audit}")
        out += [f"the engine's log says: {line}" for line in self.bad_lines[:3]]
        return out

    def lines(self) -> list[str]:
        """Return the table."""
        out = [f"{'':18}{'first':>10}{'last':>10}{'most':>10}{'growth':>10}{'limit':>8}"]
        out += [
            f"{r.name:18}{r.first:10.1f}{r.last:10.1f}{r.most:10.1f}{r.growth:10.2f}{r.limit:8g}  {r.unit}"
            f"{'  GROWS' if r.grows else ''}"
            for r in self.rows
        ]
        before, after = self.localnet_mib
        trades = self.states.get("DONE", 0)
        troubles = ", ".join(f"{n} {kind}" for kind, n in sorted(self.troubles.items()))
        verdict = "/".join(str(self.audit.get(name, "?")) for name in AUDITED)
        return [
            *out,
            f"{self.seconds:.0f} s, of which {self.warm_up_s:.0f} s warm-up; {trades} trades, {trades / self.seconds:.1f}/s; "
            f"{len(self.samples)} samples, {self.missed} missed",
            f"troubles: {troubles or 'none'}",
            f"localnet (not judged): {before:.0f} MiB after the warm-up, {after:.0f} MiB at the end",
            f"drained in {self.drain_s:.1f} s with exit code {self.exit_code}; intents {self.states}; audit {verdict}",
        ]

    def as_data(self) -> dict[str, Any]:
        """Return the figures for machines."""
        left = ("samples",)
        data = {k: v for k, v in asdict(self).items() if k not in left}
        return data | {"rows": [asdict(r) for r in self.rows], "problems": self.problems()}


async def soak(
    directory: Path,
    *,
    seconds: float,
    warm_up_s: float,
    speed: float = 60.0,
    seed: int = 1,
    ledger_url: str | None = None,
    leak: str = "",
    say: bool = False,
) -> Outcome:
    """Run one soak to its audit."""
    outcome = Outcome(seconds=seconds, warm_up_s=warm_up_s)
    setup = Setup(
        seed=seed, slot_ms=SLOT_MS, speed=speed, hold_bars=(1, 2, 3, 5), scenario="trend", ledger_url=ledger_url
    )
    async with aiohttp.ClientSession() as http:
        world = SoakWorld(setup=setup, directory=directory, http=http)
        view: LedgerView = PostgresView(ledger_url) if ledger_url else SqliteView(world.sqlite)
        engine: Process | None = None
        try:
            await world.start()
            engine, port = await world.start_soaked(leak=leak)
            trouble = Trouble(world, seed=seed)
            troubling = asyncio.create_task(trouble.forever())
            try:
                await watch(world, engine, port, outcome, say=say)
            finally:
                troubling.cancel()
                await asyncio.gather(troubling, return_exceptions=True)
            outcome.troubles = dict(trouble.counts)
            await drain(engine, outcome)
            outcome.states = dict(await view.states())
            await asyncio.sleep(40 * setup.slot_ms / 1000)
            outcome.audit = {k: v for k, v in (await world.audit()).items() if isinstance(v, int)}
            text = engine.log.read_text(errors="replace")
            outcome.bad_lines = [line[:300] for line in text.splitlines() if any(bad in line for bad in BAD_LINES)]
        finally:
            if engine is not None:
                await engine.kill()
            await view.close()
            await world.stop()
    return outcome


async def watch(world: SoakWorld, engine: Process, port: int, outcome: Outcome, *, say: bool) -> None:
    """Sample once a second until the time is over."""
    assert world.localnet is not None
    began = time.monotonic()
    told = 0.0
    async with aiohttp.ClientSession() as http:
        for n in range(1, int(outcome.seconds) + 1):
            await asyncio.sleep(max(0.0, began + n - time.monotonic()))
            if not engine.running:
                raise AssertionError(f"the engine ended by itself: {engine.log.read_text(errors='replace')[-2000:]}")
            at_s = time.monotonic() - began
            if at_s > outcome.seconds:
                break
            sample = await take(engine.pid, http, port, at_s=at_s)
            if sample is None:
                outcome.missed += 1
                continue
            outcome.samples.append(sample)
            localnet = resident_bytes(world.localnet.pid) / MIB
            outcome.localnet_mib = (localnet if at_s < outcome.warm_up_s else outcome.localnet_mib[0], localnet)
            if say and at_s - told >= 30:
                told = at_s
                print(
                    f"  {at_s:5.0f} s  {sample.resident_bytes / MIB:6.1f} MiB  {sample.tasks} tasks  {sample.sockets} sockets"
                    f"  {sample.open_fds} descriptors  {sample.in_flight} in flight  {sample.done} trades",
                    flush=True,
                )


async def drain(engine: Process, outcome: Outcome) -> None:
    """Tell the engine to go down, as a pod is told."""
    began = time.monotonic()
    engine.send(signal.SIGTERM)
    gone = await wait_gone(engine.pid, limit_s=DRAIN_S)
    outcome.drain_s = time.monotonic() - began
    outcome.exit_code = engine.child.wait(5) if gone else None


@contextmanager
def kept(directory: Path | None) -> Iterator[Path]:
    """Yield where everything is written: a given directory, or one that goes away unless the soak breaks off."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
        return
    made = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        yield made
    except BaseException:
        print(f"everything is kept in {made}; the engine's last warnings:", file=sys.stderr)
        print("\n".join(warnings_of(made / "engine.log")), file=sys.stderr)
        raise
    shutil.rmtree(made, ignore_errors=True)


def warnings_of(log: Path, limit: int = 40) -> list[str]:
    """Return the last lines of an engine's log that are worse than information."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return [line for line in lines if not re.search(r'"level": ?"(info|debug)"', line)][-limit:]


def warm_up_of(seconds: float) -> float:
    """A quarter of the run, 45 s at least."""
    return max(LEAST_WARM_UP_S, seconds / 4)


async def soak_as_asked(args: argparse.Namespace, directory: Path) -> Outcome:
    """Run what the command line asks for."""
    seconds = args.minutes * 60
    options = {
        "seconds": seconds,
        "warm_up_s": warm_up_of(seconds),
        "speed": args.speed,
        "seed": args.seed,
        "leak": args.leak,
        "say": args.output == "text",
    }
    if args.ledger == "sqlite":
        return await soak(directory, **options)
    with server() as postgres:
        return await soak(directory, ledger_url=await new_database(postgres, "soak"), **options)


def main() -> int:
    """Parse arguments, run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="how long the engine trades")
    parser.add_argument("--speed", type=float, default=60, help="market time over wall time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger", choices=("sqlite", "postgres"), default="sqlite", help="what the engine trades on")
    parser.add_argument("--leak", default="", help="what the engine is to lose every second (see launch.py)")
    parser.add_argument("--keep", type=Path, help="keep logs, ledger, chain and samples here")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    args = parser.parse_args()
    with kept(args.keep) as directory:
        outcome = asyncio.run(soak_as_asked(args, directory))
        (directory / "samples.jsonl").write_text("".join(json.dumps(asdict(s)) + "\n" for s in outcome.samples))
    problems = outcome.problems()
    print("\n".join(outcome.lines()) if args.output == "text" else json.dumps(outcome.as_data(), sort_keys=True))
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
