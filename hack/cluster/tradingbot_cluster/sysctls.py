"""
Settings of the kernel that belong to the whole machine: noted before the first cluster starts, put back after the last one ends.

The node image keeps systemd and the kubelet from writing them (see `node-entrypoint`); this is for what a privileged pod does, for
node images that don't shield them, and for the limits that a cluster itself needs raised.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

NAMES = (
    "fs/file-max", "fs/nr_open", "kernel/core_pattern", "kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys", "kernel/panic",
    "kernel/panic_on_oops", "kernel/pid_max", "vm/overcommit_memory", "vm/panic_on_oom",
    "fs/inotify/max_user_instances", "fs/inotify/max_user_watches",
)  # fmt: skip
LEAST = {"fs/inotify/max_user_instances": 1024, "fs/inotify/max_user_watches": 524_288}
"""All nodes of a machine share these. With Linux' usual 128 instances the network of about the seventh never becomes ready."""
SYS = Path("/proc/sys")


def read(sys: Path = SYS) -> dict[str, str]:
    """Return the settings' values by name, of those that this kernel has."""
    return {name: (sys / name).read_text().strip() for name in NAMES if (sys / name).exists()}


def note(record: Path, sys: Path = SYS) -> None:
    """Write the values down, unless an earlier cluster already did: what it changed is not how the machine was."""
    if not record.exists():
        draft = record.with_suffix(".new")
        draft.write_text(json.dumps(read(sys)))
        draft.rename(record)


def allow(sys: Path = SYS) -> None:
    """Raise the limits that several clusters at once need; where that is not allowed, a single one still runs."""
    for name, least in LEAST.items():
        with contextlib.suppress(OSError):
            if int((sys / name).read_text()) < least:
                (sys / name).write_text(str(least))


def restore(record: Path, sys: Path = SYS) -> list[str]:
    """Put back what differs from the record and remove the record; return the names of what was put back."""
    if not record.exists():
        return []
    before: Mapping[str, str] = json.loads(record.read_text())
    now = read(sys)
    changed = [name for name, value in before.items() if now.get(name) != value]
    for name in changed:
        (sys / name).write_text(before[name])
    record.unlink()
    return changed
