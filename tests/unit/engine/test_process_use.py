"""The process's own use of the machine, read off the system."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tradingbot_engine.health.process import read_process


async def test_a_task_and_a_socket_more_are_seen_and_gone_when_they_end() -> None:
    """Tasks that are not done and descriptors that are open, as they are now."""
    before = read_process()
    task = asyncio.create_task(asyncio.sleep(60))
    read_end, write_end = os.pipe()
    during = read_process()
    os.close(read_end)
    os.close(write_end)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    after = read_process()
    assert before.open_fds is not None
    assert during == type(during)(before.tasks + 1, before.open_fds + 2, during.resident_bytes)
    assert (after.tasks, after.open_fds) == (before.tasks, before.open_fds)


async def test_memory_that_is_touched_is_seen() -> None:
    """Bytes, not pages or kibibytes."""
    before = read_process().resident_bytes
    block = bytearray(b"x" * (64 << 20))
    after = read_process().resident_bytes
    assert before is not None
    assert after is not None
    assert 60 << 20 <= after - before <= 70 << 20
    assert len(block) == 64 << 20


async def test_what_the_system_does_not_tell_is_none(tmp_path: Path) -> None:
    """Elsewhere than on Linux there is no /proc: the engine runs all the same."""
    use = read_process(tmp_path / "no-proc")
    assert (use.open_fds, use.resident_bytes) == (None, None)
    assert use.tasks >= 1
