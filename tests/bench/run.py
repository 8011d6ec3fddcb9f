"""
Run the benchmarks: one JSON line per number on standard output, progress on standard error.

    python tests/bench/run.py [--only core-ticks,bus] [--write docs/benchmarks.md]

Each `bench_<name>.py` has `async def main(emit)`; a number stands beside a baseline measured in the same run, since
machines are noisy and only ratios are promises.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Line = dict[str, Any]


def measured(name: str, value: float, unit: str, better: str, baseline: float | None, goal: float | None) -> Line:
    """
    Return one line of the report.

    `better` is "higher" or "lower"; `ratio` is value / baseline; `met` compares value with goal, None without a goal.
    """
    if better not in ("higher", "lower"):
        raise ValueError(f"{name}: better must be higher or lower, not {better!r}")
    met = None if goal is None else (value >= goal if better == "higher" else value <= goal)
    ratio = None if not baseline else round(value / baseline, 3)
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "better": better,
        "baseline": None if baseline is None else round(baseline, 3),
        "ratio": ratio,
        "goal": goal,
        "met": met,
    }


def load(path: Path) -> Callable[[Callable[..., None]], Awaitable[None]]:
    """Return the `main` of a benchmark's file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    main: Callable[[Callable[..., None]], Awaitable[None]] = module.main
    return main


def row(line: Line, measured_on: str) -> str:
    """Return the Markdown row of a line."""
    goal = "–" if line["goal"] is None else f"{'≥' if line['better'] == 'higher' else '≤'} {line['goal']:,}"
    cells = (line["name"], show(line["value"]), line["unit"], show(line["baseline"]), show(line["ratio"]), goal)
    return "| " + " | ".join((*cells, show(line["met"]), measured_on)) + " |"


def table(lines: list[Line], *, before: str = "") -> str:
    """
    Return the report as Markdown, with the machine described.

    Rows of the report of `before` stay, each with its day, if nothing of that name was measured now.
    """
    model = next(
        (
            text.split(":", 1)[1].strip()
            for text in Path("/proc/cpuinfo").read_text().splitlines()
            if text.startswith("model name")
        ),
        platform.machine(),
    )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    today = time.strftime("%Y-%m-%d")
    old = [text for text in before.splitlines() if text.startswith("| ") and not text.startswith("| number")]
    rows = {name_of(text): text for text in old} | {line["name"]: row(line, today) for line in lines}
    out = [
        "# Benchmarks",
        "",
        "Written by `make bench ARGS='--write docs/benchmarks.md'`. Machines are noisy: only ratios are promises.",
        "",
        f"Measured on {os.cpu_count()} cores ({model}), {memory_gib:.0f} GiB, "
        f"{platform.system()} {platform.release().split('-')[0]}, CPython {platform.python_version()}.",
        "",
        "| number | value | unit | baseline | ratio | goal | met | measured |",
        "|---|---|---|---|---|---|---|---|",
        *(rows[name] for name in sorted(rows)),
    ]
    return "\n".join(out) + "\n"


def name_of(text: str) -> str:
    return text.split("|")[1].strip()


def show(value: float | bool | None) -> str:
    """Return a table cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else f"{value:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1] if __doc__ else None)
    parser.add_argument("--only", help="run some benchmarks, by their names with commas between")
    parser.add_argument("--write", type=Path, help="also put the rows into the table of this file")
    options = parser.parse_args()
    benches = {p.stem.removeprefix("bench_").replace("_", "-"): p for p in sorted(HERE.glob("bench_*.py"))}
    chosen = options.only.split(",") if options.only else list(benches)
    if unknown := set(chosen) - set(benches):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(benches)}")
    lines: list[Line] = []

    def emit(
        name: str, value: float, unit: str, better: str, baseline: float | None = None, goal: float | None = None
    ) -> None:
        lines.append(measured(name, value, unit, better, baseline, goal))
        print(json.dumps(lines[-1]), flush=True)

    sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "hack"), str(HERE.parents[1] / "hack" / "cluster")]
    broken: list[str] = []
    for name, path in benches.items():
        if name in chosen:
            print(f"{name} …", file=sys.stderr, flush=True)
            try:
                asyncio.run(load(path)(emit))  # type: ignore[arg-type]
            except Exception:  # the others are still to be measured
                traceback.print_exc()
                broken.append(name)
    if options.write:
        before = options.write.read_text() if options.write.exists() else ""
        options.write.write_text(table(lines, before=before))
    if broken:
        sys.exit(f"not measured: {', '.join(broken)}")


if __name__ == "__main__":
    main()
