"""
runc for machines whose root lacks CAP_SYS_RESOURCE; started by the container engine in runc's place.

Docker before version 23 asks for every capability with `--privileged`, and runc then fails with "unable to apply caps: operation not
permitted". This takes the one that can't be had out of what is asked for, then becomes runc.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tradingbot_cluster.capabilities import without

MISSING = "CAP_SYS_RESOURCE"


def documents(arguments: Sequence[str]) -> Iterator[Path]:
    """Yield the files in which a runc command line asks for capabilities."""
    for position, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if not equals and position + 1 < len(arguments):
            value = arguments[position + 1]
        if name in {"--bundle", "-b"}:
            yield Path(value) / "config.json"
        elif name in {"--process", "-p"}:
            yield Path(value)


def main(arguments: Sequence[str]) -> None:
    """Correct the documents, then become runc."""
    for path in documents(arguments):
        if path.is_file():
            path.write_text(json.dumps(without(json.loads(path.read_text()), MISSING)))
    runc = shutil.which("runc", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin")
    if runc is None:
        sys.exit("runc: not found")
    os.execv(runc, ["runc", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
