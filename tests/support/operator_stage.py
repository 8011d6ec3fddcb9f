"""One reconciler over a fake API server, with a test as kubelet: passes run one by one, by hand, on a clock by hand."""

import copy
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from support.kube_fake import FakeKube

from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.desired.bot import Context
from tradingbot_operator.engine_port import Address, EngineRefused, EngineUnreachable, Live
from tradingbot_operator.engines import Said
from tradingbot_operator.handlers.events import Events
from tradingbot_operator.handlers.lookups import Lookups
from tradingbot_operator.handlers.reconcile import Reconciler
from tradingbot_operator.handlers.wanted import Wants
from tradingbot_operator.handlers.work import Again
from tradingbot_operator.kube.store import Key, Store
from tradingbot_operator.metrics import Metrics

PAPER = """
apiVersion: tradingbot.dev/v1alpha1
kind: TradingBot
metadata: {name: bonk, namespace: trading}
spec:
  mode: Paper
  cluster: devnet
  rpc: {endpoints: [{name: one, url: "https://rpc.example.org"}]}
  market: {tokens: [{mint: DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263, symbol: BONK}]}
  strategies: [{name: momentum, type: momentum_5m}]
  risk: {capital: 10}
"""
UNWATCHED = ("Secret", "Event", "Lease")
KEY: Key = ("trading", "bonk")
CONTEXT = Context(
    engine_image="tradingbot-engine:1", operator_version="1", operator_namespace="tradingbot-system", cluster_id="c1"
)


class HandClock:
    """Time passes when told."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.at_s)

    def monotonic_s(self) -> float:
        return self.at_s


class HandEngines:
    """Stands for `Engines`: a test says what the engines said."""

    def __init__(self) -> None:
        self.watched: dict[Key, dict[str, Address]] = {}
        self.heard: dict[str, Said] = {}

    def watch(self, key: Key, engines: Mapping[str, Address], token: str) -> None:
        self.watched[key] = dict(engines)

    def hurry(self, key: Key) -> None:
        return None

    def forget(self, key: Key) -> None:
        self.watched.pop(key, None)

    def said(self, key: Key) -> Mapping[str, Said]:
        return dict(self.heard)


class HandPort:
    """Stands for `EnginePort`: remembers what engines were told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.error: EngineUnreachable | EngineRefused | None = None

    async def put_live(self, address: Address, token: str, live: Live) -> bool:
        if self.error:
            raise self.error
        self.told.append((address.host, live))
        return True

    async def close_out(self, address: Address, token: str, by: str) -> None:
        if self.error:
            raise self.error
        self.told.append((address.host, ("close-out", by)))

    async def reopen(self, address: Address, token: str) -> None:
        if self.error:
            raise self.error
        self.told.append((address.host, "reopen"))

    async def drain(self, address: Address, token: str) -> dict[str, Any]:
        if self.error:
            raise self.error
        self.told.append((address.host, "drain"))
        return {"drained": False}


class Stage:
    """An operator without its watches: the store follows the fake at once."""

    def __init__(self) -> None:
        self.kube, self.store, self.clock = FakeKube(), Store(), HandClock()
        self.engines, self.port = HandEngines(), HandPort()
        self.woken: list[Key] = []
        self.failures = 0
        self.leads = True
        self.kube.changed.append(self._follow)
        self.restart()

    def restart(self) -> None:
        """Begin with an operator that remembers nothing but what the watches list."""
        store = Store()
        for body in self.kube.objects.values():
            if body["kind"] not in UNWATCHED:
                store.put(copy.deepcopy(body))
        self.store = store
        self.metrics = Metrics()
        self.reconciler = Reconciler(
            gateway=self.kube,
            store=store,
            wants=Wants(context=CONTEXT, catalogue=catalogue()),
            lookups=Lookups(gateway=self.kube, clock=self.clock),
            engines=self.engines,  # type: ignore[arg-type]
            port=self.port,  # type: ignore[arg-type]
            events=Events(gateway=self.kube, clock=self.clock, identity="test"),
            metrics=self.metrics,
            clock=self.clock,
            leads=lambda: self.leads,
            failures=lambda key: self.failures,
            wake=self.woken.append,
            wrote=lambda key, cause: None,
            idle=lambda key: None,
            woken_ago_s=lambda key: 0.0,
            numbers_every_s=60.0,
        )

    def _follow(self, what: str, body: dict[str, Any]) -> None:
        if body["kind"] in UNWATCHED:
            return
        (self.store.remove if what == "DELETED" else self.store.put)(body)

    # --- what people do
    def apply(self, text: str = PAPER, **spec: Any) -> dict[str, Any]:
        """Apply a manifest, with fields of its spec changed."""
        document = yaml.safe_load(text)
        document["spec"] |= spec
        before = self.kube.objects.get(("TradingBot", "trading", document["metadata"]["name"]))
        if before is not None:
            before = {**before, "spec": document["spec"]}
            return self.kube._store(("TradingBot", "trading", document["metadata"]["name"]), before)
        return self.kube.put(document)

    @property
    def bot(self) -> dict[str, Any]:
        return self.kube.objects["TradingBot", "trading", "bonk"]

    def condition(self, name: str) -> dict[str, Any]:
        return next(c for c in self.bot["status"]["conditions"] if c["type"] == name)

    def reason(self, name: str) -> str:
        found: str = self.condition(name)["reason"]
        return found

    def kinds(self) -> set[str]:
        return {kind for kind, _, _ in self.kube.objects}

    # --- what Kubernetes does
    def pod(
        self, name: str = "bonk-engine-1", *, host: str = "10.0.0.1", component: str = "engine", **status: Any
    ) -> dict[str, Any]:
        """Make a pod of the bot, or change its status."""
        running = {"name": "engine", "restartCount": 0, "state": {"running": {}}}
        status = {
            "phase": "Running",
            "podIP": host,
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [running],
        } | status
        labels = {
            "app.kubernetes.io/managed-by": "tradingbot-operator",
            "tradingbot.dev/bot": "bonk",
            "app.kubernetes.io/component": component,
        }
        return self.kube.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "trading", "labels": labels},
                "spec": {"nodeName": "n1", "containers": [{"ports": [{"name": "admin", "containerPort": 8080}]}]},
                "status": status,
            }
        )

    def rolled_out(self) -> None:
        """Play the Deployment controller: every pod is there, new and ready."""
        deployment = self.kube.objects["Deployment", "trading", "bonk-engine"]
        generation = deployment["metadata"]["generation"]
        status = {"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}
        self.kube.put({**deployment, "status": status})

    def says(self, pod: dict[str, Any], *, error: str = "", silent_s: float = 0.0, **status: Any) -> None:
        """Let a pod's engine say something."""
        live = self.live_generation()
        page = {"botId": "B1", "phase": "READY", "trading": True, "generation": live, "openIntents": 0, "inFlight": 0}
        self.engines.heard[pod["metadata"]["uid"]] = Said(
            {} if error else page | status, self.clock.at_s, error, silent_s
        )

    def live_generation(self) -> int:
        from tradingbot_operator.handlers.wanted import live_generation

        meta = self.bot["metadata"]
        return live_generation(meta["creationTimestamp"], meta["generation"])

    async def turn(self, times: int = 1) -> float | None:
        """Run passes; a pass that wants to be repeated soon counts as one."""
        after_s: float | None = None
        for _ in range(times):
            try:
                after_s = await self.reconciler.run(KEY)
                self.failures = 0
            except Again as error:
                after_s = error.after_s or 0.5
                self.failures += 1
        return after_s
