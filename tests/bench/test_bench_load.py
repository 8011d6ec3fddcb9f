"""Every benchmark can at least be begun: they are run by hand, so nobody else would notice."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from bench.run import HERE, load

BENCHES = sorted(HERE.glob("bench_*.py"))


def test_there_are_benchmarks_to_load() -> None:
    """Else the test below would say nothing."""
    assert len(BENCHES) > 10


@pytest.mark.parametrize("path", BENCHES, ids=lambda path: path.stem)
def test_a_benchmark_loads_and_has_a_main(path: Path) -> None:
    """As `run.py` loads it, not as pytest would."""
    assert inspect.iscoroutinefunction(load(path))
