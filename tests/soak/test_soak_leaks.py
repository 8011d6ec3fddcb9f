"""That a soak notices: an engine that leaks on purpose is told apart, leak by leak, from one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak.run import soak

SECONDS, WARM_UP_S = 150.0, 45.0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("leak", "grows"),
    [
        ("task", {"tasks"}),
        ("memory", {"memory"}),
        ("socket", {"sockets", "descriptors"}),
        ("file", {"descriptors"}),
        ("thread", {"threads"}),
        ("", set()),
    ],
)
async def test_what_leaks_every_second_is_found_and_nothing_else(tmp_path: Path, leak: str, grows: set[str]) -> None:
    """One task, 100 kB, one socket, one file or one thread a second; and without a leak nothing grows."""
    outcome = await soak(tmp_path, seconds=SECONDS, warm_up_s=WARM_UP_S, leak=leak)
    print("\n" + "\n".join(outcome.lines()))
    assert {row.name for row in outcome.rows if row.grows} == grows
    assert bool(outcome.problems()) is bool(leak)
