"""
kubectl as a program: it knows every way to log in, and what `exec` and `logs` take; a second client would know fewer.

kubectl hands a plugin only what stands behind its name, so that contexts and namespaces are options of ours, passed on.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tradingbot_operator.desired.engine_pod import CONFIG
from tradingbot_operator.desired.names import BOT_LABEL
from tradingbot_operator.errors import BadInput, Failed
from tradingbot_operator.kube.gateway import Object

RESOURCE = "tradingbots.tradingbot.dev"
RESUME = """\
import json, pathlib, sys, urllib.request
settings = json.loads(pathlib.Path(sys.argv[1]).read_text())["admin"]
token = pathlib.Path(settings["token_file"]).read_text().strip()
request = urllib.request.Request(
    f"http://127.0.0.1:{settings['port']}/v1/resume", method="POST", headers={"Authorization": f"Bearer {token}"})
urllib.request.urlopen(request, timeout=10).read()
"""
"""Runs in the engine's container: its admin port answers whoever has the token, which never leaves the pod."""


@dataclass(frozen=True)
class Place:
    """Which cluster and namespace; what is None is as kubectl decides."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    def options(self) -> list[str]:
        """Return the options that tell kubectl."""
        stated = {"namespace": self.namespace, "context": self.context, "kubeconfig": self.kubeconfig}
        return [f"--{name}={value}" for name, value in stated.items() if value is not None]


class Kubectl:
    """
    Run kubectl.

    Raises:
        Failed: kubectl is missing, or it failed; in its own words.
    """

    def __init__(self, place: Place) -> None:
        program = shutil.which("kubectl")
        if program is None:
            raise Failed("kubectl is not on PATH")
        self._line = [program, *place.options()]

    def bots(self, *, everywhere: bool = False) -> list[Object]:
        """Return the bots of the namespace, or of all namespaces."""
        found: list[Object] = self._json("get", RESOURCE, *(["--all-namespaces"] if everywhere else []))["items"]
        return found

    def bot(self, name: str) -> Object:
        """Return one bot."""
        found: Object = self._json("get", RESOURCE, name)
        return found

    def set_paused(self, name: str, paused: bool) -> None:
        """Write spec.paused; the operator tells the engines within 2 s."""
        patch = json.dumps({"spec": {"paused": paused}})
        self._output("patch", RESOURCE, name, "--type=merge", f"--patch={patch}", "--field-manager=kubectl-tradingbot")

    def engines(self, name: str) -> list[str]:
        """Return the names of a bot's engine pods whose engine runs."""
        pods = self._json("get", "pods", f"--selector={selector(name)}")["items"]
        return [pod["metadata"]["name"] for pod in pods if _engine_runs(pod)]

    def clear_latch(self, pod: str) -> None:
        """Clear a pause by hand, which an engine keeps whatever the manifest says."""
        self._output("exec", pod, "--container=engine", "--", "python3", "-c", RESUME, CONFIG)

    def engine(self, pod: str, command: Sequence[str]) -> int:
        """Run a command of the engine in its container, with this one's output, and return its exit code."""
        return self.show("exec", pod, "--container=engine", "--", "tradingbot-engine", *command, "--config", CONFIG)

    def show(self, *arguments: str) -> int:
        """Run kubectl with this command's own input and output, and return its exit code."""
        return _code(subprocess.run([*self._line, *arguments], check=False).returncode)  # noqa: S603

    def _json(self, *arguments: str) -> Any:
        return json.loads(self._output(*arguments, "--output=json"))

    def _output(self, *arguments: str) -> str:
        line = [*self._line, *arguments]
        done = subprocess.run(line, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
        if done.returncode:
            words = done.stderr.strip() or f"kubectl ended with {_code(done.returncode)}"
            raise (BadInput if "(NotFound)" in words else Failed)(words)
        return done.stdout


def selector(name: str) -> str:
    """Return what selects the engine pods of a bot."""
    return f"{BOT_LABEL}={name},app.kubernetes.io/component=engine"


def _engine_runs(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return any(status.get("name") == "engine" and "running" in (status.get("state") or {}) for status in statuses)


def _code(returncode: int) -> int:
    return returncode if returncode >= 0 else 1
