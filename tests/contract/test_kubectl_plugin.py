"""`kubectl tradingbot` through a real kubectl on a real API server; what runs in a pod is run here against the real admin port."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support.api_server import kube_api

from tradingbot_cluster.control_plane import ControlPlane
from tradingbot_engine.api.server import AdminServer
from tradingbot_engine.settings.runtime import AdminSettings
from tradingbot_operator.commands.kubectl.kubectl import RESUME

__all__ = ["kube_api"]
ROOT = Path(__file__).parents[2]
NAMESPACE = "plugin"


class Plugin:
    """kubectl with the plugin on PATH, as a person calls it."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        script = folder / "kubectl-tradingbot"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m tradingbot_operator.commands.kubectl "$@"\n')
        script.chmod(0o755)
        completer = folder / "kubectl_complete-tradingbot"
        completer.write_text(
            f'#!/bin/sh\nexec {sys.executable} -m tradingbot_operator.commands.kubectl.complete "$@"\n'
        )
        completer.chmod(0o755)
        path = f"{folder}:{plane.kubebox.parent}:{os.environ['PATH']}"
        roots = f"{ROOT / 'operator'}:{ROOT / 'engine'}"
        self.environment = {
            **os.environ,
            "PATH": path,
            "KUBECONFIG": str(plane.kubeconfig),
            "PYTHONPATH": roots,
            "HOME": str(folder),
        }

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        line = [str(self.plane.kubebox.parent / "kubectl"), *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=False, env=self.environment, timeout=120)

    def bot(self, name: str = "first-bot") -> Any:
        return json.loads(self.plane.kubectl("get", "tradingbot", name, f"--namespace={NAMESPACE}", "--output=json"))


@pytest.fixture(scope="module")
def plugin(kube_api: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugin]:
    folder = tmp_path_factory.mktemp("plugin")
    kube_api.kubectl("apply", "--server-side", "--force-conflicts", "--filename", ROOT / "crds/tradingbots.yaml")
    kube_api.kubectl("wait", "--for=condition=Established", "crd/tradingbots.tradingbot.dev", "--timeout=60s")
    kube_api.kubectl("create", "namespace", NAMESPACE)
    kube_api.kubectl("apply", f"--namespace={NAMESPACE}", "--filename", ROOT / "crds/samples/first-bot.yaml")
    yield Plugin(kube_api, folder)
    kube_api.kubectl("delete", "tradingbots", "--all", f"--namespace={NAMESPACE}")


pytestmark = pytest.mark.kubernetes


def test_a_new_bot_waits_for_an_operator(plugin: Plugin) -> None:
    """As the API server's own defaults leave it."""
    done = plugin("tradingbot", "why", "first-bot", "-n", NAMESPACE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{NAMESPACE}/first-bot does not trade since no operator has looked at it.")


def test_the_status_that_an_operator_wrote_is_shown(plugin: Plugin) -> None:
    """In the namespace, in all namespaces, and as JSON."""
    status = {"observedGeneration": plugin.bot()["metadata"]["generation"], "phase": "Halted", "inFlightTrades": 2}
    status["conditions"] = [
        {"type": "Ready", "status": "True", "reason": "AllReady", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "Trading", "status": "False", "reason": "Halted", "message": "5 % below the peak", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]  # fmt: skip
    patch = json.dumps({"status": status})
    plugin.plane.kubectl(
        "patch",
        "tradingbot",
        "first-bot",
        f"--namespace={NAMESPACE}",
        "--subresource=status",
        "--type=merge",
        f"--patch={patch}",
    )
    lines = plugin("tradingbot", "status", "-n", NAMESPACE).stdout.splitlines()
    assert lines[1].split()[:6] == ["first-bot", "Live", "Halted", "0/0", "Halted", "2"]
    assert f"{NAMESPACE} " in plugin("tradingbot", "status", "-A").stdout
    assert (
        json.loads(plugin("tradingbot", "status", "first-bot", "-n", NAMESPACE, "-o", "json").stdout)[0]["status"][
            "phase"
        ]
        == "Halted"
    )
    why = plugin("tradingbot", "why", "first-bot", f"--namespace={NAMESPACE}").stdout
    assert why.startswith(f"{NAMESPACE}/first-bot does not trade: Halted, 5 % below the peak (for ")


def test_a_pause_is_written_and_taken_back(plugin: Plugin) -> None:
    """spec.paused, and nothing else of the spec."""
    before = plugin.bot()["spec"]
    done = plugin("tradingbot", "pause", "first-bot", "-n", NAMESPACE)
    assert done.returncode == 0, done.stderr
    assert plugin.bot()["spec"] == before | {"paused": True}
    done = plugin("tradingbot", "resume", "first-bot", "-n", NAMESPACE)
    assert done.returncode == 0, done.stderr
    assert plugin.bot()["spec"] == before | {"paused": False}


@pytest.mark.parametrize("command", ["why", "pause", "resume", "drain", "audit"])
def test_a_bot_that_is_not_there_is_told_in_one_line(plugin: Plugin, command: str) -> None:
    """In the API server's words, with the exit code of bad input."""
    done = plugin("tradingbot", command, "nobody", "-n", NAMESPACE)
    assert done.returncode == 2
    assert done.stderr.startswith("kubectl tradingbot: ")
    assert '"nobody" not found' in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["drain", "audit"])
def test_without_an_engine_nothing_can_be_asked_of_it(plugin: Plugin, command: str) -> None:
    """And the next step is named."""
    done = plugin("tradingbot", command, "first-bot", "-n", NAMESPACE)
    assert done.returncode == 1
    assert "no engine of first-bot runs; see: kubectl tradingbot why first-bot" in done.stderr


def test_a_cluster_that_does_not_answer_is_told_as_such(plugin: Plugin) -> None:
    """Not as a bot that does not exist."""
    done = plugin("tradingbot", "status", "--context", "elsewhere")
    assert done.returncode == 1
    assert "elsewhere" in done.stderr


def test_kubectl_completes_commands_and_bots(plugin: Plugin) -> None:
    """By its own protocol for plugins."""
    done = plugin("__complete", "tradingbot", "pa")
    assert "pause" in done.stdout
    done = plugin("__complete", "tradingbot", "why", "-n", NAMESPACE, "fir")
    assert "first-bot" in done.stdout, done.stdout + done.stderr


async def test_resume_clears_a_pause_by_hand_at_the_real_admin_port(tmp_path: Path) -> None:
    """The script that runs in the pod finds port and token by the engine's own settings."""
    latches: list[bool] = []

    class Control:
        async def latch(self, latched: bool) -> None:
            latches.append(latched)

    settings = AdminSettings(port=0, token_file=tmp_path / "token")
    server = AdminServer(settings=settings, control=Control(), registry=CollectorRegistry())  # type: ignore[arg-type]
    port = await server.start()
    try:
        config = tmp_path / "engine.json"
        config.write_text(json.dumps({"admin": {"port": port, "token_file": str(tmp_path / "token")}}))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", RESUME, str(config))
        assert await process.wait() == 0
    finally:
        await server.stop()
    assert latches == [False]
