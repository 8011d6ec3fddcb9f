"""That a soak notices: an engine that leaks on purpose is told apart, leak by leak, from one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak.run import soak

SECONDS, WARM_UP_S = 180.0, 45.0
"""The form that runs in CI."""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("leak", "grows"),
    [
        ("task", {"tasks"}),
        ("memory", {"memory"}),
        ("socket", {"sockets", "descriptors"}),
        ("socket/60", {"sockets", "descriptors"}),
        ("file", {"descriptors"}),
        ("file/60", {"descriptors"}),
        ("thread", {"threads"}),
        ("", set()),
    ],
)
async def test_what_leaks_is_found_and_nothing_else(tmp_path: Path, leak: str, grows: set[str]) -> None:
    """One task, 100 kB, one socket, one file or one thread a second, a socket or a file a minute; and without a leak nothing grows."""
    outcome = await soak(tmp_path, seconds=SECONDS, warm_up_s=WARM_UP_S, leak=leak)
    print("\n" + "\n".join(outcome.lines()))
    assert {row.name for row in outcome.rows if row.grows} == grows
    assert bool(outcome.problems()) is bool(leak)
