"""Generated files, written anew or compared with what is there."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path


def write_or_check(root: Path, files: Mapping[Path, str], *, extra: Collection[Path] = ()) -> None:
    """
    Make generated files what they must be, or end with 1 if `--check` was given and they are not.

    Args:
        root: What is printed names paths below it.
        files: Each file with the text that it must hold.
        extra: Files that are there and must not be.
    """
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in (*stale, *extra):
            print(f"out of date: {path.relative_to(root)} (make generate)", file=sys.stderr)
        sys.exit(bool(stale or extra))
    for path in stale:
        path.write_text(files[path])
        print(f"written: {path.relative_to(root)}")
    for path in extra:
        path.unlink()
        print(f"removed: {path.relative_to(root)}")
