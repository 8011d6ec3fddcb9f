"""The cgroups of one cluster: all below a group of its own in every hierarchy, so that nothing of others is ever touched."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
TOP = "tradingbot-clusters"


def parent(name: str) -> str:
    """Return the path of a cluster's group within each hierarchy."""
    return f"/{TOP}/{name}"


def remove(name: str, *, root: Path = ROOT, timeout_s: float = 10.0) -> bool:
    """
    Remove a cluster's groups, whose processes have ended; return whether all are gone.

    The kernel needs a moment after the last process of a group before the group can go.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        # cgroup version 1 has one hierarchy in each folder below the root, version 2 is one itself.
        left = [group for top in (root, *root.glob("*/")) if (group := top / TOP / name).is_dir()]
        for group in left:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            with contextlib.suppress(OSError):
                os.rmdir(group.parent)  # fails while another cluster has one
        left = [group for group in left if group.exists()]
        if not left or time.monotonic() > deadline:
            return not left
        time.sleep(0.1)
