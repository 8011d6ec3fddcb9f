"""
A thousand bots on a real API server, for measuring: their manifests, pods that seem to run, and engines that answer for them.

Run as a program this is the engines: one process that answers for every pod, by the address that it is asked at, and never at
all at `HANGS`; it tells its port and ends with its standard input.
"""

import asyncio
import copy
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

import orjson
import yaml
from aiohttp import web
from support.api_server import a_kube_api
from support.kube_person import Person
from support.operator_rig import CRD, SYSTEM
from support.operator_stage import PAPER
from support.server_process import server_process

from tradingbot_cluster.control_plane import ControlPlane
from tradingbot_operator.kube.kinds import BY_NAME, TRADING_BOT

T = TypeVar("T")
AT_ONCE = 32
"""Requests that one client has under way."""
FLEET = "fleet"
"""The namespace of the bots."""
HANGS = "127.9.9.9"
"""The address of an engine that takes a connection and says nothing."""


@contextmanager
def an_api_server(*, controllers: bool = False, arguments: Iterable[str] = ()) -> Iterator[ControlPlane]:
    """Start one that knows TradingBots."""
    with a_kube_api(controllers=controllers, apiserver_arguments=[*arguments]) as api:
        for name in (SYSTEM, FLEET):
            api.kubectl("create", "namespace", name)
        api.kubectl("apply", "--server-side", "-f", CRD)
        api.kubectl("wait", "--for=condition=Established", "crd/tradingbots.tradingbot.dev", "--timeout=60s")
        yield api


async def at_once(what: Callable[[T], Awaitable[object]], things: Iterable[T]) -> float:
    """Do something for each thing, `AT_ONCE` at a time; return how long it took in seconds."""
    left, began = iter(things), time.monotonic()

    async def worker() -> None:
        for thing in left:
            await what(thing)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return time.monotonic() - began


def manifest(number: int, **spec: Any) -> dict[str, Any]:
    """Return a bot that no node can take."""
    body: dict[str, Any] = yaml.safe_load(PAPER)
    body["metadata"] = {"name": f"bot-{number}", "namespace": FLEET}
    body["spec"] |= {"template": {"nodeSelector": {"nowhere": "at-all"}}} | spec
    return body


async def all_reconciled(person: Person, count: int, *, patience_s: float = 900.0) -> float:
    """Wait until every status is about its bot's newest spec; return how long it took in seconds."""
    began = time.monotonic()
    deadline = began + patience_s
    while True:
        bots = await person.list("TradingBot", FLEET)
        told = sum((b.get("status") or {}).get("observedGeneration") == b["metadata"]["generation"] for b in bots)
        if told == len(bots) == count:
            return time.monotonic() - began
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {told} of {len(bots)} bots are reconciled")
        await asyncio.sleep(0.5)


def address(number: int) -> str:
    """Return the address of a bot's pod: some address of this machine, one for each."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


async def let_run(person: Person, number: int, *, port: int, host: str | None = None) -> None:
    """Make a bot's pod and say as the kubelet and the Deployment's controller would that it runs."""
    name, host = f"bot-{number}", host or address(number)
    labels = {
        "app.kubernetes.io/managed-by": "tradingbot-operator", "tradingbot.dev/bot": name,
        "app.kubernetes.io/component": "engine",
    }  # fmt: skip
    ports = [{"name": "admin", "containerPort": port}]
    spec = {
        "containers": [{"name": "engine", "image": "tradingbot-engine:test", "ports": ports}],
        "serviceAccountName": f"{name}-engine", "automountServiceAccountToken": False,
    }  # fmt: skip
    meta = {"name": f"{name}-engine-1", "namespace": FLEET, "labels": labels}
    await person.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    runs = {"name": "engine", "restartCount": 0, "ready": True, "image": "x", "imageID": "x", "state": {"running": {}}}
    status = {
        "phase": "Running", "podIP": host, "podIPs": [{"ip": host}], "containerStatuses": [runs],
        "conditions": [{"type": "Ready", "status": "True"}],
    }  # fmt: skip
    await person.edit("Pod", FLEET, meta["name"], {"status": status}, status=True)
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
    await person.edit(
        "Deployment", FLEET, f"{name}-engine", {"status": {"observedGeneration": 1, **counts}}, status=True
    )


async def children_of(person: Person, count: int) -> list[dict[str, Any]]:
    """Return every object that the operator has made for the bots, ready to be written by somebody else."""
    kinds = [
        "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "ConfigMap", "Service", "PodDisruptionBudget",
        "PersistentVolumeClaim", "Secret", "Deployment",
    ]  # fmt: skip
    lists = [[clean(body, kind) for body in await person.list(kind, FLEET) if is_child(body)] for kind in kinds]
    found = [body for bodies in lists for body in bodies]
    if len(found) != len(kinds) * count:
        raise RuntimeError(f"{len(found)} objects of {count} bots")
    return found


def is_child(body: dict[str, Any]) -> bool:
    return "tradingbot.dev/bot" in (body["metadata"].get("labels") or {})


def clean(body: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return an object of a list as a client would write it."""
    found = {"apiVersion": BY_NAME[kind].api_version, "kind": kind, **copy.deepcopy(body)}
    found.pop("status", None)
    meta = found["metadata"]
    kept = {name: meta[name] for name in ("name", "namespace", "labels", "annotations") if name in meta}
    if kind == "Service":
        for name in ("clusterIP", "clusterIPs"):
            found["spec"].pop(name, None)
    return {**found, "metadata": kept}


class Watcher:
    """Sees each status the moment the API server tells of it."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self.seen: dict[tuple[str, int], float] = {}
        """When a status about a bot's generation was first told of, on the monotonic clock."""

    async def run(self) -> None:
        """Watch until cancelled."""
        path = TRADING_BOT.path(FLEET)
        version = (await self._person.ask("GET", path, limit="1"))["metadata"]["resourceVersion"]
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "3600"}
        async with self._person._session.get(path, params=query, timeout=None, read_bufsize=2**20) as answer:
            async for line in answer.content:
                body = orjson.loads(line)["object"]
                about = (body.get("status") or {}).get("observedGeneration")
                if about is not None:
                    self.seen.setdefault((body["metadata"]["name"], about), time.monotonic())


# --- the engines
def engines() -> AbstractAsyncContextManager[int]:
    """Run them in a process of their own; the port that all of them listen at is what is entered."""
    return server_process("-c", "from support.bot_fleet import serve; serve()")


def serve() -> None:
    """Be the engines."""
    asyncio.run(_serve())


async def _serve() -> None:
    known: dict[str, dict[str, Any]] = {}

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        host = request.transport.get_extra_info("sockname")[0]
        if host == HANGS:
            await asyncio.sleep(3600)
        live = known.setdefault(host, {"generation": 0, "paused": False})
        if request.method == "PUT":
            told = orjson.loads(await request.read())
            live |= {"generation": told["generation"], "paused": told["paused"]}
        page = {
            "botId": host, "phase": "READY", "trading": not live["paused"], **live, "openIntents": 0, "tier": "NORMAL",
            "reasons": [{"type": "Paused", "since": 0, "message": "by the manifest"}] if live["paused"] else [],
            "inFlight": random.randrange(5), "queueUtilization": random.random(),
            "shards": [{"shard": 0, "epoch": 1, "since": 0}],
        }  # fmt: skip
        return web.Response(body=orjson.dumps(page), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
