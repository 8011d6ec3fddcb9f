"""A real operator process at a real API server, with this process as the kubelet and engines' admin ports as processes."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml
from support.kube_person import Person, eventually
from support.operator_stage import PAPER

ROOT = Path(__file__).parents[2]
CRD = ROOT / "crds" / "tradingbots.yaml"
ADMIN = Path(__file__).with_name("admin_process.py")
SYSTEM = "tradingbot-system"


class OperatorProcess:
    """`tradingbot operator` as a process."""

    def __init__(self, kubeconfig: Path, folder: Path, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.log = folder, folder / "operator.log"
        self._command = [
            sys.executable, "-m", "tradingbot_operator", "operator", "--kubeconfig", str(kubeconfig), "--host", "127.0.0.1",
            "--port", "0", "--port-file", str(folder / "port"), "--operator-namespace", SYSTEM, "--log-format", "text",
            "--engine-image", "tradingbot-engine:test", "--engine-every", "500ms", *arguments,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        (self.folder / "port").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=dict(os.environ))

    def end(self, *, kill: bool = False) -> int:
        """End it and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            (self.process.kill if kill else self.process.terminate)()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def page(self, path: str) -> tuple[int, str]:
        """Return code and text of /livez, /readyz or /metrics; (0, "") while nothing listens."""
        try:
            port = (self.folder / "port").read_text()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    async def ready(self) -> None:
        async def check() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.text()
            return self.page("/readyz")[0] == 200

        await eventually(check, why="the operator is ready")

    def cpu_s(self) -> float:
        """Return the processor time that it has taken so far, in seconds."""
        assert self.process is not None
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def rss_mib(self) -> float:
        """Return the memory that it holds."""
        assert self.process is not None
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@contextmanager
def operator(kubeconfig: Path, folder: Path, *arguments: str) -> Iterator[OperatorProcess]:
    """Run an operator; end it, whatever happens."""
    found = OperatorProcess(kubeconfig, folder, *arguments)
    try:
        yield found
    finally:
        found.end()


class Engine:
    """An engine's admin port as a process, and the pod that it seems to run in."""

    def __init__(self, folder: Path, token: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        token_file = folder / "token"
        token_file.write_text(token)
        token_file.chmod(0o600)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        (self.folder / "port").unlink(missing_ok=True)
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ADMIN), str(self.folder)], stdout=output, stderr=output
            )

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def port(self) -> int:
        async def check() -> str:
            return (self.folder / "port").read_text() if (self.folder / "port").exists() else ""

        return int(await eventually(check, why="the admin port listens"))

    def tell(self, **what: Any) -> None:
        scratch = self.folder / "told.new"
        scratch.write_text(json.dumps(what))
        scratch.replace(self.folder / "told.json")

    def heard(self, what: str) -> list[dict[str, Any]]:
        log = self.folder / "log"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [line for line in lines if line["what"] == what]


class Bench:
    """One namespace of a real API server, seen by a person and by a kubelet of ours."""

    def __init__(self, person: Person, kubelet: Person, namespace: str, folder: Path) -> None:
        self.person, self.kubelet, self.namespace, self.folder = person, kubelet, namespace, folder
        self.engines: list[Engine] = []

    async def apply(self, name: str = "bonk", **spec: Any) -> dict[str, Any]:
        """Apply a paper bot, with fields of its spec changed; return it."""
        body = yaml.safe_load(PAPER)
        body["metadata"] = {"name": name, "namespace": self.namespace}
        body["spec"] |= spec
        path = f"/apis/tradingbot.dev/v1alpha1/namespaces/{self.namespace}/tradingbots/{name}"
        return await self.person.ask(
            "PATCH", path, body, content="application/apply-patch+yaml", fieldManager="kubectl", force="true"
        )

    async def bot(self, name: str = "bonk") -> dict[str, Any]:
        return await self.person.get("TradingBot", self.namespace, name)

    async def observed(self, name: str = "bonk") -> dict[str, Any]:
        """Wait until the status is about the newest spec; return the bot."""

        async def check() -> dict[str, Any]:
            found = await self.bot(name)
            about = (found.get("status") or {}).get("observedGeneration")
            return found if about == found["metadata"]["generation"] else {}

        return await eventually(check, why=f"{name}: observedGeneration")

    async def condition(self, kind: str, reason: str, name: str = "bonk") -> dict[str, Any]:
        """Wait until a condition has a reason; return it."""
        last: dict[str, Any] = {}

        async def check() -> dict[str, Any]:
            last.clear()
            last.update(await self.bot(name))
            conditions = (last.get("status") or {}).get("conditions") or []
            return next((c for c in conditions if c["type"] == kind and c["reason"] == reason), {})

        try:
            return await eventually(check)
        except AssertionError:
            raise AssertionError(
                f"{name} did not become {kind}/{reason}: {yaml.safe_dump(last.get('status'))}"
            ) from None

    async def versions(self) -> dict[tuple[str, str], str]:
        """Return the resourceVersion of everything that belongs to the namespace's bots, they included, and of the Events about them."""
        kinds = (
            "TradingBot", "Deployment", "ConfigMap", "Service", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy",
            "PodDisruptionBudget", "PersistentVolumeClaim", "Secret", "Job", "Pod", "Event",
        )  # fmt: skip
        found = {}
        for kind in kinds:
            for body in await self.person.list(kind, self.namespace):
                if kind == "Event" and body["involvedObject"]["kind"] != "TradingBot":
                    continue  # Kubernetes' own count up as long as they please: a claim waits for its first pod, again and again
                found[kind, body["metadata"]["name"]] = body["metadata"]["resourceVersion"]
        return found

    async def quiet(self) -> dict[tuple[str, str], str]:
        """Wait until nothing in the namespace changes any more; return the versions."""
        last: dict[tuple[str, str], str] = {}
        since = time.monotonic()
        while time.monotonic() - since < 1.5:
            now = await self.versions()
            if now != last:
                last, since = now, time.monotonic()
            await asyncio.sleep(0.1)  # whoever asks without a pause takes the cores from those that it waits for
        return last

    # --- the kubelet
    async def token(self, name: str = "bonk") -> str:
        async def check() -> str:
            secret = await self.person.get("Secret", self.namespace, f"{name}-admin")
            return base64.b64decode((secret.get("data") or {}).get("token", "")).decode()

        return await eventually(check, why="the token's Secret")

    async def engine(self, name: str = "bonk") -> Engine:
        """Start an admin port for a bot."""
        found = Engine(self.folder / f"engine-{len(self.engines)}", await self.token(name))
        self.engines.append(found)
        return found

    async def pod(
        self, name: str = "bonk", *, suffix: str = "1", engine: Engine | None = None, node: str = "", **status: Any
    ) -> str:
        """Make a pod of a bot's engine, running and ready unless `status` says otherwise; return its name."""
        labels = {
            "app.kubernetes.io/managed-by": "tradingbot-operator", "tradingbot.dev/bot": name,
            "app.kubernetes.io/component": "engine",
        }  # fmt: skip
        pod = f"{name}-engine-{suffix}"
        port = await engine.port() if engine else 8080
        ports = [{"name": "admin", "containerPort": port}]
        spec: dict[str, Any] = {"containers": [{"name": "engine", "image": "tradingbot-engine:test", "ports": ports}]}
        spec |= {"serviceAccountName": f"{name}-engine", "automountServiceAccountToken": False}
        spec |= {"nodeName": node} if node else {}
        meta = {"name": pod, "namespace": self.namespace, "labels": labels}
        await self.kubelet.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        await self.pod_status(pod, **status)
        return pod

    async def pod_status(self, pod: str, **status: Any) -> None:
        """Say what became of a pod."""
        running = {
            "name": "engine",
            "restartCount": 0,
            "ready": True,
            "image": "x",
            "imageID": "x",
            "state": {"running": {}},
        }
        full = {
            "phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [running],
        } | status  # fmt: skip
        await self.kubelet.edit("Pod", self.namespace, pod, {"status": full}, status=True)

    async def rolled_out(self, name: str = "bonk") -> None:
        """Say as the Deployment controller would that every pod is there."""

        async def made() -> dict[str, Any]:
            return await self.person.get("Deployment", self.namespace, f"{name}-engine")

        found = await eventually(made, why=f"the Deployment of {name}")
        status = {
            "observedGeneration": found["metadata"]["generation"],
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": 1,
            "availableReplicas": 1,
        }
        await self.kubelet.edit("Deployment", self.namespace, f"{name}-engine", {"status": status}, status=True)

    async def trading(self, name: str = "bonk", **spec: Any) -> Engine:
        """Apply a bot and let its engine run until the status says that it trades."""
        await self.apply(name, **spec)
        engine = await self.engine(name)
        await self.pod(name, engine=engine)
        await self.rolled_out(name)
        await self.condition("Trading", "Trading", name)
        return engine

    def close(self) -> None:
        for engine in self.engines:
            engine.end()
