"""Run an image as a cluster does: its account, a root that cannot be written, an empty /tmp, no network."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.store import ImageError, Store

USER = "65532:65532"
IMPORT_ALL = """\
import importlib, pkgutil, sys, tradingbot_{target} as package
left_out = {left_out!r}
names = [m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
         if not m.name.endswith("__main__") and not m.name.startswith(left_out)]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
NO_MODULES = ("tradingbot_engine.ledger.migrations.", "tradingbot_engine.localnet.program.pool")
"""Scripts that Alembic runs in a context of its own, and a program of the Solana VM."""
LAPTOP = (
    "tradingbot_operator.local", "tradingbot_operator.commands.run", "tradingbot_operator.commands.audit",
    "tradingbot_operator.commands.reset_tier",
)  # fmt: skip
"""What of the operator's package runs on a laptop alone: its dependencies are not in the image."""
SANDBOX = """\
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
root=$1; user=$2; shift 2
exec chroot --userspec="$user" "$root" /usr/bin/env -i "$@"
"""
"""Runs inside a mount namespace of its own, which ends with it: nothing of this is left on the machine."""


@dataclass(frozen=True)
class Trial:
    """One command of an image, and what its output must hold."""

    arguments: tuple[str, ...]
    expected: str
    given: str = ""
    """Standard input."""


def trials(target: str, *, version: str, sample: str) -> list[Trial]:
    """Return what an image must be able to do: tell its version, import all that it holds, and do its work's first step."""
    imports = IMPORT_ALL.format(target=target, left_out=LAPTOP if target == "operator" else NO_MODULES)
    launcher = {"engine": "tradingbot-engine", "operator": "tradingbot"}[target]
    found = [Trial((launcher, "--version"), version), Trial(("python3", "-c", imports), "")]
    if target == "operator":
        found.append(Trial((launcher, "validate", "-f", "-"), "is valid", sample))
    else:
        found.append(Trial((launcher, "catalogue"), "momentum_5m"))
    return found


def prove(store: Store | None, name: str, found: Sequence[Trial], *, user: str = USER) -> None:
    """
    Run trials in an image.

    Args:
        store: buildah's store that holds the image; None: Docker holds it.
        name: The image.
        found: What to run.
        user: uid:gid to run as.

    Raises:
        ImageError: A command failed, or printed something else.
    """
    if store is None:
        for trial in found:
            line = ["docker", "run", "--rm", "--interactive", "--read-only", "--tmpfs=/tmp", "--network=none"]
            _check(name, trial, [*line, f"--entrypoint={trial.arguments[0]}", name, *trial.arguments[1:]])
        return
    container = store.run("from", "--pull-never", name)
    try:
        root = store.run("mount", container)
        settings = json.loads(store.run("inspect", "--type=image", name))["OCIv1"]["config"]["Env"]
        for trial in found:
            line = ["unshare", "--mount", "--net", "sh", "-ec", SANDBOX, "sh", root, user, *settings, *trial.arguments]
            _check(name, trial, line)
    finally:
        store.run("rm", container)


def _check(name: str, trial: Trial, line: Sequence[str]) -> None:
    done = subprocess.run(line, input=trial.given, capture_output=True, text=True, check=False, cwd=Path("/"))
    if done.returncode or trial.expected not in done.stdout:
        raise ImageError(
            f"{name}: {' '.join(trial.arguments)[:100]} ended with {done.returncode}; expected {trial.expected!r}:\n"
            f"{(done.stdout + done.stderr)[-3000:]}"
        )
