"""kubectl as a person uses it, in one namespace; what it says when it fails is in the error."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

HANGS_AFTER_S = 240.0
"""When waiting is given up: far beyond any promise, which tests measure and print instead."""

NEVER_REACHED = ("Unable to connect to the server", "kubernetes cluster unreachable")
NEVER_REACHED_S = 90.0
"""How long a server that cannot be connected to is tried again."""

Json = dict[str, Any]
Found = TypeVar("Found")


class Refused(Exception):
    """kubectl ended with an error; its words are the message."""


class NeverTrue(AssertionError):
    """What was waited for did not come."""


def wait_for(
    what: str, look: Callable[[], Found | None], *, within_s: float = HANGS_AFTER_S, every_s: float = 0.5
) -> Found:
    """Return the first answer of `look` that is neither None nor False; a kubectl that fails is asked again."""
    deadline, last = time.monotonic() + within_s, "nothing"
    while time.monotonic() < deadline:
        try:
            if (found := look()) is not None and found is not False:
                return found
            last = repr(found)
        except Refused as error:
            last = str(error)
        time.sleep(every_s)
    raise NeverTrue(f"{what}: not within {within_s:g} s (last: {last[-2000:]})")


@dataclass(frozen=True)
class Kube:
    """One cluster, seen from one namespace."""

    program: tuple[str, ...]
    kubeconfig: Path
    namespace: str = "default"

    def of(self, namespace: str) -> Kube:
        """Return the same cluster, seen from another namespace."""
        return replace(self, namespace=namespace)

    def run(self, *arguments: str, text_in: str | None = None, within_s: float = 120.0) -> str:
        """Run kubectl and return what it printed; raise Refused with what it said."""
        line = (*self.program, f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *arguments)
        return self.tool(*line, text_in=text_in, within_s=within_s)

    def get(self, *what: str) -> Json:
        """Return an object, or a list's object."""
        found: Json = json.loads(self.run("get", *what, "--output=json"))
        return found

    def items(self, *what: str) -> list[Json]:
        """Return the objects of a list."""
        found: list[Json] = self.get(*what)["items"]
        return found

    def exists(self, *what: str) -> bool:
        """Whether an object is there."""
        return bool(self.run("get", *what, "--ignore-not-found", "--output=name").strip())

    def apply(self, *objects: Json) -> None:
        """Apply objects as `kubectl apply` does."""
        self.run("apply", "-f", "-", text_in=yaml.safe_dump_all(objects))

    def patch(self, *what: str, **fields: Any) -> None:
        """Merge fields into an object."""
        self.run("patch", *what, "--type=merge", f"--patch={json.dumps(fields)}")

    def python(self, where: str, code: str, *arguments: str, container: str | None = None) -> str:
        """Run Python in a pod (`pod/NAME`, `deploy/NAME`) and return what it printed."""
        inside = [f"--container={container}"] if container else []
        return self.run("exec", where, *inside, "--", "python3", "-c", code, *arguments)

    def tool(self, *command: str, text_in: str | None = None, within_s: float = 300.0) -> str:
        """Run a program against this cluster and return what it printed; raise Refused with what it said."""
        environment, words = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}, " ".join(command)[-300:]
        deadline = time.monotonic() + NEVER_REACHED_S
        while True:
            try:
                done = subprocess.run(
                    command,
                    input=text_in,
                    capture_output=True,
                    text=True,
                    timeout=within_s,
                    check=False,
                    env=environment,
                )
            except subprocess.TimeoutExpired as error:
                raise Refused(f"{words}: no end after {within_s:g} s") from error
            if not done.returncode:
                return done.stdout
            # The server never saw it, as on a machine that has more to do than it can: nothing can be done twice.
            if not any(said in done.stderr for said in NEVER_REACHED) or time.monotonic() > deadline:
                raise Refused(f"{words}: {done.stdout[-2000:]}{done.stderr[-4000:].strip()}")
            time.sleep(1)
