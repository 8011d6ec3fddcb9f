"""The smallest runner: starts one engine as its child and waits, so that a chaos run can kill the runner alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Start `sys.argv[2:]` with this process as parent, write its pid into the file `sys.argv[1]`, wait for its end."""
    command = [*sys.argv[2:], "--parent-pid", str(os.getpid())]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    Path(sys.argv[1]).write_text(str(child.pid))
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
